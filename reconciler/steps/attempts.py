"""Attempts at a build: by Packer, by adopting what is there, by taking up what an earlier one could not mark."""

from __future__ import annotations

from dataclasses import replace

from reconciler.build.failure import BuildFailed
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Wanted
from reconciler.plan.backoff import declared, rests
from reconciler.steps.adopt import adopted_build
from reconciler.steps.artifacts import SETTLING
from reconciler.steps.build_image import build_image, mark_complete, new_build_id
from reconciler.steps.failed_attempt import failed_attempt, interrupted
from reconciler.steps.finish import finish_adopted, finish_built
from reconciler.steps.leftovers import retire_left
from reconciler.steps.result import Result
from reconciler.steps.run import Run
from reconciler.steps.smoke_test import SmokeTestFailed


def build(run: Run, decision: Decision, wanted: Wanted, *, again: bool = False) -> Result:
    """Build an image with Packer and finish it. `again` says that its name was in the way of the first try."""
    image = _declared(decision)
    build_id = new_build_id(run, wanted.key)
    try:
        made = build_image(run, image, wanted, build_id=build_id, decision=decision)
        return finish_built(run, decision, made, image=image)
    except BuildFailed as failed:
        if not failed.counts:
            return uncounted(run, decision, failed, build_id=build_id)
        if failed.name_taken and f"{image.name}-{build_id}" in failed.name_taken:
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
    """Finish what is in the registry already with the wanted key."""
    image = _declared(decision)
    found, decision = adopted_build(run, image, replace(decision, wanted=wanted))
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
            run.listener(events.Failed(image=image.name, what=failed.what))
            return Result(image.name, "failed", decision.lock, why=failed.what, error=failed)
        return failed_attempt(run, image, decision, failed, build_id=made.id, key=wanted.key)
    except SmokeTestFailed as failed:
        return failed_attempt(run, image, decision, failed, build_id=made.id, key=wanted.key)


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
    notes = (*failed.mend, *left, "this is no failure of the image: the next run tries it again")
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
    takes = image.template.taking("ami_name", "image_name")
    own = f"take the variable `image_name`, which is another for each build: {takes}"
    failed.mend = (*failed.mend, f"the template gives its AMIs a name that is taken; {own}")
    try:
        named = [run.registry.find(image.build_region, ami) for ami in failed.name_holders]
        holders = [seen for seen in named if seen is not None]
        if not holders or not all(_did_not_pass(decision, seen) for seen in holders):
            return False
        for seen in holders:
            run.registry.retire(seen, image=image.name)
            run.listener(events.Retired(image=image.name, location=seen.location, artifact=seen.id))
    except ReconcilerError as error:
        failed.mend = (*failed.mend, f"what has it could not be retired: {error.what}")
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
