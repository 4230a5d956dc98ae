"""What may go and what stays, of every artifact of a fleet; and how far each build has gone that goes away in steps.

A build goes as a whole, since a hold brings it back whole: what keeps one of its artifacts keeps all. It goes only if
state/ names it, as it is or as it was on the branch that is recorded to, and if its own marks say the same. Old
previews, and what attempts left, are judged in `garbage`; here is only told what was found there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from reconciler.model.care import Grants, soon
from reconciler.model.collection import Fate, Step, Why
from reconciler.model.declaration import Retain
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Gone, Leaving, Lockfile
from reconciler.model.observation import Seen
from reconciler.model.text import counted
from reconciler.model.usage import Place
from reconciler.model.values import Instant, format_instant, parse_instant
from reconciler.plan.garbage import is_nobodys
from reconciler.plan.roots import Group, Root, Roots, Survey, said_of
from reconciler.plan.transitions import retained, without_gone

_SOON = timedelta(minutes=5)
_NOT_DECLARED = "is not declared, and nothing takes it away: declare it again for `gc` to do so, or delete it by hand"


def stays_until(entry: Leaving, retain: Retain) -> datetime:
    """Before when a build that goes away is not removed: until then a hold brings it back whole."""
    left = timedelta(seconds=retain.disabled if entry.disabled else retain.deprecated + retain.disabled)
    return parse_instant(entry.disabled or entry.deprecated) + left


def why_it_goes(build: Build, retain: Retain) -> str:
    """Why nothing keeps a build, for people."""
    if build.phase == "rejected":
        return "it did not pass validation"
    return f"{counted(retain.builds, 'newer build')} {'is' if retain.builds == 1 else 'are'} kept"


@dataclass(frozen=True)
class Departure:
    """A build that goes away: the step that comes next, and from when it may be taken."""

    image: Image
    entry: Leaving
    """As it is to be recorded before the step is taken, with all its artifacts."""
    step: Step
    due: datetime
    seen: tuple[Seen, ...]
    """Its artifacts that are there."""

    @property
    def build(self) -> Build:
        """The build, as it is to be recorded."""
        return self.entry.build


@dataclass(frozen=True)
class Judgement:
    """Every artifact's fate, and the builds that go away, each with its next step."""

    fates: tuple[Fate, ...]
    departures: tuple[Departure, ...]


def judge(survey: Survey) -> Judgement:
    """Say of every artifact whether it may go. Pure: the same survey, the same judgement."""
    return _Judge(survey).judgement()


def departures(survey: Survey) -> tuple[Departure, ...]:
    """The builds that may go, as `judge` finds them, without what is to be said of everything else."""
    return _Judge(survey).departures()


class _Judge:
    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.known = survey.known
        self.now = survey.known.now
        self.roots = Roots(survey)

    def departures(self) -> tuple[Departure, ...]:
        kept = self.roots.kept
        going = (group for group in self.roots.groups if group.key not in kept and (group.seen or group.entry))
        return tuple(map(self._departure, going))

    def judgement(self) -> Judgement:
        kept, departures = self.roots.kept, self.departures()
        fates: dict[Place, Fate] = {}
        for group in sorted(self.roots.groups, key=lambda one: one.key):  # what is of two builds is the newer's
            if group.key in kept:
                fates |= {place: _stays(group, one, said_of(place, kept[group.key], places=group.places))
                          for place, one in group.places.items() if self._may_be_there(place)}  # fmt: skip
        for departure in departures:
            fates |= {place: self._goes(departure, one) for one in departure.build.artifacts
                      if self._may_be_there(place := (one.location, one.id))}  # fmt: skip
        for place, seen in self.survey.seen.items():
            if place not in fates:
                fates[place] = self._beside(seen)
        return Judgement(tuple(fates[place] for place in sorted(fates)), departures)

    def _may_be_there(self, place: Place) -> bool:
        return place in self.survey.seen or place[0] in self.survey.unread

    @cached_property
    def _previews(self) -> Mapping[Place, str]:
        """What `garbage` found that nobody needs, with its image's name."""
        return {one.place: decision.name for decision in self.survey.decisions for one in decision.old_previews}

    # How far it has gone.

    def _departure(self, group: Group) -> Departure:
        known = {(one.location, one.id) for one in group.build.artifacts}
        builder = group.build.artifacts[0].builder if group.build.artifacts else ""
        more = (one.as_artifact(builder) for one in group.seen if one.place not in known)
        artifacts = sorted((*group.build.artifacts, *more), key=lambda one: (one.location, one.id))
        build = group.build.model_copy(update={"artifacts": tuple(artifacts), "files": None})
        entry, at = group.entry, format_instant(self.now)
        if entry is None:
            new = Leaving(build=self._as_deprecated(build, group), deprecated=at)
        else:
            new = entry.model_copy(update={"build": build})
        step, due = self._next(group, entry)
        if step == "disable" and due <= self.now and new.disabled is None:
            new = new.model_copy(update={"disabled": at})
        return Departure(group.image, new, step, due, group.seen)

    def _as_deprecated(self, build: Build, group: Group) -> Build:
        """The build, with what is recorded of the step: so that whatever brings it back knows that it was ours."""
        if not group.image.kind.tended:
            return build
        care = {"deprecated": format_instant(soon(self.now))}
        artifacts = (one.model_copy(update={"care": one.cared_for.model_copy(update=care)}) for one in build.artifacts)
        return build.model_copy(update={"artifacts": tuple(artifacts)})

    def _next(self, group: Group, entry: Leaving | None) -> tuple[Step, datetime]:
        """The next step and from when it may be taken. What was recorded and not done, or undone by hand, comes first.

        The dates are those of the record alone, so that nothing that is done to an artifact sets them back.
        """
        retain = group.image.declaration.retain
        usable = [one for one in group.seen if one.state == "available" and group.image.kind.tended]
        if entry is not None and not group.seen:
            return "retire", self.now  # somebody was faster: what it was stored in may be left
        if entry is None or (entry.disabled is None and not all(map(self._is_deprecated, usable))):
            return "deprecate", self.now
        if not group.image.kind.tended:
            return "retire", stays_until(entry, retain)  # nothing of it can be disabled: it stays until its time comes
        if entry.disabled is None:
            return "disable", parse_instant(entry.deprecated) + timedelta(seconds=retain.deprecated)
        if usable:
            return "disable", self.now
        return "retire", parse_instant(entry.disabled) + timedelta(seconds=retain.disabled)

    def _is_deprecated(self, seen: Seen) -> bool:
        return seen.deprecated is not None and parse_instant(seen.deprecated) <= self.now + _SOON

    # What is said of each.

    def _goes(self, departure: Departure, artifact: Artifact) -> Fate:
        retain, build = departure.image.declaration.retain, departure.build
        code: Why = "rejected" if build.phase == "rejected" else "superseded"
        last = max(stays_until(departure.entry, retain), departure.due)
        return Fate(
            image=departure.image.name, build=build.id, kind=artifact.kind, location=artifact.location,
            id=artifact.id, goes=True, code=code, why=why_it_goes(build, retain), step=departure.step,
            due=format_instant(departure.due) if departure.due > self.now else None,
            undo=format_instant(last) if last > self.now else None, conversions=artifact.conversions,
        )  # fmt: skip

    def _beside(self, seen: Seen) -> Fate:
        """An artifact that is certain to be of no recorded build, neither now nor before."""
        if seen.place in self._previews:
            return _fate(seen, self._previews[seen.place], ("preview", "nobody needs it any more"), step="retire")
        name = seen.own("image") or ""
        return _fate(seen, name, self._by_itself(seen, name) or self._without_record(name))

    def _by_itself(self, seen: Seen, name: str) -> Root | None:
        """What is to be said of an artifact whatever its image is."""
        of_recorded = (self.roots.renamed.get(name, name), seen.own("build")) in self.roots.by_key
        if seen.place in self.known.strangers or of_recorded:
            return "stranger", "nothing but its tags says that it is ours"
        if seen.state == "pending":
            return "pending", "it is still being made"
        if is_nobodys(seen) or seen.own("key") is None:
            return "live", "a preview or what an attempt left, and too young to go or needed"
        return None

    def _without_record(self, name: str) -> Root:
        if name in self.known.fleet.problems:
            return "invalid", f"what is declared of {name} is invalid"
        if self.roots.renamed.get(name, name) not in self.known.fleet.images:
            told = "is declared no more: `reconcile --prune` ends it" if name in self.known.locks else _NOT_DECLARED
            return "undeclared", f"{name or 'its image'} {told}"
        return "unrecorded", "it was never recorded on this branch, as far as this clone's history tells"


def _stays(group: Group, one: Seen | Artifact, root: Root) -> Fate:
    return Fate(
        image=group.image.name, build=group.build.id, kind=one.kind, location=one.location, id=one.id, goes=False,
        code=root[0], why=root[1],
    )  # fmt: skip


def _fate(seen: Seen, image: str, root: Root, *, step: Step | None = None) -> Fate:
    return Fate(
        image=image, build=seen.own("build"), kind=seen.kind, location=seen.location, id=seen.id,
        goes=step is not None, code=root[0], why=root[1], step=step,
    )  # fmt: skip


def without_shared(departure: Departure, withheld: Mapping[Place, Grants]) -> Departure:
    """The departure, with who could use what is to be disabled, where that is not recorded yet."""
    artifacts = tuple(
        one.model_copy(update={"care": one.cared_for.model_copy(update={"withheld": grants})})
        if (grants := withheld.get((one.location, one.id))) is not None and one.cared_for.withheld is None
        else one
        for one in departure.build.artifacts
    )
    build = departure.build.model_copy(update={"artifacts": artifacts})
    return replace(departure, entry=departure.entry.model_copy(update={"build": build}))


def in_time(departure: Departure, now: datetime) -> Departure:
    """The departure, with no date of deprecation that is past before it could be set: what is recorded is what is set.

    A date that another run recorded may be long past; so may this run's, where it took its time.
    """
    if departure.step != "deprecate" or not departure.image.kind.tended:
        return departure
    at, first = format_instant(soon(now)), now + timedelta(minutes=1)
    artifacts = tuple(
        one.model_copy(update={"care": one.cared_for.model_copy(update={"deprecated": at})})
        if (told := one.cared_for.deprecated) is None or parse_instant(told) <= first
        else one
        for one in departure.build.artifacts
    )
    build = departure.build.model_copy(update={"artifacts": artifacts})
    return replace(departure, entry=departure.entry.model_copy(update={"build": build}))


def is_dated(before: Leaving | None, after: Leaving) -> bool:
    """Whether what is to be done is recorded, but for from when it is deprecated: that date may be past by now.

    What is only proposed is recorded once somebody merges it.
    """
    return before is not None and _undated(before) == _undated(after)


def _undated(entry: Leaving) -> Leaving:
    artifacts = tuple(one.model_copy(update={"care": one.cared_for.undated}) for one in entry.build.artifacts)
    return entry.model_copy(update={"build": entry.build.model_copy(update={"artifacts": artifacts})})


# What a lockfile says of it.


def with_leaving(lock: Lockfile, entries: Iterable[Leaving], *, image: Image) -> Lockfile:
    """Record how far builds have gone. What is kept by now, or has gone, stays as it is; a date that is there, too."""
    kept = retained(lock.builds, lock.channels, image)
    known = {one.build.id: one for one in lock.leaving}
    for one in entries:
        before = known.get(one.build.id)
        if one.build.id in kept or (before is None and one.disabled is not None):
            continue  # it came back, or has gone
        known[one.build.id] = _further(before, one) if before is not None else one
    leaving = tuple(known[build_id] for build_id in sorted(known, reverse=True))
    builds = tuple(one for one in lock.builds if one.id not in known)
    return lock.model_copy(update={"builds": builds, "leaving": leaving})


def _further(before: Leaving, after: Leaving) -> Leaving:
    """An entry with the dates that are recorded already, and with who could use what another run disabled first."""
    known = {(one.location, one.id): one.cared_for.withheld for one in before.build.artifacts}
    artifacts = tuple(
        one.model_copy(update={"care": one.cared_for.model_copy(update={"withheld": withheld})})
        if (withheld := known.get((one.location, one.id))) is not None
        else one
        for one in after.build.artifacts
    )
    build = after.build.model_copy(update={"artifacts": artifacts})
    return Leaving(build=build, deprecated=before.deprecated, disabled=before.disabled or after.disabled)


def with_removed(lock: Lockfile, gone: Collection[str], *, at: Instant, tells: bool) -> Lockfile:
    """Record that builds that went away were removed, by id. Where it `tells`, what is to be told of them stays."""
    after = without_gone(lock, gone)
    if not tells:
        return after
    told = {one.build.id for one in lock.gone}
    new = (
        Gone(build=one.build, deprecated=one.deprecated, disabled=one.disabled, removed=at)
        for one in lock.leaving
        if one.build.id in gone and one.build.id not in told
    )
    return after.model_copy(update={"gone": (*new, *lock.gone)})


def with_told(lock: Lockfile, gone: Sequence[Gone], *, over: Collection[str]) -> Lockfile:
    """Record who was told that builds were removed; of those that are `over`, by id, nothing is kept any more."""
    heard = {(one.build.id, one.removed): one.told for one in gone}
    kept = tuple(
        one.model_copy(update={"told": tuple(sorted({*one.told, *heard.get((one.build.id, one.removed), ())}))})
        for one in lock.gone
        if one.build.id not in over
    )
    return lock.model_copy(update={"gone": kept})
