"""Settle: what outsiders and earlier runs did to an image's artifacts, before the image itself is turned to.

Verdicts are recorded, what artifacts say wrongly of their phase and channel is set right, what nobody needs is retired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Verdict
from reconciler.model.plan import Decision
from reconciler.steps.artifacts import restate, tag_moved
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
    """Record every verdict, each in a commit of its own; set tags right; retire what nobody needs."""
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
        tag_moved(run, image, before=lock, after=recording.lock, also=(build_id,))
        lock = recording.lock
    restate(run, decision.name, decision.restate)
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

    Nothing is left of it where another run recorded something else meanwhile than what it was made by.
    """
    own = decision.own or decision.planned
    expected = decision.settled or decision.lock
    if decision.verdicts and lock.channels != expected.channels:
        own = own.model_copy(update={"actions": ("none",), "reasons": ()})
    return replace(decision, lock=lock, planned=own)


def _said(image: Image, build_id: str, verdict: Verdict, lock: Lockfile) -> events.Event:
    return events.Settled(
        image=image.name, build=build_id, verdict=verdict.status, by=verdict.by, stable=lock.channels.stable
    )  # fmt: skip
