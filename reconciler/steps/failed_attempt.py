"""What becomes of an attempt that failed: what it left is marked, the failure is counted in state/, and people told."""

from __future__ import annotations

from typing import Literal

from reconciler.build.failure import BuildFailed
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Failure, Lockfile
from reconciler.model.plan import Decision
from reconciler.plan.backoff import declared, next_failure
from reconciler.plan.reasons import inputs_named
from reconciler.plan.tags import own
from reconciler.steps.leftovers import Left, retire_left
from reconciler.steps.record import record_failure
from reconciler.steps.result import Result
from reconciler.steps.run import Run
from reconciler.steps.smoke_test import SmokeTestFailed

Failed = BuildFailed | SmokeTestFailed


def failed_attempt(run: Run, image: Image, decision: Decision, failed: Failed, *, build_id: str, key: str) -> Result:
    """Record that a build failed, or did not pass its smoke test. Nothing that is in a channel changes.

    What the attempt made is retired, or kept for the next run to take up; either is told.
    """
    left = left_by(run, image, failed, build_id=build_id)
    failure = failure_of(run, decision, failed, build_id=build_id, key=key, left=left)
    told = events.Failed(
        image=image.name, what=failure.what, tail=failed.tail, log=str(failed.log), of=failed_in(failed),
        notes=(*left.told, *_after(decision, image, failure, left=left)),
    )  # fmt: skip
    try:
        recording = record_failure(run, image, failure, decision)
    except ReconcilerError:
        run.listener(told)  # why it failed is worth more than why that could not be recorded
        raise
    if recording.superseded:
        # What another run recorded may be the very artifact that failed here: it passed there, and is in a channel.
        run.listener(events.Skipped(image=image.name, why=recording.why))
        return Result(image.name, "superseded", recording.lock, build=recording.instead, why=recording.why)
    run.listener(told)
    try:
        reject(run, failed, lock=recording.lock)
    except ReconcilerError as error:
        what = f"what failed is not tagged as rejected, so the next run tests it again: {error.what}"
        run.listener(events.Warned(image=image.name, what=what))
    return Result(
        image.name, "failed", recording.lock, seconds=seconds_of(failed), why=failure.what, error=failed,
        commit=recording.commit, tags=recording.tags, tested=failure.smoke_test,
    )  # fmt: skip


def seconds_of(failed: Failed) -> int:
    """How long Packer was at it."""
    return failed.build.seconds or 0 if isinstance(failed, SmokeTestFailed) else failed.seconds


def left_by(run: Run, image: Image, failed: Failed, *, build_id: str) -> Left:
    """What a failed attempt left, once what nobody will use is retired.

    What did not pass its test stays to be looked at. What could not be marked stays for the next run, which a preview's
    would not know of: no lockfile tells it.
    """
    if isinstance(failed, SmokeTestFailed):
        return Left(stays=failed.build.artifacts)
    if failed.cause != "unmarked" or run.branch is not None:
        return retire_left(run, image, failed, build_id=build_id)
    told = "it is kept: the next run marks it, and goes on from there"
    return Left(stays=failed.artifacts, told=(told,), made=failed.made)


def failure_of(
    run: Run, decision: Decision, failed: Failed, *, build_id: str, key: str, left: Left, first: bool = False
) -> Failure:
    """The failure to record. `first` says that earlier ones do not count, as on a pull request."""
    before = None if first else decision.lock.failure
    inputs = decision.wanted.inputs if decision.wanted is not None else None
    as_declared = declared(decision.image) if decision.image is not None else None
    failure = next_failure(before, build=build_id, key=key, what=failed.what, now=run.now(), declared=as_declared)
    failure = failure.model_copy(update={"inputs": inputs, "artifacts": left.stays, "made": left.made})
    return failure.model_copy(update={"smoke_test": failed.result}) if isinstance(failed, SmokeTestFailed) else failure


def failed_in(failed: Failed) -> Literal["build", "test"]:
    """Whose output is told."""
    return "test" if isinstance(failed, SmokeTestFailed) else "build"


def reject(run: Run, failed: Failed, *, lock: Lockfile) -> None:
    """Mark what did not pass, so that nobody adopts it and everybody sees why.

    What is recorded keeps its phase: a revert asked for it once more, and a channel may point to it.
    """
    if not isinstance(failed, SmokeTestFailed):
        return
    phase = {} if lock.build(failed.build.id) is not None else own(phase="rejected")
    for artifact in failed.build.artifacts:
        run.registry.tag(artifact, {**phase, **own(smoke="failed")})


def interrupted(decision: Decision, failed: ReconcilerError) -> Result:
    """What somebody stopped did not fail."""
    return Result(decision.name, "interrupted", decision.lock, why=failed.what, error=failed)


def _after(decision: Decision, image: Image, failure: Failure, *, left: Left) -> tuple[str, ...]:
    stable = decision.lock.channels.stable
    still = f"stable is still {stable}" if stable else ""
    unchanged = still if left.told else f"nothing was changed: {still}".removesuffix(": ")
    inputs = inputs_named(image)
    changed = f"one of these changes: {inputs}" if ", " in inputs else f"{inputs} changes"
    again = f"next try not before {failure.retry_after}, or at once when {changed}"
    return tuple(note for note in (unchanged, again if failure.made is None else "") if note)
