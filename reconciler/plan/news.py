"""What there is to be told of an image's builds: by what is recorded, and by who was told of them before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.model.announcement import Circumstances, HoldAnnounced, StepAnnounced, turn_of
from reconciler.model.fleet import Image
from reconciler.model.lockfile import AnnouncedEvent, Build, Leaving, Lockfile
from reconciler.model.values import LAST, Instant, format_instant, parse_instant
from reconciler.plan.leaving import stays_until, why_it_goes
from reconciler.plan.revocations import place_of
from reconciler.plan.rulings import in_force
from reconciler.plan.tags import TOLD

FOUND: frozenset[AnnouncedEvent] = frozenset({"candidate", "stable", "held"})
"""What sends consumers to a build, so that they have to find it first."""
STEPS: frozenset[AnnouncedEvent] = frozenset({"deprecated", "disabled"})
"""The steps of a build on its way out."""

NewsPlace = tuple[str, str, AnnouncedEvent]
"""An image's name, a build's id, and what became of it."""
Told = Mapping[str, frozenset[str]]
"""What each announcer was told of a build, as its tags remember it, by the announcer's name."""


@dataclass(frozen=True)
class News:
    """One build's event, with what its artifacts' tags say each announcer was told of the build already."""

    image: str
    build: Build
    event: AnnouncedEvent
    left: Leaving | None
    """How far the build has gone, where it goes away."""
    previous: str | None
    told: Told
    recent: bool

    @property
    def place(self) -> NewsPlace:
        """What tells it from other news. Two images of the same content may have builds of the same id."""
        return self.image, self.build.id, self.event

    @property
    def said(self) -> str:
        """How a tag remembers it: `candidate`, or `stable@2026-11-29T10:15:30Z` of what may happen again."""
        turn = turn_of(self.event, self.build, self.left)
        return f"{self.event}@{turn}" if turn is not None else self.event

    def is_due(self, announcer: str) -> bool:
        """Whether an announcer has yet to hear it. Who was told of the build before hears the rest, however late."""
        before = self.told.get(announcer, frozenset())
        return self.said not in before and (self.recent or bool(before))

    def was_told(self, announcer: str) -> bool:
        """Whether an announcer has heard it."""
        return self.said in self.told.get(announcer, frozenset())

    def remembered(self, before: Iterable[str]) -> set[str]:
        """What a tag remembers once it was told: of each event the last turn alone, so that all of them fit."""
        return {*(said for said in before if said.partition("@")[0] != self.event), self.said}


def states(lock: Lockfile) -> Iterator[tuple[AnnouncedEvent, Build, Leaving | None]]:
    """What is so of each build, in the order in which it is told; of one that goes away, how far it has gone.

    What consumers are to leave, or what held them there, comes before where they are to go.
    """
    for build, left in ((one, lock.left(one.id)) for one in lock.recorded):
        so: dict[AnnouncedEvent, bool] = {
            "rejected": build.phase == "rejected" and left is None,
            "revoked": build.phase == "revoked" and left is None,
            "unrevoked": build.unrevoked is not None, "released": build.released is not None,
        }  # fmt: skip
        yield from ((event, build, left) for event, is_so in so.items() if is_so)
    for build in lock.builds:
        is_stable = build.id == lock.channels.stable
        so = {
            "candidate": build.id == lock.channels.candidate, "stable": is_stable, "held": build.is_held and is_stable,
        }  # fmt: skip
        yield from ((event, build, None) for event, is_so in so.items() if is_so)
    for left in lock.leaving:
        yield "deprecated" if left.disabled is None else "disabled", left.build, left


def dropped(before: Lockfile, after: Lockfile, *, at: Instant) -> Iterator[tuple[AnnouncedEvent, Build, None]]:
    """What ended of builds in the run that took them out of the lockfile as well, as newer ones came to it.

    A hold, or a revocation, keeps its build there; so it ended before, and `at` is when this run recorded that.
    """
    there = {build.id for build in after.recorded}
    for build in before.builds:
        if build.id in there:
            continue
        if build.is_held:
            yield "released", build.model_copy(update={"released": at}), None
        if build.revoked is not None:
            yield "unrevoked", build.model_copy(update={"revoked": None, "unrevoked": at}), None


def previous(lock: Lockfile, build: Build) -> str | None:
    """The id of the newest build that stands, of those made before one; None without one.

    By when they were made, whatever brought them to where they are in the lockfile: the same for every event.
    """
    return max((one.id for one in lock.builds if one.stood and one.id < build.id), default=None)


def told_by(tags: Iterable[Mapping[str, str]]) -> Told:
    """The events that each announcer was told of, by the tags of a build's artifacts: one of them tells for all."""
    told: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for key, value in (pair for each in tags for pair in each.items() if pair[0].startswith(TOLD)):
        told[key.removeprefix(TOLD)] |= frozenset(filter(None, value.split(",")))
    return told


def heard(news: News, *, before: Lockfile) -> Told:
    """What each announcer can have been told: not what this run recorded first, whatever somebody wrote on it."""
    build, left = before.build(news.build.id), before.left(news.build.id)
    if build is None and left is not None and news.left is not None:
        build = left.build
    if build is None:
        return {}
    if _was(news, build, left):
        return news.told
    return {name: said - {news.said} for name, said in news.told.items()}


def _was(news: News, before: Build, left: Leaving | None) -> bool:
    """Whether a build was recorded before this run as what is news of it."""
    was = before.revoked
    if turn_of(news.event, news.build, news.left) != turn_of(news.event, before, left):
        return False
    if news.event == "stable":
        return before.stood or (was is not None and (was.was_stable or was.phase == "stable"))
    return news.event != "rejected" or "rejected" in (before.phase, was.phase if was is not None else None)


# What is told beside the build itself, by what is declared now.


def circumstances(news: News, image: Image, *, now: datetime) -> Circumstances:
    """Why it is so, and what comes next. `image` is as declared, also with a hold whose day has come."""
    if news.event in STEPS and news.left is not None:
        return Circumstances(
            left=news.left, reason=why_it_goes(news.build, image.declaration.retain), next=_next(news.left, image)
        )
    if news.event == "released":
        return Circumstances(reason=_why_released(image, news.build, now=now))
    hold = in_force(image, now=now).declaration.hold
    if news.event != "held" or hold is None or hold.build != news.build.id:
        return Circumstances()  # also where the line has changed since, and state/ does not say so yet
    announced = HoldAnnounced(until=hold.until, declared=str(place_of(image, "hold")))
    return Circumstances(reason=hold.reason, hold=announced)


def _next(left: Leaving, image: Image) -> StepAnnounced:
    retain = image.declaration.retain
    undo = format_instant(min(stays_until(left, retain), LAST))
    if left.disabled is not None or not image.kind.tended:
        return StepAnnounced(step="retire", due=undo, undo=undo)
    due = parse_instant(left.deprecated) + timedelta(seconds=retain.deprecated)
    return StepAnnounced(step="disable", due=format_instant(min(due, LAST)), undo=undo)


def _why_released(image: Image, build: Build, *, now: datetime) -> str | None:
    """Why `stable` is held to a build no more; None where it is to be held to it again by now."""
    hold, place = image.declaration.hold, place_of(image, "hold")
    if build.revoked is not None:
        return f"it is revoked: {build.revoked.why}"
    if hold is None:
        return f"its line was taken away from {place}"
    if hold.build != build.id:
        return f"stable is held to {hold.build} in its place ({place})"
    return f"its day has come, {hold.until} ({place})" if in_force(image, now=now) is not image else None
