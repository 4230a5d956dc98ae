"""Attempts at a build: by Packer, by adopting, by taking up; and what becomes of one that failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Failure, Lockfile
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Wanted
from reconciler.plan.reasons import inputs_named
from reconciler.plan.tags import own
from reconciler.plan.timing import declared, next_failure, rests
from reconciler.ports.builder import BuildFailed
from reconciler.steps.artifacts import SETTLING
from reconciler.steps.build import build_image, mark_complete, new_build_id
from reconciler.steps.finish import adopted_build, finish_adopted, finish_built
from reconciler.steps.record import record_failure
from reconciler.steps.retire import told_retired
from reconciler.steps.run import Result, Run
from reconciler.steps.settle import Left, retire_left
from reconciler.steps.smoke_test import SmokeTestFailed

# What becomes of an attempt that failed: what it left is marked, the failure is counted in state/, and people told.

Failed = BuildFailed | SmokeTestFailed


def failed_attempt(run: Run, image: Image, decision: Decision, failed: Failed, *, build_id: str, key: str) -> Result:
    """Record that a build failed, or did not pass its smoke test. Nothing that is in a channel changes.

    What the attempt made is retired, or kept for the next run to take up; either is told.
    """
    left = left_by(run, image, failed, build_id=build_id)
    failure = failure_of(run, decision, failed, build_id=build_id, key=key, left=left)
    told = events.Failed(
        image=image.name, what=failure.what, tail=failed.tail, log=str(failed.log), of=failed_in(failed),
        notes=(*failed.hint, *left.told, *_after(decision, image, failure, left=left)),
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
    tried = failed if isinstance(failed, BuildFailed) else None
    # Whatever failed, this Packer has had its try.
    packer = (tried.version if tried is not None else "") or run.known.packer or ""
    failure = next_failure(
        before, build=build_id, key=key, what=failed.what, now=run.now(), declared=as_declared,
        packer=packer, may_be_too_old=tried is not None and tried.may_be_too_old,
    )  # fmt: skip
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
    another = ", or another Packer is here" if failure.refused_by else ""
    force = f", or with `--force {decision.name}`"
    again = f"next try not before {failure.retry_after}, or at once when {changed}{another}{force}"
    return tuple(note for note in (unchanged, again if failure.made is None else "") if note)


# Attempts at a build: by Packer, by adopting what is there, by taking up what an earlier one could not mark.


def build(run: Run, decision: Decision, wanted: Wanted, *, again: bool = False) -> Result:
    """Build an image with Packer and finish it. `again` says that its name was in the way of the first try."""
    image = _declared(decision)
    build_id = new_build_id(run, wanted.key)
    try:
        made = build_image(run, image, wanted, build_id=build_id, decision=decision)
        return finish_built(run, decision, made, image=image)
    except BuildFailed as failed:
        if not is_of_the_image(run, image, failed):
            return uncounted(run, decision, failed, build_id=build_id)
        if f"{image.name}-{build_id}" in failed.name_taken:
            why = f"another run that began in the same second is building {build_id}"
            run.listener(events.Skipped(image=image.name, why=why))
            return Result(image.name, "superseded", decision.lock, why=why)
        if failed.name_taken and not again and _frees_the_name(run, decision, failed):
            return build(run, decision, wanted, again=True)
        return failed_attempt(run, image, decision, failed, build_id=build_id, key=wanted.key)
    except SmokeTestFailed as failed:
        # The key that the next run will want: a template that resolves its source itself built under another one.
        return failed_attempt(run, image, decision, failed, build_id=build_id, key=wanted.key)


def adopt(run: Run, decision: Decision, wanted: Wanted) -> Result:
    """Finish what is in the registry already with the wanted key. Where nothing but its marks says so, it is built."""
    image = _declared(decision)
    there = adopted_build(run, image, replace(decision, wanted=wanted))
    if there is None:
        return build(run, decision, wanted)
    found, decision = there
    run.listener(events.Adopted(image=image.name, build=found.id))
    try:
        return finish_adopted(run, decision, found, image=image)
    except SmokeTestFailed as failed:
        return failed_attempt(run, image, decision, failed, build_id=found.id, key=found.key)


def take_up(run: Run, decision: Decision, wanted: Wanted, *, made: Build) -> Result:
    """Mark what an earlier attempt made, and go on from there. Where it is gone by now, it is built anew."""
    image = _declared(decision)
    if any(run.registry.find(one.location, one.id, patience=SETTLING) is None for one in made.artifacts):
        return build(run, decision, wanted)
    try:
        marked = mark_complete(run, image, made, log=run.folder / "logs" / f"{image.name}-{made.id}.log")
        found = [run.registry.find(one.location, one.id, patience=SETTLING) for one in marked.artifacts]
        decision = replace(decision, adopt=tuple(seen for seen in found if seen is not None))
        run.listener(events.Adopted(image=image.name, build=marked.id))
        return finish_adopted(run, decision, marked, image=image)
    except BuildFailed as failed:
        if _is_recorded_already(run, decision, failed, wanted=wanted):
            run.listener(events.Failed(image=image.name, what=failed.what, notes=failed.hint))
            return Result(image.name, "failed", decision.lock, why=failed.what, error=failed)
        return failed_attempt(run, image, decision, failed, build_id=made.id, key=wanted.key)
    except SmokeTestFailed as failed:
        return failed_attempt(run, image, decision, failed, build_id=made.id, key=wanted.key)


def is_of_the_image(run: Run, image: Image, failed: BuildFailed) -> bool:
    """Whether a failure counts as the image's: not where what builds it can't be reached from here by now, as it says.

    Packer's words do not tell that from what an image itself is refused, or its provisioners come upon.
    """
    if failed.cause in ("failed", "timed-out") and image.kind.observed:
        observation = run.registry.observe([image.build_location])
        why = observation.unreadable.get(image.build_location)
        if why is not None:
            what_to_do = observation.hints.get(image.build_location, ())
            failed.hint = (*failed.hint, f"{image.build_location} can't be read by now: {why}", *what_to_do)
            return False
    return failed.counts


def uncounted(run: Run, decision: Decision, failed: BuildFailed, *, build_id: str) -> Result:
    """A try that says nothing of the image: somebody stopped it, or this machine lacks something.

    Nothing is recorded, and the next run tries it at once. What Packer had made by then is retired, or told.
    """
    image = _declared(decision)
    left = retire_left(run, image, failed, build_id=build_id).told
    if failed.cause == "cancelled":
        for what in left:
            run.listener(events.Warned(image=image.name, what=what))
        return interrupted(decision, failed)
    notes = (*failed.hint, *left, "this is no failure of the image: the next run tries it again")
    run.listener(events.Failed(image=image.name, what=failed.what, tail=failed.tail, log=str(failed.log), notes=notes))
    return Result(image.name, "failed", decision.lock, why=failed.what, error=failed)


def _is_recorded_already(run: Run, decision: Decision, failed: BuildFailed, *, wanted: Wanted) -> bool:
    """Whether the same failure is on record and rests: one more commit would tell nobody anything."""
    failure = decision.lock.failure
    as_declared = declared(_declared(decision))
    return (
        failed.cause == "unmarked"
        and failure is not None
        and rests(failure, key=wanted.key, declared=as_declared, now=run.now())
    )


def _frees_the_name(run: Run, decision: Decision, failed: BuildFailed) -> bool:
    """Whether the name that the template always gives is free now: one of ours that nobody will get had it.

    Only what did not pass its smoke test is moved out of the way. Whatever else has the name may be in use: it stays,
    and the error says what to do.
    """
    image = _declared(decision)
    takes = image.template.taking(image.kind.name_attribute, "image_name")
    own = f"take the variable `image_name`, which is another for each build: {takes}"
    failed.hint = (*failed.hint, f"the template gives what it makes a name that is taken; {own}")
    try:
        named = [run.registry.find(image.build_location, one) for one in failed.name_holders]
        holders = [seen for seen in named if seen is not None]
        if not holders or not all(_did_not_pass(decision, seen) for seen in holders):
            return False
        for seen in holders:
            told_retired(run, image.name, seen)
    except ReconcilerError as error:
        failed.hint = (*failed.hint, f"what has it could not be retired: {error.what}")
        return False
    return True


def _did_not_pass(decision: Decision, seen: Seen) -> bool:
    recorded = {(one.location, one.id) for build in decision.lock.builds for one in build.artifacts}
    refused = seen.own("phase") == "rejected" and seen.own("smoke") == "failed"
    return refused and (seen.location, seen.id) not in recorded


def _declared(decision: Decision) -> Image:
    if decision.image is None:
        raise ValueError(f"{decision.name} is not declared, and so can't be built")
    return decision.image
