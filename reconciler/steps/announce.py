"""Announce: the world is told of every build that became a candidate, stable or rejected, at least once.

What was told stands in a tag on the build's first artifact, one for each announcer: no memory is kept elsewhere, and a
run that was killed between recording and telling is made up for by the next. What did not get through stands in the
lockfile too, where `status` and auditors see it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from reconciler.announce.protocol import Announcer
from reconciler.announce.untold import Untold, tell
from reconciler.model import events
from reconciler.model.announcement import AnnouncedEvent, Announcement, announcement
from reconciler.model.errors import ReconcilerError
from reconciler.model.lockfile import Build, Lockfile, Undelivered
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.values import parse_instant
from reconciler.plan.planning import lock_of
from reconciler.state.lockfiles import path_of
from reconciler.steps.record import record_undelivered
from reconciler.steps.result import Report
from reconciler.steps.run import Run

WINDOW = timedelta(days=7)
"""Older news is not told: whoever adds an announcer to a grown fleet is not flooded."""


@dataclass(frozen=True)
class _News:
    """One build's event, with what its artifact's tags say each announcer was told already."""

    image: str
    build: Build
    what: Announcement
    told: Mapping[str, frozenset[str]]


def announce(run: Run, report: Report, announcers: Sequence[Announcer], *, branch: str) -> None:
    """Tell everybody what is recorded and was not told yet. Never undoes or blocks what is recorded."""
    if not announcers or run.cancelled.is_set():
        return
    locks = _locks(run, report)
    tags = {(seen.location, seen.id): seen.tags for seen in run.known.observation.artifacts}
    news = [one for name, lock in sorted(locks.items()) for one in _news_of(run, name, lock, branch=branch, tags=tags)]
    untold: list[Untold] = []
    for announcer in announcers:
        due = [one for one in news if one.what.event not in one.told.get(announcer.name, frozenset())]
        failed = tell([announcer], [one.what for one in due])
        untold.extend(failed)
        missed = {one.what.id for one in failed}
        _remember(run, announcer.name, [one for one in due if one.what.id not in missed])
    _record(run, locks, untold)


def _locks(run: Run, report: Report) -> dict[str, Lockfile]:
    """What is recorded on the branch now. What is only proposed becomes news when it is merged."""
    locks = {name: lock_of(run.known, image)[0] for name, image in run.known.fleet.images.items()}
    if run.known.fleet.settings.git.push == "pull-request":
        return locks
    return locks | {result.image: result.lock for result in report.results if result.image in locks}


def _news_of(
    run: Run, name: str, lock: Lockfile, *, branch: str, tags: Mapping[tuple[str, str], Mapping[str, str]]
) -> Iterator[_News]:
    for event, build in _states(lock):
        recent = build.recorded is not None and run.now() - parse_instant(build.recorded) <= WINDOW
        if not recent or not build.artifacts:
            continue
        what = announcement(
            event, build, fleet=run.known.fleet_name, image=name, branch=branch,
            repository=run.repository.fleet_name(), lockfile=path_of(name), previous=_previous(lock, build),
        )  # fmt: skip
        artifact = build.artifacts[0]
        # Of a build that this run made nothing is observed, and nothing was told.
        yield _News(name, build, what, _told(tags.get((artifact.location, artifact.id), {})))


def _states(lock: Lockfile) -> Iterator[tuple[AnnouncedEvent, Build]]:
    for build in lock.builds:
        if build.id == lock.channels.candidate:
            yield "candidate", build
        if build.id == lock.channels.stable:
            yield "stable", build
        if build.phase == "rejected":
            yield "rejected", build


def _previous(lock: Lockfile, build: Build) -> str | None:
    older = lock.builds[lock.builds.index(build) + 1 :]
    return next((one.id for one in older if one.phase == "stable"), None)


def _told(tags: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """The events that each announcer was told, by an artifact's tags."""
    prefix = f"{TAG_PREFIX}told-"
    return {
        key.removeprefix(prefix): frozenset(value.split(",")) for key, value in tags.items() if key.startswith(prefix)
    }


def _remember(run: Run, announcer: str, news: Sequence[_News]) -> None:
    told: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    builds: dict[tuple[str, str], Build] = {}
    for one in news:
        place = (one.image, one.build.id)
        builds[place] = one.build
        told[place] |= {one.what.event, *one.told.get(announcer, frozenset())}
    for place, what in told.items():
        artifact = builds[place].artifacts[0].model_copy(update={"snapshots": ()})
        try:
            run.registry.tag(artifact, {f"{TAG_PREFIX}told-{announcer}": ",".join(sorted(what))})
        except ReconcilerError as error:
            # Told and not remembered: the receiver hears it once more, and knows it by its id.
            run.listener(events.Warned(image=place[0], what=f"{announcer} was told, and will be again: {error.what}"))


def _record(run: Run, locks: Mapping[str, Lockfile], untold: Sequence[Untold]) -> None:
    now: defaultdict[str, list[Undelivered]] = defaultdict(list)
    for one in untold:
        what = one.what
        now[what.image].append(
            Undelivered(event=what.event, build=what.build, to=one.announcer, why=one.error.what.splitlines()[0])
        )
        run.listener(events.Warned(image=what.image, what=f"{one.announcer} was not told: {one.error.what}"))
    for name, lock in locks.items():
        undelivered = tuple(sorted(now[name], key=lambda one: (one.build, one.event, one.to)))
        if undelivered != lock.undelivered:
            try:
                record_undelivered(run, run.known.fleet.images[name], undelivered)
            except ReconcilerError as error:
                run.listener(events.Warned(image=name, what=f"that it was not told is not recorded: {error.what}"))
