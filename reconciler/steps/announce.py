"""Announce: the world is told what becomes of each build, from candidate to disabled, at least once.

What was told stands in a tag on the build's artifacts, one for each announcer: no memory is kept elsewhere, and a run
that was killed between recording and telling is made up for by the next. What did not get through stands in the
lockfile too, where `status` and auditors see it. An attempt that failed may have left nothing to tag: who was told of
it stands with its record, as does who was told of a group's refresh that failed, and the same failure is told once. Of
a build that was removed no tag is left: what is to be told of it stands in the lockfile until everybody was told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from reconciler.announce.assembly import Untold, tell
from reconciler.model import events
from reconciler.model.announcement import (
    Announcement,
    Circumstances,
    RecordedImage,
    announcement,
    failure_announcement,
    rollout_announcement,
    turn_of,
)
from reconciler.model.collection import Took
from reconciler.model.errors import ReconcilerError
from reconciler.model.lockfile import Build, Failure, Gone, Lockfile, Undelivered
from reconciler.model.publish import Published
from reconciler.model.values import format_instant, parse_instant
from reconciler.plan.leaving import why_it_goes
from reconciler.plan.news import FOUND, STEPS, News, NewsPlace, circumstances, dropped, heard, previous, states, told_by
from reconciler.plan.planning import lock_of
from reconciler.plan.tags import told_tags
from reconciler.ports.announcer import Announcer
from reconciler.state.lockfiles import path_of, read_lockfiles
from reconciler.steps.observe import find_target
from reconciler.steps.record_rulings import record_told, record_undelivered
from reconciler.steps.run import Report, Run

WINDOW = timedelta(days=7)
"""Older news is not told: whoever adds an announcer to a grown fleet is not flooded."""


def announce(
    run: Run, report: Report, announcers: Sequence[Announcer], *, branch: str, waits: Collection[str] = ()
) -> None:
    """Tell everybody what is recorded and was not told yet. Never undoes or blocks what is recorded.

    Of the images that `waits` names nobody is told that a build is candidate, stable or held: consumers don't find it
    yet.
    """
    if run.cancelled.is_set():
        return
    locks = _locks(run, report)
    made = {
        (result.image, result.build.id)
        for result in report.results
        if result.status in ("built", "adopted") and result.build is not None
    }
    news = _news(run, locks, made=made) if announcers else []
    news = [one for one in news if one.event not in FOUND or one.image not in waits]
    untagged = [*_failed(run, locks, branch=branch), *_removed(run, locks, branch=branch)]
    _tell(run, locks, news, announcers, failed=untagged, branch=branch)


def announce_steps(run: Run, took: Sequence[Took], announcers: Sequence[Announcer], *, branch: str) -> None:
    """Tell everybody of the steps that this run took of builds that go away, and of nothing else.

    What is only proposed becomes news when it is merged.
    """
    if run.cancelled.is_set() or run.proposes or not announcers or not took:
        return
    images = {one.image for one in took} & _recorded_before(run).keys()
    recorded, _ = read_lockfiles(run.repository.tree(find_target(run.repository).head))
    locks = {name: lock for name, lock in recorded.items() if name in images}
    news = [one for one in _news(run, locks) if one.event in STEPS]
    _tell(run, locks, news, announcers, failed=_removed(run, locks, branch=branch), branch=branch)


def _tell(
    run: Run,
    locks: Mapping[str, Lockfile],
    news: Sequence[News],
    announcers: Sequence[Announcer],
    *,
    failed: Sequence[_Failed],
    branch: str,
) -> None:
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
    """Something of late that leaves no artifact to tag: what is told of it, who heard it before, and who now.

    An attempt, or a group's refresh, that failed; or a build that was removed.
    """

    of: Failure | Published | Gone
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


def _removed(run: Run, locks: Mapping[str, Lockfile], *, branch: str) -> list[_Failed]:
    """The builds that were removed of late, in order of image; not one that was brought back since."""
    found: list[_Failed] = []
    for name, lock in sorted(locks.items()):
        image = run.known.fleet.images[name]
        for one in lock.gone:
            if _is_over(run, lock, one):
                continue
            what = announcement(
                "removed", one.build, of=_recorded_image(run, name, branch=branch), previous=previous(lock, one.build),
                about=Circumstances(left=one, reason=why_it_goes(one.build, image.declaration.retain)),
            )  # fmt: skip
            found.append(_Failed(one, what, one.told))
    return found


def _is_over(run: Run, lock: Lockfile, gone: Gone) -> bool:
    """Whether that a build was removed is no news any more: it is a week old, or the build was brought back."""
    is_back = any(build.id == gone.build.id for build in lock.recorded)
    return is_back or run.known.now - parse_instant(gone.removed) > WINDOW


def _worded_refresh(
    run: Run, image: str, lock: Lockfile, at: Published, build: Build, *, branch: str
) -> Announcement:  # fmt: skip
    return rollout_announcement(
        at, build, of=_recorded_image(run, image, branch=branch), previous=previous(lock, build)
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


def _news(run: Run, locks: Mapping[str, Lockfile], *, made: Collection[tuple[str, str]] = ()) -> list[News]:
    """The events in the lockfiles whose delivery state is known: also those of builds that this run `made`."""
    before = _recorded_before(run)
    tags = {(seen.location, seen.id): seen.tags for seen in run.known.observation.artifacts}
    found: list[News] = []
    for name, lock in sorted(locks.items()):
        ended = dropped(before[name], lock, at=format_instant(run.known.now)) if lock.builds else ()
        for event, build, left in (*ended, *states(lock)):
            seen = [tags[place] for one in build.artifacts if (place := (one.location, one.id)) in tags]
            if not seen and (name, build.id) not in made:
                continue  # in a location that was not read, or recorded by another run just now: unknown is not untold
            since = turn_of(event, build, left) or build.recorded
            recent = since is not None and run.now() - parse_instant(since) <= WINDOW
            news = News(name, build, event, left, previous(lock, build), told_by(seen), recent)
            found.append(replace(news, told=heard(news, before=before[name])))
    return found


def _worded(run: Run, one: News, *, branch: str) -> Announcement:
    of = _recorded_image(run, one.image, branch=branch)
    about = circumstances(one, run.known.fleet.images[one.image], now=run.known.day_of(one.image))
    return announcement(one.event, one.build, of=of, previous=one.previous, about=about)


def _recorded_image(run: Run, image: str, *, branch: str) -> RecordedImage:
    return RecordedImage(
        fleet=run.known.fleet_name, name=image, branch=branch,
        repository=run.repository.name(run.known.fleet.settings.git.remote),
        lockfile=run.repository.git.inside(path_of(image)),
    )  # fmt: skip


def _remember(run: Run, announcer: str, news: Sequence[News]) -> None:
    told: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    builds: dict[tuple[str, str], Build] = {}
    for one in news:
        place = (one.image, one.build.id)
        builds[place] = one.build
        told[place] = one.remembered(told[place] or one.told.get(announcer, frozenset()))
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
    known: Mapping[NewsPlace, News],
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
            gone = [one for one in heard if isinstance(one, Gone)]
            told = {one.build.id: one.told for one in (*lock.gone, *gone)}
            over = {one.build.id for one in lock.gone if _is_over(run, lock, one)}
            over |= {build for build, names in told.items() if announcers and announcers <= set(names)}
            if heard or over:
                failure = next((one for one in heard if isinstance(one, Failure)), None)
                refreshes = [one for one in heard if isinstance(one, Published)]
                record_told(run, image, failure=failure, refreshes=refreshes, gone=gone, over=over)
        except ReconcilerError as error:
            run.listener(events.Warned(image=name, what=f"who was told, and who not, is not recorded: {error.what}"))


def _with_heard(one: _Failed) -> Failure | Published | Gone:
    return one.of.model_copy(update={"told": tuple(sorted({*one.told, *one.heard}))})


def _is_open(image: str, lock: Lockfile, one: Undelivered, known: Mapping[NewsPlace, News]) -> bool:
    """Whether what was not delivered before, and was not tried in this run, is not delivered still."""
    if one.event in ("failed", "removed"):
        return False  # it is tried by every run for as long as it is news
    if (one.build, one.event) not in {(build.id, event) for event, build, _ in states(lock)}:
        return False  # nobody waits to hear that a build is what it is not any more
    news = known.get((image, one.build, one.event))
    return news is None or not (news.is_due(one.to) or news.was_told(one.to))


def _merged(lock: Lockfile, failed: Sequence[Undelivered], still: Sequence[Undelivered]) -> tuple[Undelivered, ...]:
    """What is undelivered by now, sorted. The first reason stays: one that reads differently is nothing to commit."""
    before = {(one.build, one.event, one.to): one for one in lock.undelivered}
    now = {(one.build, one.event, one.to): one for one in (*still, *failed)}
    return tuple(before.get(key, now[key]) for key in sorted(now))
