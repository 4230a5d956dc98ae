"""Settle: what outsiders did to an image's artifacts. Verdicts are recorded, previews of the past retired."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, Verdict
from reconciler.model.plan import Action, Decision
from reconciler.plan.adoption import NEVER_AGAIN
from reconciler.plan.parents import REPLACING
from reconciler.plan.tags import own
from reconciler.steps.leftovers import claim_and_retire
from reconciler.steps.record import record_verdict
from reconciler.steps.run import Run


@dataclass(frozen=True)
class Settled:
    """What is recorded by now, and what of the decision is left to do."""

    decision: Decision
    commit: str | None = None
    tags: tuple[str, ...] = ()


def settle(run: Run, image: Image, decision: Decision) -> Settled:
    """Record every verdict, each in a commit of its own, and retire old previews."""
    lock = decision.lock
    commit: str | None = None
    tags: tuple[str, ...] = ()
    for build_id, verdict in decision.verdicts:
        recording = record_verdict(run, image, build_id, verdict)
        if not recording.superseded:
            tags = (*tags, *recording.tags)
            if recording.commit is not None:
                run.listener(_said(image, build_id, verdict, recording.lock))
                commit = recording.commit
        _tag_phases(run, build_id, before=lock, after=recording.lock)
        lock = recording.lock
    retire_useless(run, decision)
    return Settled(_left(decision, lock), commit, tags)


def retire_useless(run: Run, decision: Decision) -> None:
    """Retire what pull requests and attempts left. What can't be retired now is told, and left to the next run."""
    failure = decision.lock.failure
    for seen in decision.old_previews:
        try:
            # Of what says nothing of itself, the lockfile does: an attempt left it that is recorded.
            build_id = seen.own("build") or (failure.build if failure is not None else "")
            claim_and_retire(run, decision.name, seen, build_id=build_id)
        except ReconcilerError as error:
            what = f"{seen.id} in {seen.location}, which nobody needs, stays: {error.what}"
            run.listener(events.Warned(image=decision.name, what=what))
        else:
            run.listener(events.Retired(image=decision.name, location=seen.location, artifact=seen.id))


def _left(decision: Decision, lock: Lockfile) -> Decision:
    """The decision on this lockfile, without what is settled.

    Nothing is left of it where a verdict took away the build that it was about: to copy or tag a rejected build as the
    one that the channels fell back to would be worse than to wait for the next run.
    """
    planned = decision.planned
    # Each verdict and each retired preview brought one reason, after all others (plan/verdicts.py).
    brought = len(decision.verdicts) + len(decision.old_previews)
    reasons = planned.reasons[: len(planned.reasons) - brought]
    codes = {reason.code for reason in reasons}
    still: dict[Action, bool] = {
        "promote": "channel-moved" in codes,
        "record": bool(decision.adopt) or not codes.isdisjoint(("renamed", "source-changed")),
        "retag": bool(decision.retag),
        "retire": bool(decision.retire),
    }
    actions = tuple(action for action in planned.actions if still.get(action, True)) or ("none",)
    if brought and _took_away(decision, lock):
        actions = ("none",)
    return replace(decision, lock=lock, planned=planned.model_copy(update={"actions": actions, "reasons": reasons}))


def _took_away(decision: Decision, lock: Lockfile) -> bool:
    """Whether the verdict was on the very thing that was to be built, adopted, copied or tagged."""
    if not REPLACING.isdisjoint(decision.planned.actions) and decision.wanted is not None:
        return any(build.key == decision.wanted.key and build.phase in NEVER_AGAIN for build in lock.builds)
    before, now = decision.lock.kept, lock.kept
    return before is not None and (now is None or now.id != before.id)


def _tag_phases(run: Run, settled: str, *, before: Lockfile, after: Lockfile) -> None:
    """Carry a changed phase to the artifacts. What vanished in the meantime is left to the next plan, which says so."""
    was = {build.id: build.phase for build in before.builds}
    for build in after.builds:
        if build.id == settled or was.get(build.id) != build.phase:
            _tag_phase(run, build)


def _tag_phase(run: Run, build: Build) -> None:
    for artifact in build.artifacts:
        if run.registry.find(artifact.location, artifact.id) is not None:
            run.registry.tag(artifact, own(phase=build.phase))


def _said(image: Image, build_id: str, verdict: Verdict, lock: Lockfile) -> events.Event:
    return events.Settled(
        image=image.name, build=build_id, verdict=verdict.status, by=verdict.by, stable=lock.channels.stable
    )  # fmt: skip
