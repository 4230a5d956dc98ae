"""What no run does by itself, however well it is declared: nothing at all, another plan, or too much at once."""

from __future__ import annotations

from reconciler.model.errors import UserError
from reconciler.model.plan import Plan
from reconciler.model.text import counted
from reconciler.plan.planning import FleetPlan, Known
from reconciler.plan.stopped import as_cut_short


def within_limits(
    planned: FleetPlan, known: Known, *, expected: Plan | None, allowed: int | None
) -> tuple[FleetPlan, UserError | None]:
    """The part of a plan that a run may carry out, and what to end with where that is not all of it.

    Where it acts on too many images, builds are revoked all the same, disabled and taken away from consumers: people
    reviewed all that a revocation reaches, and whoever launches what is revoked must not wait for a person. No more is
    done then.

    Raises UserError where nothing may be carried out: of an empty desired/, unless a person who prunes says how many
    images may go; and of a stale plan.

    Args:
        planned: The plan.
        known: What it was made from.
        expected: The plan that a person reviewed; None where nobody did.
        allowed: How many images may be acted on, where a person says so in this run.
    """
    actions = sum(one.acts for one in planned.decisions)
    if not known.fleet.names and not (planned.plan.options.prune and allowed is not None):
        raise UserError(
            "desired/ declares no image, so there is nothing to reconcile",
            hint=(
                "add a folder with a Packer template under desired/; state/ was left as it is",
                *([_all_goes(len(known.locks))] if known.locks else []),
                *known.fleet.warnings,
            ),
        )
    _refuse_stale(planned.plan, expected)
    limit = allowed if allowed is not None else known.fleet.settings.limits.max_actions
    if actions <= limit:
        return planned, None
    revoking = tuple(cut for one in planned.decisions if (cut := as_cut_short(one)) is not None)
    done = f": {counted(len(revoking), 'image')} had builds revoked, and no more was done" if revoking else ""
    refusal = UserError(
        f"the plan acts on {actions} images, and one run may act on {limit} (limits.max_actions){done}",
        hint=f"look at `reconciler plan`; if that is what you want: `reconciler reconcile --max-actions {actions}`",
    )
    if not revoking:
        raise refusal
    told = tuple(one.planned for one in revoking)
    return FleetPlan(planned.plan.model_copy(update={"images": told}), revoking), refusal


def to_allow(planned: FleetPlan, known: Known) -> int | None:
    """How many images a person has to allow for a run to carry a plan out; None where it does so by itself."""
    actions = sum(one.acts for one in planned.decisions)
    is_all = not known.fleet.names and planned.plan.options.prune
    return actions if is_all or actions > known.fleet.settings.limits.max_actions else None


def _all_goes(images: int) -> str:
    is_are, its = ("is", "its") if images == 1 else ("are", "their")
    what = f"if {counted(images, 'image')} that {is_are} recorded {is_are} to go, with {its} artifacts"
    return f"{what}: `reconciler reconcile --prune --max-actions {images}`"


def refuse_unsafe(planned: FleetPlan, known: Known, *, allowed: int | None) -> None:
    """Raise UserError where a run may not carry all of a plan out."""
    _, refusal = within_limits(planned, known, expected=None, allowed=allowed)
    if refusal is not None:
        raise refusal


def _refuse_stale(plan: Plan, expected: Plan | None) -> None:
    if expected is not None and expected.plan_id != plan.plan_id:
        raise UserError(
            f"the plan is stale: it was made for {expected.head[:12]}, and the branch is at {plan.head[:12]}"
            if expected.head != plan.head
            else "the plan is stale: state/ or the registry changed since it was made, or its file was edited",
            hint="make and review it anew: `reconciler plan --out FILE`",
        )
    if expected is not None and _content(expected) != _content(plan):
        raise UserError(
            "the plan file was changed after it was made: its id and what it says do not belong together",
            hint="make and review it anew: `reconciler plan --out FILE`",
        )


def _content(plan: Plan) -> list[object]:
    """What a person reviews in a plan, and its id stands for."""
    return [(image.image, image.actions, image.reasons, image.key) for image in plan.images]
