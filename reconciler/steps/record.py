"""Record: the lockfile as a commit, the build as an annotated tag, pushed together.

Each change is a function of the lockfile at the remote's head, applied anew whenever that head moves: state is
regenerated, never rebased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from reconciler.desired.fleet import read_image
from reconciler.git.objects import Change, Commit, TagRequest
from reconciler.model import events
from reconciler.model.difference import Difference
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import (
    Artifact,
    Build,
    Failure,
    Lockfile,
    Verified,
)
from reconciler.model.plan import Decision
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant
from reconciler.plan import transitions
from reconciler.plan.key import moved
from reconciler.plan.key import wanted as want
from reconciler.plan.rulings import in_force
from reconciler.state.lockfiles import FOLDER, path_of, read_lockfile, read_lockfiles, render
from reconciler.state.unsaved import forget_unsaved, write_unsaved
from reconciler.steps.record_files import attach, detach, sbom_tag
from reconciler.steps.run import Run
from reconciler.words import messages

_KEPT = "the builds are kept and will be adopted, nothing is lost"
"""Said where something was built, and nowhere else."""


@dataclass(frozen=True)
class Recording:
    """What is recorded now. `superseded` says that our change was not wanted any more, and `why`."""

    lock: Lockfile
    commit: str | None = None
    tags: tuple[str, ...] = ()
    superseded: bool = False
    why: str = ""
    instead: Build | None = None
    """The build of the same content that another run recorded."""


@dataclass(frozen=True)
class Contents:
    """What is inside a build, and what changed there since the one before; None where that is not known."""

    inventory: Inventory | None = None
    difference: Difference | None = None


def record_build(
    run: Run,
    image: Image,
    build: Build,
    *,
    decision: Decision,
    verb: Literal["build", "adopt"],
    contents: Contents,
) -> Recording:
    """Record a finished (or adopted) build. Superseded when the head no longer wants it or has one already."""
    at = format_instant(run.now())

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        declared = declared_at(tree, image, since=run.known.tree)
        if isinstance(declared, Unwanted):
            return declared
        unwanted = (
            recorded_by_others(lock, build.key, before=decision.lock, mine=build)
            or changed(tree, declared, build=build)
            or pin_moved(lock, build=build, since=decision.lock)
            or (recorded_elsewhere(tree, build, image=image.name) if build.adopted is not None else None)
        )
        if unwanted is not None:
            return unwanted
        before = lock.build(build.id)
        if before is not None and decision.lock.build(build.id) is None:
            # Another run found it while we tested it. There may be a verdict on it by now, or a newer build.
            return transitions.with_artifacts(lock, build.id, _dated(build.artifacts, recorded=before, at=at))
        since = before.recorded if before is not None and before.recorded else at
        recorded = {
            "phase": transitions.first_phase(declared, build.verdict), "recorded": since,
            "artifacts": _dated(build.artifacts, recorded=before, at=at),
        }  # fmt: skip
        held = in_force(declared, now=run.known.day_of(image.name))
        left = lock.left(build.id)
        was = before if before is not None else left.build if left is not None else None
        if was is not None and was.stood and lock.channels.stable != build.id and held.declaration.hold is None:
            recorded["returned"] = at  # `stable` comes back to it, which is told anew
        if was is not None and lock.channels.candidate != build.id:
            recorded["recalled"] = at
        built = build.model_copy(update=recorded)
        return transitions.with_build(lock, built, image=held, requested=image.source)

    inside = {build.id: contents.inventory} if contents.inventory is not None else {}
    tags = _build_tag(run, image, build, verb=verb, difference=contents.difference)
    if run.known.fleet.settings.git.push == "pull-request" and contents.inventory is not None:
        # Until that is merged the build is found by its tags, and needs to be tested no second time.
        tags = (*tags, sbom_tag(image.name, build, contents.inventory))
    message = messages.build_commit(image.name, build, verb=verb, difference=contents.difference)
    former = image.declaration.moved_from
    try:
        recording = record_lock(run, image.name, change, message=message, tags=tags, former=former, inventories=inside)
    except ReconcilerError as error:
        if build.adopted is not None:
            # No run finds it by itself: it was named by a person, or has its tags.
            error.hint = (*error.hint, "nothing was recorded of it: run it again once the branch takes pushes")
            raise
        # Nothing could be pushed: leave the exact record where a person finds it.
        kept = write_unsaved(run.repository.root, image.name, build=build, inventory=contents.inventory)
        record = f"its record is kept in {kept}; the image is adopted by the next run that can push"
        error.hint = (_KEPT, *error.hint, record)
        raise
    forget_unsaved(run.repository.root, image.name)
    return recording


def record_change(
    run: Run, decision: Decision, image: Image | None, *, added: Sequence[Artifact] = (),
    gone: Sequence[Artifact] = (), stays: Mapping[tuple[str, str], str] = messages.NOTHING,
) -> Recording:  # fmt: skip
    """Record what changed about a build that stays; with no image, that it is declared and recorded no more.

    Of what is `gone` some `stays` where it is, by location and id, and why: it is recorded no more.
    """
    reasons = decision.planned.reasons
    what = ", ".join(decision.planned.actions)
    message = messages.change_commit(decision.name, what, reasons, added=added, gone=gone, stays=stays)
    if image is None:
        return record_lock(run, decision.name, _deleted, message=message)
    kept = decision.lock.kept
    build_id = kept.id if kept is not None else ""
    at = format_instant(run.now())

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        if kept is not None and lock.build(build_id) is None:
            return Unwanted(f"{build_id} is not recorded any more at {tree.oid[:12]}")
        dated = _dated(added, recorded=lock.build(build_id), at=at)
        moved_on = transitions.with_artifacts(lock, build_id, dated, gone=gone)
        if declared_at(tree, image, since=run.known.tree) is not image:
            return moved_on  # a declaration that changed since we planned is the next run's to carry out
        return transitions.as_declared(moved_on, image)

    return record_lock(run, image.name, change, message=message, former=image.declaration.moved_from)


def _dated(artifacts: Sequence[Artifact], *, recorded: Build | None, at: str) -> tuple[Artifact, ...]:
    """Artifacts with the time at which they came to a build that was recorded before; one that it had keeps its own."""
    if recorded is None:
        return tuple(artifacts)
    known = {(one.location, one.id): one.recorded for one in recorded.artifacts}
    return tuple(one.model_copy(update={"recorded": known.get((one.location, one.id), at)}) for one in artifacts)


def record_verified(run: Run, image: Image, *, kept: Build, verified: Verified, build: Build) -> Recording:
    """Record that a refresh made the image again as it is: `build` came out as `kept` did, and is retired.

    Superseded where another run did as much meanwhile: what it recorded would only change its date.
    """

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        declared = declared_at(tree, image, since=run.known.tree)
        if isinstance(declared, Unwanted):
            return declared
        newest = lock.builds[0] if lock.builds else None
        if newest is None or newest.id != kept.id:
            return Unwanted(f"{kept.id} is not the newest build any more at {tree.oid[:12]}")
        if newest.verified != kept.verified:
            return Unwanted(f"another run verified {kept.id} in the meantime")
        return transitions.with_verified(lock, kept.id, verified, image=image)

    message = messages.verified_commit(image.name, kept.id, verified, build.reasons)
    tag = TagRequest(
        name=messages.tag_name(image.name, build.id),
        target=build.commit if run.repository.has(build.commit) else run.known.head,
        message=messages.verified_tag(image.name, kept.id, build),
    )
    return record_lock(run, image.name, change, message=message, tags=(tag,), former=image.declaration.moved_from)


def _deleted(lock: Lockfile, tree: Tree) -> None:
    del lock, tree


def record_failure(run: Run, image: Image, failure: Failure, decision: Decision) -> Recording:
    """Record that a build failed, so that the next run leaves it alone for a while and people see why."""

    def change(lock: Lockfile, tree: Tree) -> Lockfile | Unwanted:
        declared = declared_at(tree, image, since=run.known.tree)
        if isinstance(declared, Unwanted):
            return declared
        return recorded_by_others(lock, failure.key, before=decision.lock) or transitions.with_failure(lock, failure)

    tag = TagRequest(
        name=messages.tag_name(image.name, failure.build),
        target=run.known.head,
        message=messages.failure_tag(image.name, failure),
    )
    # What is to be taken up gets its tag then, as the build that it is: tags are never moved.
    tags = (tag,) if failure.made is None else ()
    message = messages.failure_commit(image.name, failure, decision.planned.reasons)
    return record_lock(run, image.name, change, message=message, tags=tags, former=image.declaration.moved_from)


def record_lock(
    run: Run,
    name: str,
    change: Callable[[Lockfile, Tree], Lockfile | Unwanted | None],
    *,
    message: str,
    tags: tuple[TagRequest, ...] = (),
    former: str | None = None,
    inventories: Mapping[str, Inventory] = MappingProxyType({}),
    also: Sequence[Change] = (),
) -> Recording:
    """Apply a change to the lockfile at the branch's head, with the files that it names. A change to None deletes it.

    `inventories` say what is inside new builds, by build id. What is to change `also` comes with it, where it does.
    """
    latest: list[Lockfile] = []
    unwanted: list[Unwanted] = []

    def regenerate(tree: Tree) -> Commit | None:
        moved = _former(tree, former, name=name)
        lock = moved or read_lockfile(tree, name) or Lockfile(image=name)
        new = change(lock, tree)
        if isinstance(new, Unwanted):
            unwanted.append(new)
            latest.append(lock)
            return None
        if new is None:
            latest.append(lock)
            changes = [Change(path=path_of(name), content=None), *detach(lock, None, tree=tree)]
        else:
            named, files = attach(run, lock, new, tree=tree, inventories=inventories)
            latest.append(named)
            changes = [Change(path=path_of(name), content=render(named)), *files, *(also if new != lock else ())]
        if former is not None and moved is not None:
            changes.append(Change(path=path_of(former), content=None))
        return Commit(changes=tuple(changes), message=message, tags=tags)

    recorded = run.recorder.record(regenerate)
    if recorded is None:
        return Recording(latest[-1], superseded=True, why=unwanted[-1].why, instead=unwanted[-1].instead)
    if recorded.left_behind is not None:
        run.listener(events.Warned(image=name, what=f"the checkout was left as it is: {recorded.left_behind}"))
    if recorded.owed_tags:
        what = f"recorded, but without the tag {', '.join(recorded.owed_tags)}: {recorded.why_owed}"
        run.listener(events.Warned(image=name, what=what))
    if recorded.changed:
        run.listener(
            events.Recorded(image=name, commit=recorded.commit, branch=recorded.branch, pushed=recorded.pushed)
        )
    commit = recorded.commit if recorded.changed else None
    made = tuple(tag.name for tag in tags if tag.name not in recorded.owed_tags)
    return Recording(latest[-1], commit=commit, tags=made)


def _build_tag(
    run: Run, image: Image, build: Build, *, verb: Literal["build", "adopt"], difference: Difference | None
) -> tuple[TagRequest, ...]:
    """The annotated tag to make: none for an adopted build that has one, or whose commit is in no history we have."""
    name = messages.tag_name(image.name, build.id)
    if verb == "adopt":
        if run.repository.annotated_tag(name) is not None:
            return ()
        if not run.repository.has(build.commit):
            what = f"{build.id} gets no tag: its commit {build.commit[:12]} is not in this repository any more"
            run.listener(events.Warned(image=image.name, what=what))
            return ()
    return (TagRequest(name=name, target=build.commit, message=messages.build_tag(image.name, build, difference)),)


def _former(tree: Tree, former: str | None, *, name: str) -> Lockfile | None:
    """The lockfile under the image's former name, as long as there is none under its own."""
    lock = read_lockfile(tree, former) if former is not None and path_of(name) not in tree.entries else None
    return lock.model_copy(update={"image": name}) if lock is not None else None


# Is what we have still wanted, now that the branch is where it is?


@dataclass(frozen=True)
class Unwanted:
    """The branch moved on: what we have is not what it wants, or `instead` is there already."""

    why: str
    instead: Build | None = None


def declared_at(tree: Tree, image: Image, *, since: Tree) -> Image | Unwanted:
    """The image as the head declares it: `image` itself as long as nothing but state/ changed, which costs nothing.

    An image that is invalid there counts as unchanged: what it should be is not known.
    """
    if not _touched(since, tree):
        return image
    now = read_image(tree, image.name)
    if now is None:
        return Unwanted(f"{image.name} is no longer declared at {tree.oid[:12]}")
    return now if isinstance(now, Image) else image


def recorded_by_others(lock: Lockfile, key: str, *, before: Lockfile, mine: Build | None = None) -> Unwanted | None:
    """Whether another run recorded the same content since the lockfile was as `before`.

    `mine` is not another: a run that found it in the registry before we recorded it has adopted it. The id alone does
    not tell, since two runs that began in the same second gave the same one.
    """
    for build in lock.builds:
        if build.key == key and before.build(build.id) is None and not (mine and _shares_artifacts(build, mine)):
            return Unwanted(f"another run recorded {build.id}, which has the same key", instead=build)
    return None


def recorded_elsewhere(tree: Tree, build: Build, *, image: str) -> Unwanted | None:
    """Whether an artifact of a build is in another image's lockfile: each belongs to one."""
    places = {(artifact.location, artifact.id) for artifact in build.artifacts}
    locks, _ = read_lockfiles(tree)
    for name, lock in locks.items():
        for one in lock.recorded if name != image else ():
            taken = places & {(artifact.location, artifact.id) for artifact in one.artifacts}
            for location, artifact_id in sorted(taken):
                return Unwanted(f"{artifact_id} in {location} is {one.id} of {name}")
    return None


def changed(tree: Tree, declared: Image, *, build: Build) -> Unwanted | None:
    """Whether the head wants other content than what was built."""
    components = moved(build.components, want(declared, build.source).components)
    if not components:
        return None
    return Unwanted(f"{declared.name} changed in the meantime ({', '.join(components)}, at {tree.oid[:12]})")


def pin_moved(lock: Lockfile, *, build: Build, since: Lockfile) -> Unwanted | None:
    """Whether another run moved the upstream pin: what was built on the older one must not turn it back."""
    pinned = lock.source.pinned if lock.source else None
    if pinned is None or pinned.upstream is None or build.source is None or lock.source == since.source:
        return None
    if pinned.identity == build.source.identity:
        return None
    return Unwanted(f"another run pinned {pinned} in the meantime, and {build.id} is on {build.source}")


def _shares_artifacts(one: Build, other: Build) -> bool:
    places = {(artifact.location, artifact.id) for artifact in other.artifacts}
    return any((artifact.location, artifact.id) in places for artifact in one.artifacts)


def _touched(before: Tree, now: Tree) -> bool:
    """Whether anything changed that an image may be made of. A file that is new anywhere may be one that it names."""
    paths = before.entries.keys() | now.entries.keys()
    return any(before.entries.get(path) != now.entries.get(path) for path in paths if not path.startswith(f"{FOLDER}/"))
