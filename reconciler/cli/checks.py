"""The checks of doctor: small, and independent of each other. What they raise, doctor tells."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from reconciler.cli.workspace import Workspace, now
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.kind import Kind
from reconciler.model.plan import PlanOptions
from reconciler.model.text import and_more, counted, plural_of
from reconciler.plan.planning import Known, lock_of
from reconciler.plan.publishing import asked_of, publishing
from reconciler.plan.timing import is_dormant
from reconciler.steps.consumers import with_published
from reconciler.steps.observe import find_target
from reconciler.steps.smoke_test import not_bootable
from reconciler.words.events import to_fetch
from reconciler.words.plans import named

_TOLD = 8
"""Errors of one kind that are told; `validate` has them all."""

IN_THE_WAY = "not checked: the trouble above is in the way"
REGISTRY = "registry"
"""The name of a check as long as it is not known which registry it would ask."""
_TOLERATED_SKEW_SECONDS = 240
"""AWS refuses requests signed more than five minutes off."""


@dataclass(frozen=True)
class Finding:
    """One finding of a check. `trouble` would stop a run; a `note` is worth knowing."""

    subject: str
    state: Literal["ok", "note", "trouble"]
    what: str
    hint: tuple[str, ...] = ()


class DoctorContext:
    """The checkout and its fleet, for all checks. Each part raises a ReconcilerError where it can't be had."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: set[str] = set()
        """Troubles that were told: what one check could not read, the next can't either."""

    @cached_property
    def workspace(self) -> Workspace:
        """The checkout."""
        return Workspace(self.directory)

    @cached_property
    def known(self) -> Known:
        """The fleet that HEAD declares, and its records."""
        return self.workspace.read(self.workspace.repository.tree(), PlanOptions())

    @property
    def images(self) -> tuple[Image, ...] | None:
        """Every valid image; None where the fleet can't be read, which the check of `desired` has told by then."""
        try:
            return tuple(self.known.fleet.images.values())
        except ReconcilerError:
            return None

    @property
    def locations(self) -> Mapping[Kind, tuple[str, ...]]:
        """Every declared location of each kind that a registry tells of, in order of name."""
        found: dict[Kind, set[str]] = {}
        for image in self.known.fleet.images.values():
            asleep = is_dormant(image, lock_of(self.known, image)[0], now=self.known.now)
            if image.kind.observed and not asleep:
                found.setdefault(image.kind, set()).update(image.locations)
        by_name = sorted(found.items(), key=lambda one: one[0].name)
        return {kind: tuple(sorted(locations)) for kind, locations in by_name}


def check_packer(context: DoctorContext) -> Finding:
    """Packer and its plugins, and whether they are what the templates here ask for."""
    # Each check imports what it looks at.
    from reconciler.build.packer.binary import find  # noqa: PLC0415 - one check alone asks for it
    from reconciler.build.packer.fit import survey  # noqa: PLC0415 - as above

    binary = find(os.environ)
    found = survey(binary, context.images or (), os.environ)
    plugins = ", ".join(f"{plugin.name} {plugin.version}" for plugin in found.installed)
    what = f"{binary.version_text} at {binary.path}" + (f"; plugins: {plugins}" if plugins else "")
    passed_over = tuple(f"passed over: {one}" for one in binary.passed_over)
    errors = [*(one for several in found.refused.values() for one in several), *found.lacking.values()]
    if errors:
        told = dict.fromkeys(f"{error.where}: {error.what}" if error.where else error.what for error in errors)
        more = filter(None, [and_more(len(told) - _TOLD, "and {} more")])
        hints = dict.fromkeys(line for error in errors for line in error.hint)
        return Finding("packer", "trouble", what, (*list(told)[:_TOLD], *more, *hints, *passed_over))
    notes = (
        *passed_over,
        *(to_fetch(one, images) for one, images in found.to_fetch.items()),
        *found.damaged,
    )
    return Finding("packer", "note" if notes else "ok", what, notes)


def check_programs(context: DoctorContext) -> Finding:
    """The programs that templates need beside Packer, such as Ansible's."""
    from reconciler.build.judge import absent, found  # noqa: PLC0415 - as above

    images = [image for image in context.known.fleet.images.values() if _is_readable(image)]
    missing = absent(images, os.environ)
    if missing:
        told = [f"{one.program.name}: {named(list(one.images))} (at {one.program.place})" for one in missing]
        what = f"{', '.join(one.program.name for one in missing)} not on PATH, and templates need it"
        hints = dict.fromkeys(line for one in missing for line in one.error().hint)
        return Finding("programs", "trouble", what, (*told, *hints))
    there = found((program for image in images for program in image.template.programs), os.environ)
    return Finding("programs", "ok", ", ".join(map(str, there.values())) or "no template needs any beside Packer")


def check_machine(context: DoctorContext) -> Iterator[Finding]:
    """Say on what this machine runs builders that leave it a choice. Silent where none does."""
    from reconciler.build.judge import unusable  # noqa: PLC0415 - as above
    from reconciler.registries import machine_of  # noqa: PLC0415 - as above

    images = [image for image in context.known.fleet.images.values() if _is_readable(image)]
    asking = [image for image in images if any(one.machine is not None for one in image.template.builders)]
    refused = unusable(asking)
    if refused:
        told = {f"{error.where}: {error.what}": None for error in refused.values()}
        hints = dict.fromkeys(line for error in refused.values() for line in error.hint)
        what = f"what {named(list(refused))} would be built with does not work here"
        yield Finding("machine", "trouble", what, (*told, *hints))
        return
    for kind in {image.kind.name: image.kind for image in asking}:
        machine = machine_of(kind)
        if machine is not None:
            names = [one.name for one in asking if one.kind.name == kind]
            yield Finding("machine", "ok", f"{named(names)}: built and tested on {machine.best()}")


def _is_readable(image: Image) -> bool:
    """Whether its template can be read, which may be done only now. The check of Packer tells where it can't."""
    try:
        return bool(image.template.builders)
    except ReconcilerError:
        return False


def check_ssh(context: DoctorContext) -> Finding:
    """The OpenSSH client, which every image that is booted is tested through."""
    from reconciler.build.smoke.connection import client  # noqa: PLC0415 - as above
    from reconciler.steps.smoke_test import tested_through_ssh  # noqa: PLC0415 - as above

    if context.images is None:
        return Finding("ssh", "ok", client(os.environ))
    booted = [one.name for one in context.images if tested_through_ssh(one)]
    if not booted and context.known.fleet.problems:
        return Finding("ssh", "note", "not checked: no valid image is booted to be tested")
    if not booted:
        otherwise = any(_is_readable(one) and not_bootable(one) is None for one in context.images)
        if otherwise:
            return Finding("ssh", "ok", "not needed: no image is tested through it")
        return Finding("ssh", "note", "no image is booted to be tested")
    return Finding("ssh", "ok", client(os.environ))


def check_repository(context: DoctorContext) -> Finding:
    """The checkout: on which branch, whole or shallow."""
    repository = context.workspace.repository
    where = f"branch {repository.branch}" if repository.branch else "detached HEAD"
    if repository.shallow:
        return Finding("repository", "note", f"{repository.root}, {where}, shallow", ("`git fetch --unshallow`",))
    return Finding("repository", "ok", f"{repository.root}, {where}")


def check_desired(context: DoctorContext) -> Finding:
    """The declarations at HEAD, and whether what they keep in Git LFS can be had."""
    from reconciler.git.export import filters  # noqa: PLC0415 - as above

    fleet = context.known.fleet
    if fleet.problems:
        return Finding(
            "desired", "trouble", f"{len(fleet.problems)} of {counted(len(fleet.names), 'image')} invalid",
            ("see `reconciler validate`",),
        )  # fmt: skip
    if not fleet.images:
        return Finding("desired", "note", "declares no image", ("add a folder with a Packer template under desired/",))
    used = (path for image in fleet.images.values() for path in image.input_paths)
    large = sorted(path for path, one in filters(context.known.tree, used).items() if one.name == "lfs")
    if large and not context.workspace.repository.has_lfs:
        more = and_more(len(large) - 1, " and {} more are") or " is"
        what = f"{large[0]}{more} kept in Git LFS, and git-lfs is not here"
        return Finding("desired", "trouble", what, ("install git-lfs where reconciler runs",))
    return Finding("desired", "ok", f"{counted(len(fleet.images), 'image')}, fleet {context.known.fleet_name}")


def check_state(context: DoctorContext) -> Finding:
    """The lockfiles at HEAD."""
    if context.known.broken_locks:
        first = next(iter(context.known.broken_locks.values()))
        return Finding("state", "trouble", first.what, first.hint)
    return Finding("state", "ok", counted(len(context.known.locks), "lockfile"))


def check_target(context: DoctorContext) -> Finding:
    """The branch that state is recorded to, read from the remote."""
    target = find_target(context.workspace.repository)
    if target.elsewhere is not None:
        return Finding(
            "branch", "note", f"state is recorded to {target.branch}; the checkout is on {target.elsewhere}",
            (f"`git switch {shlex.quote(target.branch)}` before `reconciler reconcile`",),
        )  # fmt: skip
    if target.unpushed:
        return Finding(
            "branch",
            "note",
            f"{counted(len(target.unpushed), 'commit')} not pushed to {target.branch}",
            ("`git push`",),
        )
    return Finding("branch", "ok", f"state is recorded to {target.branch}, at {target.head[:12]}")


def check_recording(context: DoctorContext) -> Finding:
    """Whether commits can be made as the settings ask for them: by whom, and signed or not."""
    settings = context.known.fleet.settings.git
    context.workspace.repository.check_recording(settings, now=now())
    if not settings.sign:
        return Finding("recording", "ok", f"commits and tags are made by {settings.author}, unsigned (git.sign)")
    return Finding("recording", "ok", f"commits, tags and provenance are made by {settings.author} and can be signed")


def check_kinds(context: DoctorContext) -> Iterator[Finding]:
    """What each kind needs beside its registry, and whether it is there: an engine, qemu, a library, privileges."""
    from reconciler.ports.needs import Asking  # noqa: PLC0415 - as above
    from reconciler.registries import needs_of  # noqa: PLC0415 - as above

    by_kind: dict[str, list[Image]] = {}
    for image in context.known.fleet.images.values():
        by_kind.setdefault(image.kind.name, []).append(image)
    for kind, images in sorted(by_kind.items()):
        readable = [image for image in images if _is_readable(image)]
        asking = Asking(
            tuple(sorted({location for image in images for location in image.locations})),
            _homes(images),
            any(not_bootable(image) is None for image in readable),
            frozenset(maker.type for image in readable for maker in image.template.makers),
            os.environ,
        )
        try:
            for need in needs_of(kind, asking):
                context.told |= {need.what} if need.state == "trouble" else set()
                yield Finding(kind, need.state, need.what, need.hint)
        except ReconcilerError as error:  # this one's alone
            context.told.add(str(error))
            yield Finding(kind, "trouble", error.what, error.hint)


def _homes(images: Iterable[Image]) -> dict[str, bool]:
    """Where images are built, and whether any is copied from there."""
    found: dict[str, bool] = {}
    for image in images:
        if image.locations:
            found[image.build_location] = found.get(image.build_location, False) or len(image.locations) > 1
    return found


def check_registries(context: DoctorContext) -> Iterator[Finding]:
    """Credentials and rights, for each kind of the fleet: the very call that a plan makes."""
    if not context.locations:
        yield Finding(REGISTRY, "note", "no location is declared, so nothing was asked")
    for kind, locations in context.locations.items():
        yield _check_registry(context, kind, locations)


def _check_registry(context: DoctorContext, kind: Kind, locations: Sequence[str]) -> Finding:
    subject = kind.reached_through or kind.name
    observation = context.workspace.registry(context.known).observe(locations)
    if observation.refused is not None and observation.refused.what in context.told:
        return Finding(subject, "note", IN_THE_WAY)
    if observation.refused is not None:
        context.told.add(observation.refused.what)
        return Finding(subject, "trouble", observation.refused.what, observation.refused.hint)
    if observation.unreadable:
        why = (f"{place}: {reason}" for place, reason in observation.told.items())
        lines = tuple(dict.fromkeys(line.strip() for one in why for line in one.splitlines()))
        unread = f"{len(observation.unreadable)} of {len(locations)} {plural_of(kind.location)}"
        return Finding(subject, "trouble", f"{unread} can't be read", lines)
    found = counted(len(observation.artifacts), "artifact")
    return Finding(subject, "ok", f"{found} of this fleet in {', '.join(locations)}")


def check_sharing(context: DoctorContext) -> Iterator[Finding]:
    """Find out whether it can be read who may use what is shared, as a plan does. Silent where nothing is."""
    known = context.known
    sharing = (one for one in known.fleet.images.values() if one.kind.tended and one.declaration.share_with.grants)
    built = (build for build in (lock_of(known, image)[0].current for image in sharing) if build is not None)
    artifact = next((one for build in built for one in build.artifacts), None)
    if artifact is not None:
        context.workspace.registry(known).grants(artifact)
        what = f"who may use {artifact.id} in {artifact.location} can be read; `reconcile` needs the right to change it"
        yield Finding("sharing", "ok", what)


def check_published(context: DoctorContext) -> Iterator[Finding]:
    """Look at where channels are written out, if any image asks for that: the very calls that a plan makes."""
    known = with_published(context.known, partial(context.workspace.publisher, context.known))
    found = known.publications
    if found is None:
        return
    if found.unreadable:
        why = tuple(f"{place}: {reason}" for place, reason in sorted(found.unreadable.items()))
        in_aws = any(
            image.kind.reached_through == "aws" and not found.unreadable.keys().isdisjoint(image.locations)
            for image in context.known.fleet.images.values()
        )
        hint = "docs/iam/publish-read.json has what it takes: `reconciler iam-policy ROLE --publish PATH`"
        more = (hint,) if in_aws else ()
        yield Finding("publish", "trouble", f"{counted(len(why), 'location')} can't be read", (*why, *more))
        return
    subjects = [(image, lock_of(known, image)[0]) for image in known.fleet.images.values()]
    judged = [publishing(*subject, found) for subject in subjects]
    refused = [one for todo in judged for one in (*todo.refused, *todo.groups.refused)]
    if refused:
        why = tuple(f"{one.text}: {what}" for one, what in refused)
        yield Finding("publish", "trouble", f"{counted(len(why), 'place')} can't follow what is stable", why)
        return
    asked = [one for subject in subjects for one in asked_of(*subject)]
    kinds = (
        ("parameter", {one.place for one in asked if one.ssm}, found.held),
        ("tag", {one.place for one in asked if one.tag}, found.held),
        ("launch template", {one.place for one in asked if one.launch_template}, found.templates),
        ("group", {one.place for one in asked if one.auto_scaling_group}, found.groups),
    )
    told = [
        f"{len(some & there.keys())} of {counted(len(some), what)} are there" for what, some, there in kinds if some
    ]
    yield Finding("publish", "ok", ", ".join(told), tuple(note for todo in judged for note in todo.groups.notes))


def check_clock(context: DoctorContext) -> Finding:
    """This machine's clock against the registry's: AWS refuses requests that are signed too far off."""
    if not context.locations:
        return Finding("clock", "note", "no location is declared, so there is no clock to compare with")
    registry = context.workspace.registry(context.known)
    theirs, failed = None, []
    for locations in context.locations.values():
        try:
            theirs = theirs or registry.server_time(locations[0])
        except ReconcilerError as error:  # what its kind's own check tells of
            failed.append(error)
    if theirs is None and failed:
        raise failed[0]
    if theirs is None:
        return Finding("clock", "note", "the registry did not tell its time")
    skew = round((now() - theirs).total_seconds())
    if abs(skew) > _TOLERATED_SKEW_SECONDS:
        return Finding("clock", "trouble", f"{skew:+d} s off the registry's", ("set it: `timedatectl set-ntp true`",))
    return Finding("clock", "ok", f"within {max(abs(skew), 1)} s of the registry's")


def check_receivers(context: DoctorContext) -> Iterator[Finding]:
    """Tell which secret of a receiver is not set here: a job's context has it, and a person may not."""
    from reconciler.announce.receivers import TOKEN as CIRCLECI_TOKEN  # noqa: PLC0415 - few fleets tell anybody

    asked = context.known.fleet.settings.announce
    needed = {"circleci": CIRCLECI_TOKEN} if asked.circleci is not None else {}
    if asked.webhook is not None:
        needed["webhook"] = asked.webhook.secret_env
    for receiver, variable in needed.items():
        if not os.environ.get(variable):
            what = f"announce.{receiver}: {variable} is not set here, and where runs lack it nobody is told"
            yield Finding("receivers", "note", what)


Check = Callable[[DoctorContext], Iterable[Finding]]
