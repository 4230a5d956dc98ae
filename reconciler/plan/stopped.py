"""What is done where no more is done than to withdraw what is revoked.

So it is with an image that is suspended, one of which something that is declared can't be, and all images of a run that
would act on too many.
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.errors import UserError
from reconciler.model.plan import Action, Decision, PlannedImage, Situation
from reconciler.plan.care import with_care
from reconciler.plan.graph import REPLACING
from reconciler.plan.presence import of_another_fleet
from reconciler.plan.publishing import with_publications
from reconciler.plan.revocations import newly_revoked
from reconciler.plan.rulings import ruling_of, with_ruling
from reconciler.plan.timing import is_dormant, is_suspended

_NONE: tuple[Action, ...] = ("none",)
_MORE = frozenset({*REPLACING, "convert", "copy", "retire"})
"""What is done about an image beside recording, marking and publishing what is there."""


def as_refused(situation: Situation, refusal: UserError) -> Decision:
    """The decision on an image of which something that is declared can't be: nothing is done but to withdraw."""
    planned = PlannedImage(
        image=situation.image.name, sync="unknown", health="unknown", actions=_NONE, errors=(str(refusal),)
    )
    none = Decision(planned=planned, image=None, lock=situation.lock, wanted=None)
    found = none if of_another_fleet(situation) or situation.doubts else _withdrawing(situation, none)
    return replace(found, image=situation.image) if found.acts else none


def _withdrawing(situation: Situation, stopped: Decision) -> Decision:
    """A decision to do nothing, with what takes away from consumers what is revoked: no hold and no pause is for that.

    What is revoked no more comes back the same way.
    """
    ruling, after = ruling_of(situation, situation.lock, binds=False)
    idle = stopped.planned.model_copy(update={"reasons": ()})
    found = with_ruling(replace(stopped, planned=idle, withdraws_only=True), ruling)
    if ruling is not None:
        found = replace(found, settled=after)
    found = with_publications(situation, with_care(situation, found))
    if not found.acts:
        return stopped
    reasons = tuple(dict.fromkeys((*stopped.planned.reasons, *found.planned.reasons)))
    update = {"sync": "drifted", "actions": found.planned.actions, "reasons": reasons}
    return replace(found, planned=stopped.planned.model_copy(update=update), own=stopped.planned)


def as_suspended(situation: Situation, decision: Decision) -> Decision:
    """The decision on an image that may be suspended: then what has drifted is told, and nothing is done about it."""
    suspend = situation.image.declaration.suspend
    day = situation.day or situation.now
    if suspend is None or not is_suspended(situation.image, now=day):
        return decision
    until = f" until {suspend.until}" if suspend.until else ""
    if is_dormant(situation.image, situation.lock, now=day):
        # What nobody was asked is no trouble.
        unasked = decision.planned.model_copy(update={"sync": "drifted", "unknown": ()})
        decision = replace(decision, planned=unasked)
    planned = decision.planned.model_copy(
        update={
            "health": "suspended",
            "actions": _NONE,
            "retires": (),
            "blocked_by": (),
            "estimate_seconds": None,
            "waits_for": f"suspended{until}: {suspend.reason}",
        }
    )
    none = Decision(planned=planned, image=decision.image, lock=decision.lock, wanted=decision.wanted)
    return _withdrawing(situation, none)


def as_cut_short(decision: Decision) -> Decision | None:
    """The decision on an image in a run that would act on too many; None where no build of it is to be revoked.

    Nothing is made, brought or removed then. What is recorded beside the revocation stays, as it was settled with it.
    """
    causes = decision.ruling.causes if decision.ruling is not None else {}
    if not (decision.acts and any(newly_revoked({decision.name: causes}, {decision.name: decision.lock}))):
        return None
    actions = tuple(one for one in decision.planned.actions if one not in _MORE) or ("record",)
    planned = decision.planned.model_copy(update={"actions": actions, "retires": (), "blocked_by": ()})
    return Decision(
        planned=planned, image=decision.image, lock=decision.lock, wanted=None, restate=decision.restate,
        verdicts=decision.verdicts, ruling=decision.ruling, settled=decision.settled, own=decision.own,
        tend=decision.tend, withdraws_only=True,
    )  # fmt: skip
