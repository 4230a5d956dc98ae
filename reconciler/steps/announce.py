"""Announce: the world is told of every build that became a candidate, stable, rejected or revoked, at least once.

What was told stands in a tag on the build's artifacts, one for each announcer: no memory is kept elsewhere, and a run
that was killed between recording and telling is made up for by the next. What did not get through stands in the
lockfile too, where `status` and auditors see it. An attempt that failed may have left nothing to tag: who was told of
it stands with its record, as does who was told of a group's refresh that failed, and the same failure is told once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconciler.announce.assembly import Untold, tell
from reconciler.model import events
from reconciler.model.announcement import (
    AnnouncedEvent,
    Announcement,
    RecordedImage,
    announcement,
    failure_announcement,
    rollout_announcement,
    turn_of,
)
from reconciler.model.errors import ReconcilerError
from reconciler.model.lockfile import Build, Failure, Lockfile, Undelivered
from reconciler.model.publish import Published
from reconciler.model.values import parse_instant
from reconciler.plan.planning import lock_of
from reconciler.plan.tags import TOLD, told_tags
from reconciler.ports.announcer import Announcer
from reconciler.state.lockfiles import path_of
from reconciler.steps.record_rulings import record_told, record_undelivered
from reconciler.steps.run import Report, Run

WINDOW = timedelta(days=7)
"""Older news is not told: whoever adds an announcer to a grown fleet is not flooded."""


_Place = tuple[str, str, AnnouncedEvent]


@dataclass(frozen=True)
class _News:
    """One build's event, with what its artifacts' tags say each announcer was told of the build already."""

    image: str
    build: Build
    event: AnnouncedEvent
    previous: str | None
    told: Mapping[str, frozenset[str]]
    recent: bool

    @property
    def place(self) -> _Place:
        """What tells it from other news. Two images of the same content may have builds of the same id."""
        return self.image, self.build.id, self.event

    @property
    def said(self) -> str:
        """How a tag remembers it: `candidate`, or `stable@2026-11-29T10:15:30Z` of what came back to a build."""
        turn = turn_of(self.event, self.build)
        return f"{self.event}@{turn}" if turn is not None else self.event

    def is_due(self, announcer: str) -> bool:
        """Whether an announcer has yet to hear it. Who was told of the build before hears the rest, however late."""
        before = self.told.get(announcer, frozenset())
        return self.said not in before and (self.recent or bool(before))

    def was_told(self, announcer: str) -> bool:
        """Whether an announcer has heard it."""
        return self.said in self.told.get(announcer, frozenset())


def announce(
    run: Run, report: Report, announcers: Sequence[Announcer], *, branch: str, waits: Collection[str] = ()
) -> None:
    """Tell everybody what is recorded and was not told yet. Never undoes or blocks what is recorded.

    Of the images that `waits` names nobody is told that a build is candidate or stable: consumers don't find it yet.
    """
    if run.cancelled.is_set():
        return
    locks = _locks(run, report)
    news = _news(run, report, locks) if announcers else []
    news = [one for one in news if one.event not in ("candidate", "stable") or one.image not in waits]
    failed = _failed(run, locks, branch=branch)
    untold: list[Untold] = []
    for announcer in announcers:
        due = [one for one in news if one.is_due(announcer.name)]
        worded = [_worded(run, one, branch=branch) for one in due]
        untold_before = [one for one in failed if announcer.name not in one.told]
        missing = tell([announcer], [*worded, *(one.what for one in untold_before)])
        untold.extend(missing)
        missed = {one.what.id for one in missing}
        heard = [one for one, what in zip(due, worded, strict=True) if what.id not in missed]
        _remember(run, announcer.name, heard)
        for one in untold_before:
            if one.what.id not in missed:
                one.heard.append(announcer.name)
    names = frozenset(announcer.name for announcer in announcers)
    _record(run, locks, untold, known={one.place: one for one in news}, announcers=names, failed=failed)


@dataclass(frozen=True)
class _Failed:
    """An attempt, or a group's refresh, that failed of late: what is told of it, who heard it before, and who now."""

    of: Failure | Published
    what: Announcement
    told: tuple[str, ...]
    heard: list[str] = field(default_factory=list)


def _failed(run: Run, locks: Mapping[str, Lockfile], *, branch: str) -> list[_Failed]:
    """All of them, in order of image: what failed long ago, and fails still, is no news."""
    found: list[_Failed] = []
    for name, lock in sorted(locks.items()):
        failure = lock.failure
        if failure is not None and run.known.now - parse_instant(failure.at) <= WINDOW:
            found.append(_Failed(failure, _worded_failure(run, name, lock, failure, branch=branch), failure.told))
        for at in lock.published:
            build = lock.build(at.build)
            if at.course != "failed" or build is None:
                continue
            if at.since is None or run.known.now - parse_instant(at.since) <= WINDOW:
                found.append(_Failed(at, _worded_refresh(run, name, lock, at, build, branch=branch), at.told))
    return found


def _worded_refresh(
    run: Run, image: str, lock: Lockfile, at: Published, build: Build, *, branch: str
) -> Announcement:  # fmt: skip
    return rollout_announcement(
        at, build, of=_recorded_image(run, image, branch=branch), previous=_previous(lock, build)
    )


def _worded_failure(run: Run, image: str, lock: Lockfile, failure: Failure, *, branch: str) -> Announcement:
    return failure_announcement(
        failure, of=_recorded_image(run, image, branch=branch), head=run.known.head, stable=lock.channels.stable,
        ci=run.request.ci,
    )  # fmt: skip


def _locks(run: Run, report: Report) -> dict[str, Lockfile]:
    """What is recorded on the branch now. What is only proposed becomes news when it is merged."""
    locks = _recorded_before(run)
    if run.known.fleet.settings.git.push == "pull-request":
        return locks
    return locks | {result.image: result.lock for result in report.results if result.image in locks}


def _recorded_before(run: Run) -> dict[str, Lockfile]:
    return {name: lock_of(run.known, image)[0] for name, image in run.known.fleet.images.items()}


def _news(run: Run, report: Report, locks: Mapping[str, Lockfile]) -> list[_News]:
    """The events in the lockfiles whose delivery state is known."""
    made = {
        (result.image, result.build.id)
        for result in report.results
        if result.status in ("built", "adopted") and result.build is not None
    }
    before = _recorded_before(run)
    tags = {(seen.location, seen.id): seen.tags for seen in run.known.observation.artifacts}
    found: list[_News] = []
    for name, lock in sorted(locks.items()):
        for event, build in _states(lock):
            seen = [tags[place] for one in build.artifacts if (place := (one.location, one.id)) in tags]
            if not seen and (name, build.id) not in made:
                continue  # in a location that was not read, or recorded by another run just now: unknown is not untold
            since = turn_of(event, build) or build.recorded
            recent = since is not None and run.now() - parse_instant(since) <= WINDOW
            news = _News(name, build, event, _previous(lock, build), _told(seen), recent)
            found.append(replace(news, told=_heard(news, before=before[name].build(build.id))))
    return found


def _heard(news: _News, *, before: Build | None) -> Mapping[str, frozenset[str]]:
    """What each announcer can have been told: not what this run recorded first, whatever somebody wrote on it."""
    if before is None:
        return {}
    if _was(news, before):
        return news.told
    return {name: said - {news.said} for name, said in news.told.items()}


def _was(news: _News, before: Build) -> bool:
    """Whether a build was recorded before this run as what is news of it."""
    was = before.revoked
    if turn_of(news.event, news.build) != turn_of(news.event, before):
        return False
    if news.event == "stable":
        return before.stood or (was is not None and (was.was_stable or was.phase == "stable"))
    return news.event != "rejected" or "rejected" in (before.phase, was.phase if was is not None else None)


def _worded(run: Run, one: _News, *, branch: str) -> Announcement:
    of = _recorded_image(run, one.image, branch=branch)
    return announcement(one.event, one.build, of=of, previous=one.previous)


def _recorded_image(run: Run, image: str, *, branch: str) -> RecordedImage:
    return RecordedImage(
        fleet=run.known.fleet_name, name=image, branch=branch,
        repository=run.repository.name(run.known.fleet.settings.git.remote),
        lockfile=run.repository.git.inside(path_of(image)),
    )  # fmt: skip


def _states(lock: Lockfile) -> Iterator[tuple[AnnouncedEvent, Build]]:
    for build in lock.builds:
        if build.id == lock.channels.candidate:
            yield "candidate", build
        if build.id == lock.channels.stable:
            yield "stable", build
        if build.phase == "rejected":
            yield "rejected", build
        if build.phase == "revoked":
            yield "revoked", build


def _previous(lock: Lockfile, build: Build) -> str | None:
    older = lock.builds[lock.builds.index(build) + 1 :]
    return next((one.id for one in older if one.stood), None)


def _told(tags: Iterable[Mapping[str, str]]) -> Mapping[str, frozenset[str]]:
    """The events that each announcer was told of, by the tags of a build's artifacts: one of them tells for all."""
    told: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for key, value in (pair for each in tags for pair in each.items() if pair[0].startswith(TOLD)):
        told[key.removeprefix(TOLD)] |= frozenset(filter(None, value.split(",")))
    return told


def _remember(run: Run, announcer: str, news: Sequence[_News]) -> None:
    told: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    builds: dict[tuple[str, str], Build] = {}
    for one in news:
        place = (one.image, one.build.id)
        builds[place] = one.build
        before = told[place] or one.told.get(announcer, frozenset())
        told[place] = {*(said for said in before if said.partition("@")[0] != one.event), one.said}
    for place, what in told.items():
        tag = told_tags(announcer, what)
        for artifact in builds[place].artifacts:
            try:
                run.registry.tag(artifact.model_copy(update={"parts": ()}), tag)
            except ReconcilerError as error:
                # Told and not remembered: the receiver may hear it once more, and knows it by its id.
                said = f"{announcer} was told, and may be again: {error.what}"
                run.listener(events.Warned(image=place[0], what=said))


def _record(
    run: Run,
    locks: Mapping[str, Lockfile],
    untold: Sequence[Untold],
    *,
    known: Mapping[_Place, _News],
    announcers: frozenset[str],
    failed: Iterable[_Failed],
) -> None:
    now: defaultdict[str, list[Undelivered]] = defaultdict(list)
    for one in untold:
        what = one.what
        now[what.image].append(
            Undelivered(event=what.event, build=what.build, to=one.announcer, why=one.error.what.splitlines()[0])
        )
        run.listener(events.Warned(image=what.image, what=f"{one.announcer} was not told: {one.error.what}"))
    for name, lock in locks.items():
        still = [one for one in lock.undelivered if one.to in announcers and _is_open(name, lock, one, known)]
        undelivered = _merged(lock, now[name], still)
        image = run.known.fleet.images[name]
        try:
            if undelivered != lock.undelivered:
                record_undelivered(run, image, undelivered)
            heard = [_with_heard(one) for one in failed if one.heard and one.what.image == name]
            if heard:
                failure = next((one for one in heard if isinstance(one, Failure)), None)
                refreshes = [one for one in heard if isinstance(one, Published)]
                record_told(run, image, failure=failure, refreshes=refreshes)
        except ReconcilerError as error:
            run.listener(events.Warned(image=name, what=f"who was told, and who not, is not recorded: {error.what}"))


def _with_heard(one: _Failed) -> Failure | Published:
    return one.of.model_copy(update={"told": tuple(sorted({*one.told, *one.heard}))})


def _is_open(image: str, lock: Lockfile, one: Undelivered, known: Mapping[_Place, _News]) -> bool:
    """Whether what was not delivered before, and was not tried in this run, is not delivered still."""
    if one.event == "failed":
        return False  # it is tried by every run for as long as it is news
    if (one.build, one.event) not in {(build.id, event) for event, build in _states(lock)}:
        return False  # nobody waits to hear that a build is what it is not any more
    news = known.get((image, one.build, one.event))
    return news is None or not (news.is_due(one.to) or news.was_told(one.to))


def _merged(lock: Lockfile, failed: Sequence[Undelivered], still: Sequence[Undelivered]) -> tuple[Undelivered, ...]:
    """What is undelivered by now, sorted. The first reason stays: one that reads differently is nothing to commit."""
    before = {(one.build, one.event, one.to): one for one in lock.undelivered}
    now = {(one.build, one.event, one.to): one for one in (*still, *failed)}
    return tuple(before.get(key, now[key]) for key in sorted(now))
