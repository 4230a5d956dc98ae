"""How a lockfile changes: each function takes one and returns the next. Nothing else writes state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Literal, TypeVar

from reconciler.model.care import Care, Grants
from reconciler.model.fleet import Image
from reconciler.model.lockfile import (
    Artifact,
    Build,
    Channels,
    Failure,
    Leaving,
    Lockfile,
    Phase,
    Revoked,
    Verdict,
    Verified,
)
from reconciler.model.plan import Cause
from reconciler.model.source import Pin, PinnedSource, SourceRequest
from reconciler.model.values import Model
from reconciler.plan.key import NEVER_AGAIN

M = TypeVar("M", bound=Model)


def with_build(lock: Lockfile, build: Build, *, image: Image, requested: SourceRequest | None = None) -> Lockfile:
    """Record a finished build: newest first, its pin, the channels that it moves. A past failure is forgotten.

    `requested` is what the pin was resolved for, where the declaration asks for another source by now.
    Kept are the newest `retain.builds`, whatever a channel or a hold points to, what is revoked, and the build that
    `stable` would fall back to; older ones stay in git's history. Where a hold binds `stable`, it stays where it is.
    A build that was stable before, and is adopted anew, waits for no verdict that is asked for by now.
    Only the newest build lists its files: the older ones' are in git, and a thousand lockfiles stay quick to read.
    """
    known = {(one.location, one.id): one for before in lock.recorded for one in before.artifacts}
    build = _update(build, artifacts=tuple(_as_known(one, known) for one in build.artifacts))
    older = tuple(_update(one, files=None) for one in lock.builds if one.id != build.id)
    follows = (build.stood or first_phase(image, build.verdict) == "stable") and image.declaration.hold is None
    channels = Channels(candidate=build.id, stable=build.id if follows else lock.channels.stable)
    source = _pinned(build.source, requested or image.source)
    newest = (build, *older)
    kept = retained(newest, channels, image)
    builds = tuple(one for one in newest if one.id in kept)
    lock = _update(without_gone(lock, {build.id}), image=image.name, source=source, failure=None)
    return _pointing(lock, builds, channels)


Keeps = Literal["channel", "held", "newest", "revoked", "fallback"]
"""Why a build is kept: a channel points to it, or a hold; it is one of the newest; it is recorded as revoked; `stable`
would fall back to it."""


def retained(builds: Sequence[Build], channels: Channels, image: Image) -> Mapping[str, Keeps]:
    """Why builds are kept, by id; of all of them, newest first. The others may go away."""
    hold = image.declaration.hold
    fallback = next((one.id for one in builds if one.stood and one.id != channels.stable), None)
    kept: dict[str, Keeps] = {}
    for place, one in enumerate(builds):
        if one.id in (channels.candidate, channels.stable):
            kept[one.id] = "channel"
        elif hold is not None and one.id == hold.build:
            kept[one.id] = "held"
        elif place < image.declaration.retain.builds:
            kept[one.id] = "newest"
        elif one.revoked is not None:
            kept[one.id] = "revoked"
        elif one.id == fallback:
            kept[one.id] = "fallback"
    return kept


def without_gone(lock: Lockfile, gone: Collection[str]) -> Lockfile:
    """Record that builds have gone, by id: nothing of them is left."""
    return _update(lock, leaving=tuple(one for one in lock.leaving if one.build.id not in gone))


def _brought_back(lock: Lockfile, image: Image, causes: Mapping[str, Cause], *, reachable: bool) -> Lockfile:
    """The lockfile with what goes away and is ruled of among the builds that count: what is held, and what is revoked.

    What was done to it, `plan/care` undoes; what is revoked it disables, which else nobody would until its time came.
    """
    hold = image.declaration.hold
    held = hold.build if hold is not None and reachable else None
    wanted = [one.build for one in lock.leaving if one.build.id == held or one.build.id in causes]
    if not wanted:
        return lock
    builds = lock.builds
    for back in wanted:
        builds = _among(builds, back)
    return without_gone(_update(lock, builds=builds), {one.id for one in wanted})


def with_restored(lock: Lockfile, build: Build, *, gone: Collection[tuple[str, str]]) -> Lockfile:
    """Record that a build is back, with its artifacts: among the builds that count, in no channel.

    What the lockfile has of it stays, but for what is `gone` of one that goes away, which it does no more.
    """
    known, left = lock.build(build.id), lock.left(build.id)
    before = known.artifacts if known is not None else left.build.artifacts if left is not None else ()
    came = {(one.location, one.id): one for one in build.artifacts}
    recorded = {one.location: _as_came(one, came) for one in before if known or (one.location, one.id) not in gone}
    artifacts = {**{one.location: one for one in build.artifacts}, **recorded}.values()
    base = known or (left.build if left is not None else build)
    back = _update(base, artifacts=tuple(sorted(artifacts, key=lambda one: (one.location, one.id))))
    if known is not None:
        builds = tuple(back if one.id == build.id else one for one in lock.builds)
        return lock if builds == lock.builds else _update(lock, builds=builds)
    if back.phase not in NEVER_AGAIN:
        back = _update(back, phase="superseded", was_stable=back.stood)
    return without_gone(_update(lock, builds=_among(lock.builds, back)), {back.id})


def _as_came(artifact: Artifact, came: Mapping[tuple[str, str], Artifact]) -> Artifact:
    """A recorded artifact, with who could use it before it was disabled, where only what came back says that."""
    back = came.get((artifact.location, artifact.id))
    withheld = back.cared_for.withheld if back is not None else None
    if withheld is None or artifact.cared_for.withheld is not None:
        return artifact
    return _update(artifact, care=_update(artifact.cared_for, withheld=withheld))


def _among(builds: tuple[Build, ...], back: Build) -> tuple[Build, ...]:
    """The builds with one that comes back. The first stays where it is: it is what the image is compared with."""
    place = next((at for at, one in enumerate(builds) if at and one.id < back.id), len(builds))
    return (*builds[:place], back, *builds[place:])


def with_artifacts(
    lock: Lockfile, build_id: str, added: Iterable[Artifact], *, gone: Iterable[Artifact] = ()
) -> Lockfile:
    """Record where a build's artifacts are now. One per location: an added one takes the place of what was there."""
    known = {(one.location, one.id): one for build in lock.builds for one in build.artifacts}
    new = {one.location: _as_known(one, known) for one in added}
    dropped = {(artifact.location, artifact.id) for artifact in gone}  # conversions, too, by their ids

    def changed(build: Build) -> Build:
        if build.id != build_id:
            return build
        stay = [one for one in build.artifacts if one.location not in new and (one.location, one.id) not in dropped]
        arrived = (_as_its_like(one, build.artifacts) for one in new.values())
        artifacts = sorted([*stay, *arrived], key=lambda one: (one.location, one.id))
        return _update(build, artifacts=tuple(_without_conversions(one, dropped) for one in artifacts))

    return _update(lock, builds=tuple(changed(build) for build in lock.builds))


def _without_conversions(artifact: Artifact, dropped: Collection[tuple[str, str]]) -> Artifact:
    kept = tuple(one for one in artifact.conversions if (artifact.location, one.id) not in dropped)
    return artifact if kept == artifact.conversions else _update(artifact, conversions=kept)


def with_care(lock: Lockfile, care: Mapping[tuple[str, str], Care]) -> Lockfile:
    """Record what is done to artifacts beside making and marking them, by location and id."""

    def tended(build: Build) -> Build:
        if all((one.location, one.id) not in care for one in build.artifacts):
            return build
        artifacts = (_update(one, care=care.get((one.location, one.id), one.cared_for)) for one in build.artifacts)
        plain = (_update(one, care=None) if one.care == Care() else one for one in artifacts)
        return _update(build, artifacts=tuple(plain))

    return _update(lock, builds=tuple(map(tended, lock.builds)))


def _as_its_like(artifact: Artifact, others: Iterable[Artifact]) -> Artifact:
    """A copy of a build, with what was done to its likes: it is born with their grants and their deprecation."""
    done = [one.care for one in others if one.care is not None]
    shared = reduce(or_, (one.shared for one in done), Grants())
    deprecated = next((one.deprecated for one in done if one.deprecated is not None), None)
    if artifact.care is not None or not (shared or deprecated):
        return artifact
    return _update(artifact, care=Care(shared=shared, deprecated=deprecated))


def _as_known(artifact: Artifact, known: Mapping[tuple[str, str], Artifact]) -> Artifact:
    """An artifact that is recorded anew, with what is recorded already of what was done to it, and made of it."""
    before = known.get((artifact.location, artifact.id))
    if before is None:
        return artifact
    anew = {one.format for one in artifact.conversions}
    conversions = (*artifact.conversions, *(one for one in before.conversions if one.format not in anew))
    in_order = tuple(sorted(conversions, key=lambda one: one.format))
    return _update(artifact, care=artifact.care or before.care, conversions=in_order)


def as_declared(lock: Lockfile, image: Image) -> Lockfile:
    """Record what a declaration says without a build: its name, its source's wording, a verdict no longer needed."""
    built_on = lock.source.pinned if lock.source else lock.builds[0].source if lock.builds else None
    source = PinnedSource(requested=image.source, pinned=built_on) if image.source and built_on else None
    if promotes(lock, image):
        lock = _pointing(lock, lock.builds, _update(lock.channels, stable=lock.channels.candidate))
    return _update(lock, image=image.name, source=source)


def with_verdict(lock: Lockfile, build_id: str, verdict: Verdict, *, at: str, held: bool = False) -> Lockfile:
    """Record at a time what the validation repository said of a build. A pass of the candidate moves `stable` to it.

    Where a hold binds `stable` (`held`), the candidate is what `stable` goes on to once that ends. A failure marks the
    build rejected and takes every channel off it: back to the newest build that stands.
    """
    passed = verdict.status == "passed"
    cleared = passed and build_id == lock.channels.candidate

    def judged(build: Build) -> Build:
        if build.id != build_id:
            return build
        if passed:
            return _update(build, verdict=verdict, was_stable=True if cleared and held else build.was_stable)
        if build.revoked is not None:
            return _update(build, verdict=verdict, revoked=_update(build.revoked, phase="rejected", was_stable=False))
        return _update(build, verdict=verdict, phase="rejected", was_stable=False)

    builds = tuple(map(judged, lock.builds))
    if not passed:
        back = _without_channels(lock, builds, {build_id})
        return _update(back, builds=_came_back(back.builds, lock.channels, back.channels, at=at))
    stable = build_id if cleared and not held else lock.channels.stable
    return _pointing(lock, builds, _update(lock.channels, stable=stable))


def as_ruled(lock: Lockfile, image: Image, causes: Mapping[str, Cause], *, at: str, reachable: bool = True) -> Lockfile:
    """Record what image.yaml rules of builds that are there: which nobody may use, and which `stable` is held to.

    What it rules no more is undone: a build is again what it was before it was revoked, and `stable` goes on to the
    newest build that may be. The lockfile itself where there is nothing to change.

    Args:
        lock: What is recorded.
        image: As declared, with a hold only where it is in force.
        causes: Why a build is revoked, by its id.
        at: When it is recorded.
        reachable: Whether all of the build that `stable` is held to is known to be there. Else `stable` stays.
    """
    given, lock = lock, _brought_back(lock, image, causes, reachable=reachable)
    builds = tuple(_restored(one, at=at) if one.revoked and one.id not in causes else one for one in lock.builds)
    builds = tuple(_revoked(one, causes[one.id], at=at) if one.id in causes else one for one in builds)
    gone = {one.id for one in builds if one.id in causes}
    hold = image.declaration.hold
    ruled = _without_channels(lock, builds, gone, newest=hold.build if hold is not None else None)
    back = {one.id for one in lock.builds if one.revoked is not None and one.revoked.phase in ("candidate", "stable")}
    candidate = next((one.id for one in builds if one.id == ruled.channels.candidate or one.id in back - gone), None)
    channels = Channels(candidate=candidate, stable=_bound(ruled, image, reachable=reachable))
    builds = _came_back(builds, lock.channels, channels, at=at)
    builds = tuple(_as_held(one, image, stable=channels.stable, at=at) for one in builds)
    changed = _pointing(lock, builds, channels)
    return given if changed == given else changed


def _came_back(builds: tuple[Build, ...], before: Channels, after: Channels, *, at: str) -> tuple[Build, ...]:
    """The builds, with since when a channel is back at one that it did not point to before: that is told anew."""
    if after.stable != before.stable:
        builds = tuple(_update(one, returned=at) if one.id == after.stable else one for one in builds)
    if after.candidate != before.candidate:
        builds = tuple(_update(one, recalled=at) if one.id == after.candidate else one for one in builds)
    return builds


def _as_held(build: Build, image: Image, *, stable: str | None, at: str) -> Build:
    """A build with since when a hold binds `stable` to it, or does so no more: one that is revoked it can't bind."""
    hold = image.declaration.hold
    if hold is not None and hold.build == build.id == stable:
        return build if build.is_held else _update(build, held=at, released=None)
    return _update(build, released=at) if build.is_held else build


def _bound(lock: Lockfile, image: Image, *, reachable: bool) -> str | None:
    """The build that `stable` is to point to: the one that it is held to, else the newest that may be."""
    hold = image.declaration.hold
    if hold is None:
        return _newest_that_stands(lock.builds) or lock.channels.stable
    build = lock.build(hold.build)
    may_be = reachable and build is not None and build.phase not in NEVER_AGAIN
    return hold.build if may_be else lock.channels.stable


def with_unnamed(lock: Lockfile, builds: Iterable[Build], *, at: str) -> Lockfile:
    """The lockfile with builds that it names no more among those that go away, as of a time; a ruling finds them."""
    known = {one.id for one in lock.recorded}
    new = tuple(Leaving(build=one, deprecated=at) for one in builds if one.id not in known)
    return _update(lock, leaving=(*lock.leaving, *new)) if new else lock


def _restored(build: Build, *, at: str) -> Build:
    """A build that is revoked no more: what it was, in no channel until one comes back to it."""
    was = build.revoked
    if was is None:
        return build
    stood = was.was_stable or was.phase == "stable"
    phase: Phase = "superseded" if was.phase in ("candidate", "stable") else was.phase
    return _update(build, phase=phase, was_stable=stood, revoked=None, unrevoked=at)


def _revoked(build: Build, cause: Cause, *, at: str) -> Build:
    was = build.revoked
    revoked = Revoked(
        at=was.at if was is not None else at,
        reason=cause.reason, by=cause.by,
        phase=was.phase if was is not None else build.phase,
        was_stable=was.was_stable if was is not None else build.was_stable,
    )  # fmt: skip
    return _update(build, phase="revoked", was_stable=False, revoked=revoked, unrevoked=None)


def _without_channels(
    lock: Lockfile, builds: tuple[Build, ...], gone: Collection[str], *, newest: str | None = None
) -> Lockfile:
    """The lockfile with these builds, and no channel on those that are gone: back to the newest build that stands.

    `newest` is the one that `stable` is held to: what is newer it was held back from.
    """
    channels = lock.channels
    may_be = builds if newest is None else [one for one in builds if one.id <= newest]
    stable = _newest_that_stands(may_be) if channels.stable in gone else channels.stable
    channels = Channels(candidate=stable if channels.candidate in gone else channels.candidate, stable=stable)
    return _pointing(lock, builds, channels)


def _newest_that_stands(builds: Iterable[Build]) -> str | None:
    return next((one.id for one in builds if one.stood), None)


def as_it_stands(lock: Lockfile, build: Build) -> Build:
    """A recorded build in the phase that the channels give it. A lockfile of an earlier version may say another."""
    (stands,) = _in_phase([build], lock.channels)
    return stands


def _in_phase(builds: Iterable[Build], channels: Channels) -> tuple[Build, ...]:
    """The builds, each with its phase as the channels have it: what no channel points to any more is superseded."""

    def phase(build: Build) -> tuple[Phase, bool]:
        if build.phase not in ("candidate", "stable", "superseded"):
            return build.phase, build.was_stable
        if build.id == channels.stable:
            return "stable", False
        if build.id == channels.candidate:
            return "candidate", build.stood
        return "superseded", build.stood

    found = ((build, *phase(build)) for build in builds)
    return tuple(
        build if (build.phase, build.was_stable) == (name, stood)
        else _update(build, phase=name, was_stable=stood)
        for build, name, stood in found
    )  # fmt: skip


def _pointing(lock: Lockfile, builds: Iterable[Build], channels: Channels) -> Lockfile:
    """The lockfile with these builds and channels, each build in the phase that the channels give it."""
    return _update(lock, builds=_in_phase(builds, channels), channels=channels)


def _update(model: M, **fields: object) -> M:
    """The same model with other fields, which are not checked."""
    return model.model_copy(update=fields)


def first_phase(image: Image, verdict: Verdict | None = None) -> Phase:
    """The phase of a build that is recorded: a candidate where somebody's verdict is waited for and not there yet."""
    validated = verdict is not None and verdict.status == "passed"
    return "stable" if validated or not image.declaration.validation.required else "candidate"


def promotes(lock: Lockfile, image: Image) -> bool:
    """Whether `stable` follows `candidate` without a build: nobody's verdict is waited for any more, and no hold."""
    candidate = lock.build(lock.channels.candidate)
    return (
        not image.declaration.validation.required
        and image.declaration.hold is None
        and candidate is not None
        and candidate.id != lock.channels.stable
        and candidate.phase not in NEVER_AGAIN
    )


def with_verified(lock: Lockfile, build_id: str, verified: Verified, *, image: Image) -> Lockfile:
    """Record that a build was made again and came out the same: it stays in its channels, on the newer pin.

    `image` is as it was when that pin was resolved.
    """
    source = _pinned(verified.source, image.source)
    builds = tuple(_update(one, verified=verified) if one.id == build_id else one for one in lock.builds)
    return _update(lock, builds=builds, source=source or lock.source, failure=None)


def with_failure(lock: Lockfile, failure: Failure) -> Lockfile:
    """Record a failed attempt. Builds and channels stay as they are."""
    return _update(lock, failure=failure)


def _pinned(pin: Pin | None, requested: SourceRequest | None) -> PinnedSource | None:
    return PinnedSource(requested=requested, pinned=pin) if requested is not None and pin is not None else None
