"""What image.yaml rules of builds that are there: the one that `stable` is held to, and those nobody may use.

A hold binds the channel, not the build: builds, tests and verdicts go on. What is revoked, `plan/revocations` tells.
Both end when their lines are taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.model.errors import UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, Reason
from reconciler.model.plan import Cause, Decision, Ruling, Situation
from reconciler.model.text import first_few
from reconciler.model.values import format_instant
from reconciler.plan.channels import moves, with_action
from reconciler.plan.graph import REPLACING
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.revocations import BuildOf, Past, place_of, usable
from reconciler.plan.transitions import as_ruled, first_phase

_MOST_NAMED = 4


def in_force(image: Image, *, now: datetime) -> Image:
    """The image without a hold whose day has come."""
    hold = image.declaration.hold
    if hold is None or hold.until is None or now.date() < hold.until:
        return image
    return replace(image, declaration=image.declaration.model_copy(update={"hold": None}))


def refused(situation: Situation) -> UserError | None:
    """Why `stable` can't be held to the build that is asked for: it is not there as a whole, or nobody may use it.

    Where `stable` points to it already, nothing is refused: what became of it since is told, and it stays.
    """
    hold, lock = situation.image.declaration.hold, situation.lock
    if hold is None:
        return None
    wrong = wrong_hold(situation.image, lock, situation.causes)
    build = _recorded(lock, hold.build)
    if wrong is not None or build is None:
        return wrong
    lacks = [] if lock.channels.stable == hold.build else list(_lacking(situation, build))
    if lacks:
        return UserError(
            f"stable can't be held to {hold.build}: {'; '.join(lacks)}", where=place_of(situation.image, "hold"),
            hint="hold it to a build that is there in every location, or declare only those where it is",
        )  # fmt: skip
    return None


def _recorded(lock: Lockfile, build_id: str) -> Build | None:
    gone = lock.left(build_id)
    return gone.build if gone is not None else lock.build(build_id)


def wrong_hold(image: Image, lock: Lockfile, causes: Mapping[str, Cause]) -> UserError | None:
    """Why `stable` can't be held to the build that is asked for, by what is recorded and revoked alone; else None."""
    hold = image.declaration.hold
    if hold is None:
        return None
    place = place_of(image, "hold")
    if hold.build in causes:
        why = causes[hold.build]
        by = f", as it was built on {why.by}" if why.by is not None else ""
        return UserError(
            f"stable can't be held to {hold.build}: it is revoked{by}: {why.reason}", where=place,
            hint="hold it to another build, or take the revocation away",
        )  # fmt: skip
    build = _recorded(lock, hold.build)
    if build is None:
        recorded = first_few([one.id for one in lock.recorded if one.phase not in NEVER_AGAIN], most=_MOST_NAMED)
        return UserError(
            f"stable can't be held to {hold.build}: no such build is recorded", where=place,
            hint=f"recorded are {recorded}" if recorded else "nothing is recorded of this image yet",
        )  # fmt: skip
    if build.phase in NEVER_AGAIN and build.revoked is None:
        return UserError(
            f"stable can't be held to {hold.build}: it was {build.phase}", where=place,
            hint="hold it to a build that passed",
        )  # fmt: skip
    return None


def _lacking(situation: Situation, build: Build) -> Iterator[str]:
    """Where a build is not to be had, and is known not to be."""
    shown = {(one.location, one.id): one for one in situation.seen}
    looks = not situation.options.offline and situation.image.kind.observed
    for location in situation.image.locations:
        recorded = build.artifact_in(location)
        seen = shown.get((location, recorded.id)) if recorded is not None else None
        if recorded is None:
            yield f"it is not in {location}"
        elif seen is not None and seen.state == "disabled" and recorded.cared_for.withheld is not None:
            continue  # as its build was revoked: it comes back with it
        elif looks and location not in situation.unreadable and (seen is None or seen.state != "available"):
            yield f"{recorded.id} in {location} is {seen.state if seen is not None else 'gone'}"


def ruling_of(situation: Situation, lock: Lockfile, *, binds: bool = True) -> tuple[Ruling | None, Lockfile]:
    """What is to be recorded of holds and revocations, and the lockfile with it; None where all of it is.

    `binds` says whether `stable` goes to the build that it is held to. Else a hold leaves it where it is, as its end
    does: only what is revoked, and what is no more, is recorded.
    """
    locations = situation.image.locations if situation.image.declaration.hold is not None else ()
    reachable = binds and situation.unreadable.keys().isdisjoint(locations)
    at = format_instant(situation.now)
    after = as_ruled(lock, situation.image, situation.causes, at=at, reachable=reachable)
    if after is lock or not (binds or _revoked_ids(after) != _revoked_ids(lock)):
        return None, lock
    revoked = bool(_revoked_ids(after) - _revoked_ids(lock))
    changes = _changes(lock, after, situation.causes)
    reasons = (*changes, *_moved(situation, lock, after), *_bound(situation, lock, after))
    moved = after.channels.stable not in (lock.channels.stable, None) and not revoked
    return Ruling(situation.causes, reachable, reasons, moved), after


def with_ruling(decision: Decision, ruling: Ruling | None) -> Decision:
    """The decision, which was made by the lockfile as the ruling leaves it, with its recording before all else."""
    if ruling is None:
        return decision
    acting = with_action(decision, "promote" if ruling.moves_stable else "record", *ruling.reasons)
    return replace(acting, ruling=ruling)


def _changes(before: Lockfile, after: Lockfile, causes: Mapping[str, Cause]) -> Iterator[Reason]:
    known = {one.id: one for one in before.recorded}
    for build in after.builds:
        was = known.get(build.id)
        if was is None or (was.phase == "revoked") == (build.phase == "revoked"):
            continue
        if build.revoked is not None:
            by = f", for {build.revoked.by}" if build.revoked.by is not None else ""
            cause = causes.get(build.id)
            by += f", as what {cause.twin} is" if cause is not None and cause.twin is not None else ""
            yield Reason(code="revoked", was=f"{build.id} {was.phase}", now=f"revoked{by}: {build.revoked.reason}")
        else:
            yield Reason(code="revoked", was=f"{build.id} revoked", now=build.phase)


def _moved(situation: Situation, before: Lockfile, after: Lockfile) -> Iterator[Reason]:
    hold = situation.image.declaration.hold
    for reason in moves(before, after):
        bound = hold is not None and reason.now == f"stable {hold.build}"
        said = f"{reason.now}, held by {place_of(situation.image, 'hold')}" if bound else reason.now
        yield reason.model_copy(update={"now": said})


def _bound(situation: Situation, before: Lockfile, after: Lockfile) -> Iterator[Reason]:
    """That a hold binds `stable` where it is, or no more: a commit records since when, and nothing moves."""
    if before.channels.stable != after.channels.stable:
        return
    stable, was = f"stable {after.channels.stable or 'none'}", {one.id: one.is_held for one in before.recorded}
    for build in after.builds:
        if build.is_held and not was.get(build.id, False):
            yield Reason(code="channel-moved", was=stable, now=f"{stable}, held by {place_of(situation.image, 'hold')}")
        elif was.get(build.id, False) and not build.is_held:
            yield Reason(code="channel-moved", was=f"{stable}, held", now=stable)


def _revoked_ids(lock: Lockfile) -> frozenset[str]:
    return frozenset(one.id for one in lock.builds if one.phase == "revoked")


def with_told(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what a hold keeps from happening, and what became of the build that it binds `stable` to."""
    notes = tuple(_told(situation, decision))
    planned = decision.planned
    told = planned.model_copy(update={"notes": (*planned.notes, *notes)})
    return replace(decision, planned=told) if notes else decision


def _told(situation: Situation, decision: Decision) -> Iterator[str]:
    image, hold = situation.image, situation.image.declaration.hold
    lock = decision.settled or situation.lock
    if hold is None:
        return
    by = f"held by {place_of(image, 'hold')}: {hold.reason}"
    released = replace(image, declaration=image.declaration.model_copy(update={"hold": None}))
    would = as_ruled(lock, released, situation.causes, at=format_instant(situation.now)).channels.stable
    if not REPLACING.isdisjoint(decision.planned.actions) and first_phase(released) == "stable":
        yield f"would promote what comes of this, {by}"
    elif would != lock.channels.stable:
        yield f"would promote {would}, {by}"
    build = lock.build(hold.build)
    if build is not None and lock.channels.stable == hold.build:
        yield from (f"stable is held to {hold.build}, and {lack}" for lack in _lacking(situation, build))
    elif not situation.unreadable.keys().isdisjoint(image.locations):
        unread = ", ".join(sorted(set(image.locations) & situation.unreadable.keys()))
        yield f"stable is held to {hold.build} once {unread} can be read"


def unknown_builds(
    situation: Situation, locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Past]
) -> Iterator[str]:  # fmt: skip
    """What to know of revocations of builds that no lockfile names, and of which nothing is there to be used."""
    image, named = situation.image, {one.id for one in situation.lock.recorded}
    pins = (
        *(one.source for other in locks.values() for one in other.recorded),
        *(one.source for one in forgotten.values()),
    )
    built_on = {one.build for one in pins if one is not None and one.image in image.names}
    twins = {one.twin for one in situation.causes.values()}
    for one in image.declaration.revoke:
        if one.build in named | built_on | twins:
            continue
        if not any(usable(seen) and seen.own("build") == one.build for seen in situation.seen):
            yield f"{one.build} is revoked, and no lockfile names it ({place_of(image, one.build)})"
