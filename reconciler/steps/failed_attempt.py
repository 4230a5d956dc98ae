"""What becomes of an attempt that failed: what it left is marked, the failure is counted in state/, and people told."""

from __future__ import annotations

from typing import Literal

from reconciler.build.failure import BuildFailed
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Failure, Lockfile
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.plan import Decision
from reconciler.plan.backoff import declared, next_failure
from reconciler.steps.record import record_failure
from reconciler.steps.result import Result
from reconciler.steps.run import Run
from reconciler.steps.smoke_test import SmokeTestFailed

Failed = BuildFailed | SmokeTestFailed


def failed_attempt(run: Run, image: Image, decision: Decision, failed: Failed, *, build_id: str, key: str) -> Result:
    """Record that a build failed, or did not pass its smoke test. Nothing that is in a channel changes."""
    failure = failure_of(run, decision, failed, build_id=build_id, key=key)
    told = events.Failed(
        image=image.name, what=failure.what, tail=failed.tail, log=str(failed.log), of=failed_in(failed),
        notes=_after(decision, image, retry_after=failure.retry_after),
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


def failure_of(
    run: Run, decision: Decision, failed: Failed, *, build_id: str, key: str, first: bool = False
) -> Failure:
    """The failure to record. `first` says that earlier ones do not count, as on a pull request."""
    before = None if first else decision.lock.failure
    inputs = decision.wanted.inputs if decision.wanted is not None else None
    as_declared = declared(decision.image) if decision.image is not None else None
    failure = next_failure(before, build=build_id, key=key, what=failed.what, now=run.now(), declared=as_declared)
    failure = failure.model_copy(update={"inputs": inputs})
    if not isinstance(failed, SmokeTestFailed):
        return failure
    return failure.model_copy(update={"smoke_test": failed.result, "artifacts": failed.build.artifacts})


def failed_in(failed: Failed) -> Literal["build", "test"]:
    """Whose output is told."""
    return "test" if isinstance(failed, SmokeTestFailed) else "build"


def reject(run: Run, failed: Failed, *, lock: Lockfile) -> None:
    """Mark what did not pass, so that nobody adopts it and everybody sees why.

    What is recorded keeps its phase: a revert asked for it once more, and a channel may point to it.
    """
    if not isinstance(failed, SmokeTestFailed):
        return
    phase = {} if lock.build(failed.build.id) is not None else {f"{TAG_PREFIX}phase": "rejected"}
    for artifact in failed.build.artifacts:
        run.registry.tag(artifact, {**phase, f"{TAG_PREFIX}smoke": "failed"})


def interrupted(decision: Decision, failed: ReconcilerError) -> Result:
    """What somebody stopped did not fail."""
    return Result(decision.name, "interrupted", decision.lock, why=failed.what, error=failed)


def _after(decision: Decision, image: Image, *, retry_after: str) -> tuple[str, ...]:
    stable = decision.lock.channels.stable
    unchanged = f"nothing was changed: stable is still {stable}" if stable else "nothing was changed"
    return (unchanged, f"next try not before {retry_after}, or at once when {image.folder}/ changes")
