"""How a lockfile changes: each function takes one and returns the next. Nothing else writes state."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Channels, Failure, Lockfile, Phase, Verdict, Verified
from reconciler.model.source import Pin, PinnedSource, SourceRequest
from reconciler.plan.key import NEVER_AGAIN


def with_build(lock: Lockfile, build: Build, *, image: Image, requested: SourceRequest | None = None) -> Lockfile:
    """Record a finished build: newest first, its pin, the channels that it moves. A past failure is forgotten.

    `requested` is what the pin was resolved for, where the declaration asks for another source by now.
    Kept are the newest `retain.builds`, whatever a channel or a hold points to, and the build that `stable` would fall
    back to; older ones stay in git's history.
    Only the newest build lists its files: the older ones' are in git, and a thousand lockfiles stay quick to read.
    """
    older = tuple(one.model_copy(update={"files": None}) for one in lock.builds if one.id != build.id)
    stable = build.id if first_phase(image, build.verdict) == "stable" else lock.channels.stable
    channels = Channels(candidate=build.id, stable=stable)
    source = _pinned(build.source, requested or image.source)
    hold = image.declaration.hold
    kept = {channels.candidate, channels.stable, hold.build if hold else None}
    newest = (build, *older)
    kept.add(next((one.id for one in newest if one.stood and one.id != channels.stable), None))
    builds = tuple(one for place, one in enumerate(newest) if place < image.declaration.retain.builds or one.id in kept)
    return lock.model_copy(
        update={
            "image": image.name, "source": source, "builds": _in_phase(builds, channels), "channels": channels,
            "failure": None,
        }
    )  # fmt: skip


def with_artifacts(
    lock: Lockfile, build_id: str, added: Iterable[Artifact], *, gone: Iterable[Artifact] = ()
) -> Lockfile:
    """Record where a build's artifacts are now. One per location: an added one takes the place of what was there."""
    new = {artifact.location: artifact for artifact in added}
    dropped = {(artifact.location, artifact.id) for artifact in gone}

    def changed(build: Build) -> Build:
        if build.id != build_id:
            return build
        stay = [one for one in build.artifacts if one.location not in new and (one.location, one.id) not in dropped]
        artifacts = sorted([*stay, *new.values()], key=lambda one: (one.location, one.id))
        return build.model_copy(update={"artifacts": tuple(artifacts)})

    return lock.model_copy(update={"builds": tuple(changed(build) for build in lock.builds)})


def as_declared(lock: Lockfile, image: Image) -> Lockfile:
    """Record what a declaration says without a build: its name, its source's wording, a verdict no longer needed."""
    built_on = lock.source.pinned if lock.source else lock.builds[0].source if lock.builds else None
    source = PinnedSource(requested=image.source, pinned=built_on) if image.source and built_on else None
    channels = lock.channels
    builds = lock.builds
    if promotes(lock, image):
        channels = Channels(candidate=channels.candidate, stable=channels.candidate)
        builds = _in_phase(builds, channels)
    return lock.model_copy(update={"image": image.name, "source": source, "channels": channels, "builds": builds})


def with_verdict(lock: Lockfile, build_id: str, verdict: Verdict) -> Lockfile:
    """Record what the validation repository said of a build. A pass of the candidate moves `stable` to it.

    A failure marks the build rejected and takes every channel off it: back to the newest build that stands.
    """
    passed = verdict.status == "passed"
    moves = passed and build_id == lock.channels.candidate
    update = {"verdict": verdict, **({} if passed else {"phase": "rejected", "was_stable": False})}
    builds = tuple(one.model_copy(update=update) if one.id == build_id else one for one in lock.builds)
    channels = lock.channels.model_copy(update={"stable": build_id}) if moves else lock.channels
    if not passed:
        stands = next((one.id for one in builds if one.stood), None)
        stable = stands if channels.stable == build_id else channels.stable
        channels = Channels(candidate=stable if channels.candidate == build_id else channels.candidate, stable=stable)
    return lock.model_copy(update={"builds": _in_phase(builds, channels), "channels": channels})


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
            return "candidate", False
        return "superseded", build.stood

    found = ((build, *phase(build)) for build in builds)
    return tuple(
        build if (build.phase, build.was_stable) == (name, stood)
        else build.model_copy(update={"phase": name, "was_stable": stood})
        for build, name, stood in found
    )  # fmt: skip


def first_phase(image: Image, verdict: Verdict | None = None) -> Phase:
    """The phase of a build that is recorded: a candidate where somebody's verdict is waited for and not there yet."""
    validated = verdict is not None and verdict.status == "passed"
    return "stable" if validated or not image.declaration.validation.required else "candidate"


def promotes(lock: Lockfile, image: Image) -> bool:
    """Whether `stable` follows `candidate` without a build: nobody's verdict is waited for any more."""
    candidate = lock.build(lock.channels.candidate)
    return (
        not image.declaration.validation.required
        and candidate is not None
        and candidate.id != lock.channels.stable
        and candidate.phase not in NEVER_AGAIN
    )


def with_verified(lock: Lockfile, build_id: str, verified: Verified, *, image: Image) -> Lockfile:
    """Record that a build was made again and came out the same: it stays in its channels, on the newer pin.

    `image` is as it was when that pin was resolved.
    """
    source = _pinned(verified.source, image.source)
    builds = tuple(one.model_copy(update={"verified": verified}) if one.id == build_id else one for one in lock.builds)
    return lock.model_copy(update={"builds": builds, "source": source or lock.source, "failure": None})


def with_failure(lock: Lockfile, failure: Failure) -> Lockfile:
    """Record a failed attempt. Builds and channels stay as they are."""
    return lock.model_copy(update={"failure": failure})


def _pinned(pin: Pin | None, requested: SourceRequest | None) -> PinnedSource | None:
    return PinnedSource(requested=requested, pinned=pin) if requested is not None and pin is not None else None
