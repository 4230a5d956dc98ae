"""Settle: what outsiders and earlier runs did to an image's artifacts, before the image itself is turned to.

Verdicts are recorded, what artifacts say wrongly of their phase and channel is set right, what nobody needs is retired.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Verdict
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Retirement
from reconciler.plan.channels import moves
from reconciler.plan.words import listed
from reconciler.steps.artifacts import restate, tag_moved
from reconciler.steps.leftovers import claim_and_retire
from reconciler.steps.record import record_verdict
from reconciler.steps.result import Deed
from reconciler.steps.run import Run


@dataclass(frozen=True)
class Settled:
    """What is recorded by now, and what of the decision is left to do."""

    decision: Decision
    commit: str | None = None
    tags: tuple[str, ...] = ()
    did: tuple[Deed, ...] = ()


def settle(run: Run, image: Image, decision: Decision) -> Settled:
    """Record every verdict, each in a commit of its own; set tags right; retire what nobody needs."""
    lock = decision.lock
    commit: str | None = None
    tags: tuple[str, ...] = ()
    did: list[Deed] = []
    for build_id, verdict in decision.verdicts:
        recording = record_verdict(run, image, build_id, verdict)
        if not recording.superseded:
            tags = (*tags, *recording.tags)
            did.append(_deed(build_id, verdict, before=lock, after=recording.lock))
            if recording.commit is not None:
                run.listener(_said(image, build_id, verdict, recording.lock))
                commit = recording.commit
        tag_moved(run, image, before=lock, after=recording.lock, also=(build_id,), made=False)
        lock = recording.lock
    restate(run, decision.name, decision.restate)
    if decision.restate:
        number = len(decision.restate)
        did.append(
            Deed("retagged", f"{number} artifact{'' if number == 1 else 's'} that said another phase or channel")
        )
    return Settled(_left(decision, lock), commit, tags, (*did, *retire_useless(run, decision)))


def retire_useless(run: Run, decision: Decision) -> tuple[Deed, ...]:
    """Retire what pull requests and attempts left. What can't be retired now is told, and left to the next run."""
    failure = decision.lock.failure
    gone: list[Seen] = []
    for seen in decision.old_previews:
        try:
            # Of what says nothing of itself, the lockfile does: an attempt left it that is recorded.
            build_id = seen.own("build") or (failure.build if failure is not None else "")
            if not claim_and_retire(run, decision.name, seen, build_id=build_id):
                continue
        except ReconcilerError as error:
            what = f"{seen.id} in {seen.location}, which nobody needs, stays: {error.what}"
            run.listener(events.Warned(image=decision.name, what=what))
        else:
            gone.append(seen)
            run.listener(events.Retired(image=decision.name, location=seen.location, artifact=seen.id))
    return (Deed("retired", listed(Retirement.of(gone))),) if gone else ()


def _deed(build_id: str, verdict: Verdict, *, before: Lockfile, after: Lockfile) -> Deed:
    moved = "; ".join(f"{reason.was} → {(reason.now or '').partition(' ')[2]}" for reason in moves(before, after))
    promoted = before.channels.stable != after.channels.stable == build_id
    verb: Literal["promoted", "rejected", "recorded"] = (
        "rejected" if verdict.status == "failed" else "promoted" if promoted else "recorded"
    )
    return Deed(verb, f"{build_id} {verdict.status} by {verdict.by}{f': {moved}' if moved else ''}")


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
