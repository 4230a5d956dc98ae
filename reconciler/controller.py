"""The loop: observe → resolve → diff → plan → act → record. Its first half is `steps.look`; this is the second.

Level-triggered: every run derives everything from desired/, state/ and the registry, and keeps no memory elsewhere.
Running it twice does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.plan import Decision, Plan
from reconciler.plan.planning import FleetPlan, Known
from reconciler.steps.act import carry_out, run_graph
from reconciler.steps.run import Report, Result, Run
from reconciler.steps.settle import make_owed_tags


def act(run: Run, fleet_plan: FleetPlan) -> Report:
    """Carry the plan out, parents before children, and record each image as it ends."""
    decisions = {decision.name: decision for decision in fleet_plan.decisions if decision.acts}
    waits = {name: () if name in run.refused else _waits(decision, decisions) for name, decision in decisions.items()}
    done: dict[str, Result] = {}

    def work(name: str) -> Result:
        if name in run.refused:
            done[name] = _refused(run, decisions[name], run.refused[name])
        else:
            done[name] = carry_out(run, decisions[name], {parent: done[parent] for parent in waits[name]})
        return done[name]

    for name, parents in waits.items():
        if parents:
            run.listener(events.Waiting(image=name, on=parents))
    make_owed_tags(run)
    run_graph(waits, work, parallel=run.known.fleet.settings.limits.parallel_builds)
    run.late_tags.write(run.registry, run.listener)
    return Report(results=tuple(done[name] for name in decisions), plan=fleet_plan.plan)


def refuse_unsafe(plan: Plan, known: Known, *, expected: Plan | None, allowed: int | None) -> None:
    """Fail closed before anything is done: an empty desired/, a stale plan, more actions than a run may take."""
    if not known.fleet.names:
        raise UserError(
            "desired/ declares no image, so there is nothing to reconcile",
            hint=(
                "add a folder with a Packer template under desired/; state/ was left as it is",
                *known.fleet.warnings,
            ),
        )
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
    limit = allowed if allowed is not None else known.fleet.settings.limits.max_actions
    actions = sum(image.actions != ("none",) for image in plan.images)
    if actions > limit:
        raise UserError(
            f"the plan acts on {actions} images, and one run may act on {limit} (limits.max_actions)",
            hint=f"look at `reconciler plan`; if that is what you want: `reconciler reconcile --max-actions {actions}`",
        )


def _content(plan: Plan) -> list[object]:
    """What a person reviews in a plan, and its id stands for."""
    return [(image.image, image.actions, image.reasons, image.key) for image in plan.images]


def _refused(run: Run, decision: Decision, error: ReconcilerError) -> Result:
    run.listener(events.Failed(image=decision.name, what=str(error)))
    return Result(decision.name, "failed", decision.lock, why=error.what, error=error)


def _waits(decision: Decision, decisions: Mapping[str, Decision]) -> tuple[str, ...]:
    return tuple(parent for parent in decision.planned.blocked_by if parent in decisions)
