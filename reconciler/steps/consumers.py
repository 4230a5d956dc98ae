"""Who uses artifacts, who may, and where channels are written out for them: asked beside the fleet's listing.

Each costs calls, and so is asked only of what a plan would act on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import TypeVar

from reconciler.model.care import Grants
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Lockfile
from reconciler.model.observation import Publications
from reconciler.model.plan import Sharing, Tending
from reconciler.model.publish import Published
from reconciler.model.usage import Usage, Use
from reconciler.plan.planning import FleetPlan, Known, lock_of, make_plan, removed
from reconciler.plan.publishing import asked_of, but_for_ours, declared_at, publishing, whose_matters
from reconciler.plan.revocations import Past, newly_revoked, places_of, revocations, unrecorded
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.steps.ours import Records

_PARALLEL = 16  # reads of one account: more only meets request limits sooner
_PARALLEL_NAMES = 8  # SSM takes 40 reads and 3 writes a second of an account (service quotas)
Item = TypeVar("Item")
Found = TypeVar("Found")
Subject = tuple[Image | None, Lockfile]
"""An image with its lockfile; None for one that is declared no more, and is to go."""


def with_forgotten(known: Known, records: Records | None) -> Known:
    """The same with the builds that no lockfile names any more and a revocation may reach through, as their tags tell.

    Costs a look at the tag of each, and none where nothing is revoked. Raises what reading tags raises: a build that is
    recorded as revoked is not taken for good by a remote that is silent. Offline nothing is done, and so it counts as
    not known.
    """
    found: dict[tuple[str, str], Past] = {}
    missing: set[tuple[str, str]] = set()
    while records is not None and (wanted := unrecorded(known.fleet.images, known.locks, found) - missing):
        for name, build_id in sorted(wanted):
            image = known.fleet.images.get(name)
            past = None
            with suppress(*((ReconcilerError,) if known.options.offline else ())):
                past = _past(records, image.names if image is not None else (name,), build_id)
            if past is not None:
                found[name, build_id] = past
            else:
                missing.add((name, build_id))
    return replace(known, forgotten=found) if found else known


def _past(records: Records, names: Iterable[str], build_id: str) -> Past | None:
    told = (records(name, build_id) for name in names)
    build = next((one.build for one in told if one is not None and one.build is not None), None)
    if build is None:
        return None
    stood = build.source if build.source is not None and build.source.image is not None else None
    return Past(stood, places_of(build))


def usage_of_revoked(known: Known, registry: Registry, *, asks: bool) -> Usage | None:
    """What uses the builds that are about to be revoked; None where none is. Asked once of each location.

    Of each artifact it is asked who may use it beside its owner, and of what others may use whether they do. It `asks`
    for reports of that where there are none. Where it is not told who may use one, what is recorded counts.
    """
    causes = revocations(known.fleet.images, known.locks, known.forgotten)
    artifacts = [artifact for build, _ in newly_revoked(causes, known.locks) for artifact in build.artifacts]
    if not artifacts:
        return None
    found = uses_of(registry, [(one.location, one.id) for one in artifacts])
    sharing = sharing_of(registry, artifacts)
    told = elsewhere_of(registry, [place for place, grants in sharing.grants.items() if grants], asks=asks)
    uses = (*found.uses, *(use for one in told.values() if not isinstance(one, str) for use in one))
    given = {(one.location, one.id) for one in artifacts if one.cared_for.shared}
    unknown = {place: f"who may: {why}" for place, why in sharing.unread.items() if place in given}
    unknown |= {place: why for place, why in told.items() if isinstance(why, str)}
    ours = but_for_ours(uses, known.fleet.images, known.locks, causes, now=known.now, day_of=known.day_of)
    return replace(found, uses=ours, unknown=unknown)


def elsewhere_of(
    registry: Registry, places: Iterable[tuple[str, str]], *, asks: bool
) -> Mapping[tuple[str, str], tuple[Use, ...] | str]:
    """What others use who may, by location and id, or why that is not known. Asked once of each location."""
    asked: defaultdict[str, list[str]] = defaultdict(list)
    for location, artifact_id in sorted(places):
        asked[location].append(artifact_id)
    if not asked:
        return {}
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(asked))) as pool:
        told = pool.map(lambda one: registry.usage_elsewhere(one[0], one[1], asks=asks), asked.items())
        return {(location, of): what for location, found in zip(asked, told, strict=True) for of, what in found.items()}


def uses_of(registry: Registry, places: Iterable[tuple[str, str]]) -> Usage:
    """What uses artifacts, by location and id. Asked once of each location."""
    asked: defaultdict[str, set[str]] = defaultdict(set)
    for location, artifact_id in places:
        asked[location].add(artifact_id)
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(asked) or 1)) as pool:
        found = list(pool.map(lambda one: registry.usage(one[0], sorted(one[1])), sorted(asked.items())))
    unread = {location: why for one in found for location, why in one.unread.items()}
    return Usage(tuple(use for one in found for use in one.uses), unread)


def with_sharing(known: Known, planned: FleetPlan, registry: Registry) -> tuple[Known, FleetPlan]:
    """The same with who may use the artifacts of which the plan has to know that, and the plan made by it.

    Costs a look for each of them, and for each location in which some are to be shared two more, of what would keep
    others from using them. A fleet that shares nothing costs none.
    """
    asks = [artifact for decision in planned.decisions for artifact in decision.asks]
    if asks:
        known = replace(known, sharing=sharing_of(registry, asks))
        planned = make_plan(known)
    sharing = with_obstacles(registry, known.sharing, [one for decision in planned.decisions for one in decision.tend])
    if sharing == known.sharing:
        return known, planned
    known = replace(known, sharing=sharing)
    return known, make_plan(known)


def sharing_of(registry: Registry, artifacts: Sequence[Artifact]) -> Sharing:
    """Who may use artifacts, or why that is not known: a look for each."""
    if not artifacts:
        return Sharing()
    places = [(one.location, one.id) for one in artifacts]
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(artifacts))) as pool:
        told = dict(zip(places, pool.map(partial(_grants, registry), artifacts), strict=True))
    return Sharing(
        {place: found for place, found in told.items() if isinstance(found, Grants)},
        {place: found.what for place, found in told.items() if isinstance(found, ReconcilerError)},
    )


def with_obstacles(registry: Registry, sharing: Sharing, tendings: Iterable[Tending]) -> Sharing:
    """The same with what would keep others from using artifacts that are to be shared with them.

    Two looks for each location; none where nothing is to be shared.
    """
    by_location: defaultdict[str, list[Tending]] = defaultdict(list)
    for one in tendings:
        if one.add:
            by_location[one.artifact.location].append(one)
    obstacles, lacking = dict(sharing.obstacles), dict(sharing.lacking)
    for location, here in sorted(by_location.items()):
        artifacts, to = [one.artifact for one in here], reduce(or_, (one.add for one in here))
        said = registry.obstacles(location, artifacts, everybody=to.everybody)
        obstacles |= {(location, artifact_id): why for artifact_id, why in said.items()}
        free = [one for one in artifacts if one.id not in said]
        lacked = registry.lacking(location, free, to=to) if free else {}
        lacking |= {(location, artifact_id): tuple(what) for artifact_id, what in lacked.items()}
    return replace(sharing, obstacles=obstacles, lacking=lacking)


def _grants(registry: Registry, artifact: Artifact) -> Grants | ReconcilerError:
    try:
        return registry.grants(artifact)
    except ReconcilerError as error:
        return error


def with_published(known: Known, publisher: Callable[[], Publisher]) -> Known:
    """The same with what consumers find now. Asks nothing, and opens nothing, where no image is published."""
    gone = [(None, known.locks[name]) for name in removed(known) if known.options.prune and name in known.locks]
    subjects = [*((image, lock_of(known, image)[0]) for image in known.fleet.images.values()), *gone]
    if not any(asked_of(*subject) for subject in subjects):
        return known
    found = read_publications(publisher(), subjects, claimed=claimed(known), now=known.now)
    return replace(known, publications=found)


def claimed(known: Known) -> frozenset[tuple[str, str]]:
    """Location and name of all places that the fleet's images are declared to be published at."""
    return frozenset(one.place for image in known.fleet.images.values() for one in declared_at(image))


def read_publications(
    publisher: Publisher, subjects: Sequence[Subject], *, claimed: frozenset[tuple[str, str]], now: datetime
) -> Publications:
    """What stands at all places of these images: in as few calls as there may be, and whose it is where that matters.

    A location in which one call fails is unreadable: nothing is done there.
    """
    asked = [one for subject in subjects for one in asked_of(*subject)]
    unreadable: dict[str, str] = {}
    ours = [one for one in asked if one.place in claimed]
    held = _read(asked, lambda one: one.called, publisher.read, unreadable=unreadable)
    templates = _read(ours, lambda one: one.launch_template, publisher.templates, unreadable=unreadable)
    groups = _read(ours, lambda one: one.auto_scaling_group, publisher.groups, unreadable=unreadable)
    publications = Publications(now, held, unreadable, claimed, templates, groups)
    matter = {one.place for subject in subjects for one in whose_matters(*subject, publications)}
    for place, whose in at_once(sorted(matter), lambda place: publisher.is_ours(*place)):
        if isinstance(whose, ReconcilerError):
            unreadable[place[0]] = whose.what
        else:
            held[place] = replace(held[place], ours=whose)
    made = [one for subject in subjects for one in publishing(*subject, publications).versions if one.number is None]
    for change, why in at_once(made, lambda one: publisher.unfit(one.at.location, one.template, one.artifact)):
        if isinstance(why, ReconcilerError):
            unreadable[change.at.location] = why.what
        else:
            templates[change.at.place] = replace(change.template, misfit=why)
    forward = [one for subject in subjects for one in publishing(*subject, publications).groups.judged]
    for begun, why in at_once(forward, lambda one: publisher.group_misfit(one.at.location, one.group, one.artifact)):
        if isinstance(why, ReconcilerError):
            unreadable[begun.at.location] = why.what
        else:
            groups[begun.at.place] = replace(begun.group, misfit=why)
    return publications


def _read(
    places: Iterable[Published],
    called: Callable[[Published], str],
    ask: Callable[[str, Sequence[str]], Mapping[str, Found]],
    *,
    unreadable: dict[str, str],
) -> dict[tuple[str, str], Found]:
    """What stands at the places of one kind, by location and name, asked of each location at once.

    `called` is what the registry calls one, empty of another kind. A location that fails is added to `unreadable`.
    """
    by_location: defaultdict[str, dict[str, Published]] = defaultdict(dict)
    for one in places:
        if called(one):
            by_location[one.location][called(one)] = one
    found: dict[tuple[str, str], Found] = {}
    for (location, asked), there in at_once(by_location.items(), lambda one: ask(one[0], sorted(one[1]))):
        if isinstance(there, ReconcilerError):
            unreadable[location] = there.what
        else:
            found |= {asked[name].place: one for name, one in there.items()}
    return found


def at_once(items: Iterable[Item], work: Callable[[Item], Found]) -> list[tuple[Item, Found | ReconcilerError]]:
    """Each item with what comes of it, or with the error that it ended in; several at once, in order."""

    def one(item: Item) -> tuple[Item, Found | ReconcilerError]:
        try:
            return item, work(item)
        except ReconcilerError as error:
            return item, error

    listed = list(items)
    if not listed:
        return []
    with ThreadPoolExecutor(max_workers=min(_PARALLEL_NAMES, len(listed))) as pool:
        return list(pool.map(one, listed))
