"""What keeps a build: every root from which an artifact is needed, or may be. What can't be known keeps, too.

A build stays as a whole: what keeps one of its artifacts keeps all, since a hold brings it back whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from reconciler.model.care import Grants
from reconciler.model.collection import Why
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Leaving, Lockfile
from reconciler.model.observation import Publications, Seen
from reconciler.model.plan import Decision
from reconciler.model.source import Pin
from reconciler.model.text import first_few
from reconciler.model.usage import Place, Usage, Use
from reconciler.model.values import began_at, parse_instant
from reconciler.plan.garbage import is_nobodys
from reconciler.plan.planning import Known, lock_of
from reconciler.plan.publishing import asked_of
from reconciler.plan.revocations import alike, twins_of
from reconciler.plan.rulings import in_force
from reconciler.plan.tags import source_text
from reconciler.plan.timing import is_suspended
from reconciler.plan.transitions import Keeps, retained
from reconciler.plan.trust import certain, is_marked

_YOUNG = timedelta(days=1)
"""EC2 tells up to a day late what was launched (LastLaunchedTime, API reference), and so may whoever looks after us."""
_MOST_USES = 2
Root = tuple[Why, str]
BuildOf = tuple[str, str]
"""An image's name and a build's id."""


@dataclass(frozen=True)
class Survey:
    """All that is known when it is judged what may go: nothing else decides it."""

    known: Known
    decisions: tuple[Decision, ...]
    seen: Mapping[Place, Seen]
    """Every artifact that the registry shows, and those that are recorded and were looked up."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Why a location could not be read."""
    past: Mapping[BuildOf, Build] = field(default_factory=dict)
    """Builds that no lockfile has any more, as they were last recorded on the branch."""
    usage: Usage = field(default_factory=Usage)
    shared: Mapping[Place, Grants | str] = field(default_factory=dict)
    """Who may use an artifact beside its owner; a text: why that is not known."""
    elsewhere: Mapping[Place, tuple[Use, ...] | str] = field(default_factory=dict)
    """What those use of it; a text: why that is not known. Absent where nobody tells of others."""


@dataclass(frozen=True)
class Group:
    """One build of an image, with all artifacts that are certain to be its own."""

    image: Image
    lock: Lockfile
    build: Build
    entry: Leaving | None
    seen: tuple[Seen, ...]

    @property
    def key(self) -> BuildOf:
        """Its image's name, and its id."""
        return self.image.name, self.build.id

    @property
    def places(self) -> dict[Place, Seen | Artifact]:
        """All that is recorded or there of it, by location and id."""
        recorded = {(one.location, one.id): one for one in self.build.artifacts}
        return recorded | {one.place: one for one in self.seen}


@dataclass(frozen=True)
class Roots:
    """The builds of a fleet, and what keeps each of them."""

    survey: Survey

    @property
    def known(self) -> Known:
        """What a plan is made from."""
        return self.survey.known

    @cached_property
    def kept(self) -> Mapping[BuildOf, Root]:
        """Why each build stays, of those that do."""
        kept = {group.key: root for group in self.groups if (root := self._root(group))}
        return self._with_parents(self._with_twins(kept))

    def _with_twins(self, kept: dict[BuildOf, Root]) -> dict[BuildOf, Root]:
        """With the builds that have an artifact in common with one that stays and is recorded."""
        for image in self.known.fleet.images.values():
            for build_id, twins in alike(lock_of(self.known, image)[0]).items():
                for twin in twins if (image.name, build_id) in kept else ():
                    kept.setdefault((image.name, twin), ("sibling", f"what it left is of {build_id} as well"))
        return kept

    # Builds, each with its record and what is there of it.

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every build of a declared image that is recorded, or was, with what is there of it."""
        found: list[Group] = []
        past: defaultdict[str, list[Build]] = defaultdict(list)
        for (name, _), build in self.survey.past.items():
            past[name].append(build)
        for image in self.known.fleet.images.values():
            lock, _ = lock_of(self.known, image)
            leaving = {one.build.id: one for one in lock.leaving}
            for build in {one.id: one for one in (*past[image.name], *lock.recorded)}.values():
                family = self._by_build.get((image.name, build.id), ())
                seen = certain(
                    (*family, *(one for place in _places(build) if (one := self.survey.seen.get(place)) is not None)),
                    _places(build),
                )
                unique = {one.place: one for one in seen}
                found.append(Group(image, lock, build, leaving.get(build.id), tuple(unique.values())))
        return tuple(found)

    @cached_property
    def by_key(self) -> Mapping[BuildOf, Group]:
        """The same by image and id."""
        return {group.key: group for group in self.groups}

    @cached_property
    def _by_build(self) -> Mapping[BuildOf, list[Seen]]:
        names = {
            name: image.name
            for image in self.known.fleet.images.values()
            for name in (image.declaration.moved_from, image.name)
            if name is not None
        }
        found: defaultdict[BuildOf, list[Seen]] = defaultdict(list)
        for one in self.survey.seen.values():
            found[names.get(one.own("image") or "", ""), one.own("build") or ""].append(one)
        return found

    # What keeps a build.

    def _root(self, group: Group) -> Root | None:
        """The first thing that keeps a build, beside what is built on it; None where nothing does."""
        return next(
            (root for find in (self._as_a_whole, self._in_lockfile, self._of_artifacts) for root in find(group)), None
        )

    @cached_property
    def _planned(self) -> Mapping[str, Decision]:
        return {decision.name: decision for decision in self.survey.decisions}

    def _as_a_whole(self, group: Group) -> Iterator[Root]:
        name = group.image.name
        decision = self._planned.get(name)
        if decision is None or decision.image is None or decision.planned.errors:
            yield "invalid", "its declaration or its lockfile is invalid, so what it keeps is not known"
        elif self.known.doubts.get(name):
            yield "stranger", self.known.doubts[name][0]
        if self.known.broken_locks:
            broken = min(self.known.broken_locks)
            yield "invalid", f"what the builds of {broken} were built on is not known: its lockfile is invalid"
        suspend = group.image.declaration.suspend
        if suspend is not None and is_suspended(group.image, now=self.known.day_of(name)):
            yield "suspended", f"{name} is suspended: {suspend.reason}"

    def _in_lockfile(self, group: Group) -> Iterator[Root]:
        image = in_force(group.image, now=self.known.day_of(group.image.name))
        lock, build_id = group.lock, group.build.id
        hold = image.declaration.hold
        if hold is not None and hold.build == build_id:
            yield "held", f"a hold is on it: {hold.reason}"
        if (code := retained(lock.builds, lock.channels, image).get(build_id)) is not None:
            yield code, _KEEPS[code]
        newest = sorted((one.id for one in self._of_image[group.image.name]), reverse=True)
        if group.entry is None and build_id in newest[: image.declaration.retain.builds]:
            yield "newest", _KEEPS["newest"]
        if build_id > max((one.id for one in lock.builds), default=""):
            yield "young", "it is newer than all that is recorded: another run may be about to record it"
        failure = lock.failure
        if failure is not None and (failure.build == build_id or self._is_of_failure(group)):
            yield "attempt", "an attempt that failed made it, and may be taken up"
        if self.known.now - began_at(build_id) < _YOUNG:
            yield "young", "it was made within the last 24 h"
        if group.build.recorded is not None and self.known.now - parse_instant(group.build.recorded) < _YOUNG:
            yield "young", "it was recorded within the last 24 h"

    def _is_of_failure(self, group: Group) -> bool:
        failure = group.lock.failure
        left = {(one.location, one.id) for one in failure.artifacts} if failure is not None else set()
        return not left.isdisjoint(group.places)

    @cached_property
    def _of_image(self) -> Mapping[str, list[Build]]:
        found: defaultdict[str, list[Build]] = defaultdict(list)
        for group in self.groups:
            found[group.image.name].append(group.build)
        return found

    def _of_artifacts(self, group: Group) -> Iterator[Root]:
        for location in sorted({location for location, _ in group.places}):
            if location in self.survey.unread:
                yield "unread", f"{location} could not be read: {self.survey.unread[location]}"
            for why in self.survey.usage.unread.get(location, ()):
                yield "unread", f"whether it is used in {location} is not known: {why}"
            if location in self._published.unreadable:
                yield "unread", f"what is published in {location} is not known: {self._published.unreadable[location]}"
        for seen in group.seen:
            yield from self._of_artifact(group, seen)

    def _of_artifact(self, group: Group, seen: Seen) -> Iterator[Root]:
        where = f"{seen.id} in {seen.location}"
        yield from self._of_others_build(group, seen, where)
        if seen.state == "pending":
            yield "pending", f"{where} is still being made"
        if seen.created and self.known.now - parse_instant(seen.created) < _YOUNG:
            yield "young", f"{where} was made within the last 24 h"
        if seen.stays and group.entry is None:  # else the step that was refused is not recorded yet
            yield "undeletable", f"{where} was to be removed: {seen.stays}"
        if seen.protected:
            yield "protected", f"{where} is protected from removal"
        if uses := [use for use in self._uses.get(seen.place, ()) if not self._goes_with(use, group)]:
            yield "used", f"{first_few([use.by for use in uses], most=_MOST_USES)} in {seen.location} uses {seen.id}"
        if named := self._named_by.get(seen.place):
            yield "used", f"{first_few(named, most=_MOST_USES)} in {seen.location} names {seen.id}"
        grants = self.survey.shared.get(seen.place)
        if isinstance(grants, str):
            yield "unread", f"who may use {where} is not known: {grants}"
        elif grants and not group.image.declaration.retain.even_if_shared:
            yield from self._of_others(seen, grants)

    def _of_others_build(self, group: Group, seen: Seen, where: str) -> Iterator[Root]:
        if is_marked(seen, fleet=self.known.fleet_name, names=group.image.names, build_id=group.build.id):
            return
        if seen.own("build") in {one.id for one in twins_of(group.lock, group.build, seen.place)}:
            yield "sibling", f"{where} is of {seen.own('build')} as well"
        yield "stranger", f"{where} does not say itself that it is this build's"

    def _of_others(self, seen: Seen, grants: Grants) -> Iterator[Root]:
        where = f"{seen.id} in {seen.location}"
        told = self.survey.elsewhere.get(seen.place)
        if told is None:
            yield "shared", f"{where} is shared with {grants}: whether they use it is not known"
        elif isinstance(told, str):
            yield "unread", f"{where} is shared with {grants}, and whether they use it is not known: {told}"
        elif told:
            by = first_few([use.by for use in told], most=_MOST_USES)
            yield "used", f"{by} uses {seen.id} in {seen.location}"

    @staticmethod
    def _goes_with(use: Use, group: Group) -> bool:
        """Whether it is a version that was made for the build, of a template that the image is published to."""
        if not use.is_left_by(group.build.id):
            return False
        return (use.place[0], use.parameter) in {one.place for one in asked_of(group.image, group.lock)}

    @property
    def _published(self) -> Publications:
        """What stands where channels are written out, also where a channel has gone on and its name could not."""
        return self.known.publications or Publications(self.known.now)

    @cached_property
    def _named_by(self) -> Mapping[Place, list[str]]:
        found: defaultdict[Place, list[str]] = defaultdict(list)
        for (location, name), held in self._published.held.items():
            found[location, held.value].append(name)
        return found

    @cached_property
    def _uses(self) -> Mapping[Place, list[Use]]:
        found: defaultdict[Place, list[Use]] = defaultdict(list)
        for use in self.survey.usage.uses:
            found[use.place].append(use)
        return found

    def _with_parents(self, kept: dict[BuildOf, Root]) -> dict[BuildOf, Root]:
        """With what kept builds were built on, at any depth, and what is about to be built on, or may be."""
        groups = self.by_key
        waiting = [(pin, f"{name} {build_id} is built on it") for (name, build_id) in kept
                   for pin in (groups[name, build_id].build.source,)]  # fmt: skip
        waiting += self._pins()
        while waiting:
            pin, why = waiting.pop()
            key = self._named(pin)
            if key is None or key in kept or key not in groups:
                continue
            kept[key] = ("child", why)
            waiting.append((groups[key].build.source, f"{key[0]} {key[1]} is built on it"))
        told = {one.own("source"): one for one in self.survey.seen.values() if is_nobodys(one)}
        for group in self.groups:
            preview = told.get(source_text(group.build.as_pin(group.image.name)))
            if preview is not None and group.key not in kept:
                kept[group.key] = ("child", f"the preview {preview.id} in {preview.location} is built on it")
        return kept

    def _pins(self) -> Iterator[tuple[Pin | None, str]]:
        for name, lock in self.known.locks.items():
            if lock.source is not None:
                yield lock.source.pinned, f"{name} is pinned to it"
            if lock.failure is not None and lock.failure.made is not None:
                yield lock.failure.made.source, f"an attempt at {name} is built on it, and may be taken up"
            if name not in self.known.fleet.images:
                yield from ((one.source, f"{name} {one.id} is built on it") for one in lock.recorded)
        for decision in self.survey.decisions:
            if decision.wanted is not None:
                yield decision.wanted.pin, f"{decision.name} is to be built on it"

    def _named(self, pin: Pin | None) -> BuildOf | None:
        if pin is None or pin.image is None or pin.build is None:
            return None
        return self.renamed.get(pin.image, pin.image), pin.build

    @cached_property
    def renamed(self) -> Mapping[str, str]:
        """What images are called now, by what they were called before."""
        images = self.known.fleet.images.items()
        return {former: name for name, image in images if (former := image.declaration.moved_from) is not None}


_KEEPS: Mapping[Keeps, str] = {
    "channel": "a channel points to it",
    "held": "a hold is on it",
    "newest": "it is among the newest builds (retain.builds)",
    "revoked": "it is recorded as revoked",
    "fallback": "stable would fall back to it",
}
_OF_ONE: tuple[Why, ...] = ("unread", "stranger", "pending", "young", "undeletable", "protected", "used", "shared")


def said_of(place: Place, root: Root, *, places: Collection[Place]) -> Root:
    """What keeps a build, as it is said of one of its artifacts: another one of its `places` may be what is used."""
    code, why = root

    def names(one: Place) -> bool:
        return f"{one[1]} " in f"{why} " or one[0] in why

    elsewhere = code in _OF_ONE and not names(place) and any(map(names, places))
    return ("sibling", f"a build stays whole, and {why}") if elsewhere else root


def _places(build: Build) -> tuple[Place, ...]:
    return tuple((one.location, one.id) for one in build.artifacts)
