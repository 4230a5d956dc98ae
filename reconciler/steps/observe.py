"""Observe and resolve: desired and state from git, artifacts from the registry, a pin for every source."""

from __future__ import annotations

import posixpath
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from itertools import combinations

from reconciler.desired.declared import SETTINGS_FILE, read_settings
from reconciler.desired.fleet import read_fleet
from reconciler.git.destination import Target
from reconciler.git.export import LFS, filtered, filters
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings, Settings
from reconciler.model.errors import Contention, Locked, Place, ReconcilerError, Terminal, Transient, UserError, no_image
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Artifact, Lockfile
from reconciler.model.observation import Seen
from reconciler.model.plan import PlanOptions
from reconciler.model.source import Pin, Upstream
from reconciler.model.text import did_you_mean, first_few
from reconciler.model.tree import Tree, content_at
from reconciler.plan.garbage import branches_matter
from reconciler.plan.graph import graph, with_ancestors
from reconciler.plan.lost import places_of, with_lost_places
from reconciler.plan.planning import FleetPlan, Known, lock_of, removed
from reconciler.plan.presence import seen_once
from reconciler.plan.reasons import is_expired, refreshes
from reconciler.plan.timing import is_dormant, is_over
from reconciler.ports.registry import Registry
from reconciler.state.lockfiles import read_lockfiles
from reconciler.steps.one_writer import find_recorded


def settings_at(tree: Tree) -> Settings:
    """The controller's own settings at a revision."""
    return read_settings(content_at(tree, SETTINGS_FILE)).settings


def git_settings(repository: Repository) -> GitSettings:
    """Those of git in the checkout, but for which branch state is recorded to, and of what remote.

    A branch would call itself that, and whoever has it checked out would reconcile, or take away, what nobody reviewed.
    """
    settings = settings_at(repository.tree()).git
    if settings == settings.model_copy(update={"branch": None, "remote": GitSettings().remote}):
        return settings  # it names none: the remote's default branch is asked for
    found = find_recorded(repository, settings)
    return settings.model_copy(update={"branch": found.branch, "remote": found.remote}) if found else settings


def find_target(repository: Repository) -> Target:
    """The branch that state is recorded to, fetched. Another process of this clone may be fetching: tried again."""
    import tenacity  # noqa: PLC0415 - 70 ms that plan need not pay

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((Contention, Locked)),
        stop=tenacity.stop_after_attempt(10),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    return retrying(lambda: repository.target(git_settings(repository)))


def refuse_elsewhere(target: Target, note: Callable[[str], None]) -> None:
    """Raise UserError on another branch than the one that state is recorded to; say what is not pushed there yet."""
    if target.elsewhere is not None:
        raise UserError(
            f"state is recorded to {target.branch}, and the checkout is on {target.elsewhere}",
            hint=(
                f"`git switch {shlex.quote(target.branch)}`",
                "to build what this branch would change: `reconciler reconcile --preview`",
            ),
        )
    if target.unpushed:
        named = first_few([f"{commit.oid[:7]} {commit.subject}" for commit in target.unpushed], most=3)
        note(f"not pushed to {target.branch}, so not considered: {named}")


def read_repository(tree: Tree, *, fleet_name: str, now: datetime, options: PlanOptions) -> Known:
    """What the repository says at one revision: everything but the registry.

    The templates of images that are as they were built last are not read until somebody asks for them. Those of a
    preview are: state/ has one writer, and a branch's copy of it proves nothing.

    Raises UserError for a broken reconciler.yaml, and for an image that was asked for and does not exist.
    """
    locks, broken = read_lockfiles(tree)
    fleet = without_filtered(read_fleet(tree, recorded=None if options.preview else locks), tree)
    known = Known(
        tree=tree,
        fleet_name=fleet.settings.fleet or fleet_name,
        fleet=fleet,
        locks=locks,
        broken_locks=broken,
        now=now,
        options=options,
    )
    _refuse_unknown_names(known)
    return known


def without_filtered(fleet: Fleet, tree: Tree) -> Fleet:
    """The fleet, with a problem instead of each image an input of which goes through a filter that we can't stand for.

    What people see of such a file is not what git keeps, and so what they review is not what would be built.
    """
    found = filters(tree, (path for image in fleet.images.values() for path in image.input_paths))
    wrong = {path: filtered(path, one) for path, one in found.items() if one.name != LFS}
    if not wrong:
        return fleet
    every = {
        name: tuple(wrong[path] for path in image.input_paths if path in wrong) for name, image in fleet.images.items()
    }
    problems = {name: errors for name, errors in every.items() if errors}
    images = {name: image for name, image in fleet.images.items() if name not in problems}
    return replace(fleet, images=images, problems=dict(sorted({**fleet.problems, **problems}.items())))


def observe(known: Known, registry: Registry) -> Known:
    """The same with what the registry shows. A refusal that concerns every location raises Terminal."""
    known = _without_twice_named(known, registry)
    observation = registry.observe(_locations(known))
    if observation.refused is not None:
        raise observation.refused
    recorded = {(one.location, one.id) for lock in known.locks.values() for build in lock.recorded
                for one in build.artifacts}  # fmt: skip
    declared = {name: image.locations for image in known.fleet.images.values() for name in image.names}
    observation = seen_once(observation, recorded=recorded, declared=declared)
    return with_lost_places(_with_unlisted(replace(known, observation=observation), registry))


def with_clocks(known: Known, registry: Registry) -> Known:
    """The same with what time the registries have of images whose hold, or pause, would end by this machine's clock.

    Costs a call for each location that such an image is built in, and none where nothing ends.
    """
    ending = {
        name: image.build_location
        for name, image in known.fleet.images.items()
        if image.locations and is_over(image, now=known.now)
    }
    told: dict[str, datetime | str | None] = {}
    for location in sorted(set(ending.values())):
        try:
            told[location] = registry.server_time(location)
        except ReconcilerError as error:
            told[location] = error.what
    clocks = {name: time for name, location in ending.items() if (time := told[location]) is not None}
    return replace(known, clocks=clocks) if clocks else known


def _without_twice_named(known: Known, registry: Registry) -> Known:
    """The same, with a problem instead of each image two of whose declared locations are one place.

    What is there by one name would be retired by the other. What can't be looked at is left to the observation.
    """
    problems: dict[str, tuple[UserError, ...]] = {}
    for name in asked(known):
        image = known.fleet.images.get(name)
        if image is not None and len(image.locations) > 1 and not _is_dormant(known, image):
            problems |= {name: wrong} if (wrong := tuple(_twice_named(image, registry))) else {}
    if not problems:
        return known
    images = {name: image for name, image in known.fleet.images.items() if name not in problems}
    every = dict(sorted({**known.fleet.problems, **problems}.items()))
    return replace(known, fleet=replace(known.fleet, images=images, problems=every))


def _twice_named(image: Image, registry: Registry) -> Iterator[UserError]:
    for one, other in combinations(image.locations, 2):
        try:
            same = registry.is_same(one, other)
        except ReconcilerError:
            continue
        if same:
            yield UserError(
                f"{one} and {other} are one place under two names",
                where=Place(posixpath.join(image.folder, "image.yaml")),
                hint=f"name it once: take {other} out",
            )


def with_packer(known: Known, version: Callable[[], str | None]) -> Known:
    """The same with the version of the Packer that is here, where that decides whether what failed is tried again."""
    asks = any(one.failure is not None and one.failure.refused_by for one in known.locks.values())
    return replace(known, packer=version()) if asks else known


def with_branches(known: Known, branches: Callable[[], frozenset[str] | None]) -> Known:
    """The same with the remote's branches, asked for only when an old preview hangs on them.

    `branches` returns None when the remote does not tell: then no preview is retired.
    """
    if not branches_matter(known.observation.artifacts, fleet=known.fleet, now=known.now):
        return known
    return replace(known, live_branches=branches())


def _locations(known: Known) -> tuple[str, ...]:
    """Every location that is declared or recorded for the images that the plan is about."""
    images = known.fleet.images
    names = tuple(asked(known))
    awake = (images[name] for name in names if name in images and not _is_dormant(known, images[name]))
    declared = {location for image in awake for location in image.locations}
    return tuple(sorted(declared | {artifact.location for _, artifact in _recorded(known, names)}))


def _is_dormant(known: Known, image: Image) -> bool:
    return is_dormant(image, lock_of(known, image)[0], now=known.day_of(image.name))


def _recorded(known: Known, names: Iterable[str]) -> Iterable[tuple[str, Artifact]]:
    """The artifacts that the plan compares with the registry: of the newest build, and of the one that is kept.

    And those that an attempt left which failed: they are taken up, or retired.
    """
    for name in names:
        if name in known.fleet.images:
            lock, _ = lock_of(known, known.fleet.images[name])
            compared = {build.id: build for build in (*lock.builds[:1], lock.kept) if build is not None}
            for build in compared.values():
                yield from ((name, artifact) for artifact in build.artifacts)
            if lock.failure is not None and lock.failure.smoke_test is None:
                # Nothing may be on it yet that says whose it is.
                yield from ((name, artifact) for artifact in lock.failure.artifacts)


def _with_unlisted(known: Known, registry: Registry) -> Known:
    """Look up by id what is recorded and was not listed: it may be there without its tags.

    The listing asks by tag, so tags removed by hand would make an artifact look deleted. Costs a call for each
    artifact that has drifted, and none for a fleet in sync.
    """
    listed = known.observation.by_place
    unreadable, hints = dict(known.observation.unreadable), dict(known.observation.hints)
    found: defaultdict[str, list[Seen]] = defaultdict(list)
    for name, artifact in _recorded(known, asked(known)):
        if (artifact.location, artifact.id) in listed or artifact.location in unreadable:
            continue
        try:
            seen = registry.find(artifact.location, artifact.id)
        except (Transient, Terminal) as error:
            unreadable[artifact.location] = error.what
            hints |= {artifact.location: error.hint} if error.hint else {}
            continue
        if seen is not None:
            found[name].append(seen)
    observation = replace(known.observation, unreadable=unreadable, hints=hints)
    return replace(known, observation=observation, unlisted=found)


def asked(known: Known) -> Iterable[str]:
    """The images that a plan is about, with those that they are built on; by name."""
    images = known.fleet.images
    return with_ancestors(known.options.images, graph(images)) if known.options.images else images


def _refuse_unknown_names(known: Known) -> None:
    names = (*known.fleet.names, *removed(known))
    for name in (*known.options.images, *known.options.force):
        if name not in names:
            raise no_image(name, names, those="declared")
    places = places_of(known) if known.options.lost else ()
    for place in sorted({*known.options.lost}.difference(places)):
        raise UserError(
            f"nothing of this fleet is kept in {place}, so that nothing there can be lost",
            hint=did_you_mean(place, places, otherwise=f"places are: {first_few(sorted(places), most=5)}"),
        )


# Resolve: a pin for every upstream source. A lockfile is a lock: what is pinned stays, until a refresh.

_PARALLEL = 16  # reads of one account: more only meets request limits sooner


def resolve(known: Known, registry: Registry | None) -> Known:
    """The same with every upstream pin: as locked, or resolved now for what has none or is refreshed.

    Images that ask for the same source in the same location cost one resolution. Without a registry (offline) only
    what is locked is known. A source that can't be resolved is that image's own trouble.
    """
    pins: dict[str, Pin] = {}
    unresolved: dict[str, str] = {}
    asking: dict[tuple[str, str], list[Image]] = {}
    for name in _asked_for(known):
        image = known.fleet.images[name]
        if image.source is None or image.parent is not None:
            continue
        lock, _ = lock_of(known, image)
        if _is_dormant(known, image):
            unresolved[name] = "it is suspended"
        elif registry is not None and _asks(known, image, lock):
            asking.setdefault((image.source.model_dump_json(), image.build_location), []).append(image)
        elif lock.source is not None and lock.source.requested == image.source:
            pins[name] = lock.source.pinned
        else:
            unresolved[name] = "its source is resolved when the registry is read"
    if registry is not None:
        for images, outcome in _resolved(registry, asking.values()):
            for image in images:
                if isinstance(outcome, Pin):
                    pins[image.name] = outcome
                else:
                    unresolved[image.name] = str(_placed(outcome, image))
    return replace(known, pins=pins, unresolved=unresolved)


def _placed(error: ReconcilerError, image: Image) -> ReconcilerError:
    """What a person can mend of a source, with the file that says it, where that is the image's own."""
    if isinstance(error, UserError) and error.where is None and image.declaration.source is not None:
        return UserError(error.what, where=Place(posixpath.join(image.folder, "image.yaml")), hint=error.hint)
    return error


def withdrawn_sources(planned: FleetPlan, registry: Registry) -> Mapping[str, str]:
    """Of the images that would be built: those whose upstream source is not there any more, with why.

    A pin in state/ may be of last month. Costs a look for each source that is built on, and none for a fleet in sync.
    What could not be looked at is left to the build.
    """
    asking: dict[tuple[str, str], list[str]] = {}
    pins: dict[tuple[str, str], Upstream] = {}
    for decision in planned.decisions:
        pin = decision.wanted.pin.upstream if decision.wanted is not None and decision.wanted.pin is not None else None
        if pin is not None and "build" in decision.planned.actions:
            asking.setdefault((pin.location, pin.id), []).append(decision.name)
            pins[pin.location, pin.id] = pin
    if not asking:
        return {}
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(asking))) as pool:
        found = pool.map(lambda pin: _withdrawn(registry, pin), pins.values())
        return {name: why for place, why in zip(pins, found, strict=True) if why is not None for name in asking[place]}


def _withdrawn(registry: Registry, pin: Upstream) -> str | None:
    try:
        seen = registry.find(pin.location, pin.id)
    except ReconcilerError:
        return None
    if seen is not None and seen.state == "available":
        return None
    became = f"is {seen.state} in {pin.location}" if seen is not None else f"is not in {pin.location} any more"
    return f"its source {f'{pin.name} ' if pin.name else ''}{pin.id} {became}: `--refresh` takes what there is now"


def _asked_for(known: Known) -> tuple[str, ...]:
    """The images that the plan is about: those named with everything they are built on, else all."""
    images = known.fleet.images
    names = with_ancestors(known.options.images, graph(images)) if known.options.images else images
    return tuple(sorted(name for name in names if name in images))


def _asks(known: Known, image: Image, lock: Lockfile) -> bool:
    """Whether a source is looked up now."""
    if lock.source is None or lock.source.requested != image.source:
        return True
    refresh = image.declaration.refresh
    if not refreshes(known.options, refresh, now=known.now):
        return False
    last = lock.builds[0] if lock.builds else None
    return refresh.on_source_change or is_expired(last, refresh, now=known.now)


def _resolved(registry: Registry, groups: Iterable[list[Image]]) -> Iterable[tuple[list[Image], Pin | ReconcilerError]]:
    def one(images: list[Image]) -> tuple[list[Image], Pin | ReconcilerError]:
        source = images[0].source
        if source is None:
            raise ValueError("only images with a source are resolved")
        try:
            return images, registry.resolve(source, location=images[0].build_location)
        except ReconcilerError as error:
            return images, error

    groups = list(groups)
    if not groups:
        return []
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(groups))) as pool:
        return list(pool.map(one, groups))
