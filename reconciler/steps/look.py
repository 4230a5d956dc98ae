"""Look: observe → resolve → plan. What every verb does first, and `plan` and `status` do alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.plan.planning import FleetPlan, Known, make_plan
from reconciler.ports.registry import Registry
from reconciler.steps.observe import observe, resolve, with_branches, withdrawn_sources
from reconciler.steps.ours import Records, with_doubts


def look(
    known: Known,
    registry: Registry | None,
    *,
    branches: Callable[[], frozenset[str] | None] | None = None,
    records: Records | None = None,
) -> tuple[Known, FleetPlan]:
    """Plan what the repository wants against what the registry shows; without a registry, from state/ alone.

    Returns what was found out and the plan made from it. `branches` lists the remote's (None: it does not tell); it is
    called only when the fate of an old preview hangs on them. `records` confirm what is recorded and does not carry its
    marks; without them nothing does. Raises Terminal when the registry refuses us altogether.
    """
    if registry is not None:
        known = with_doubts(observe(known, registry), registry, records)
        known = with_branches(known, branches) if branches is not None else known
    known = resolve(known, registry)
    planned = make_plan(known)
    withdrawn = withdrawn_sources(planned, registry) if registry is not None else {}
    if withdrawn:
        known = replace(known, withdrawn=withdrawn)
        planned = make_plan(known)
    return known, planned
