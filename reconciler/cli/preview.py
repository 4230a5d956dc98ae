"""`reconciler reconcile --preview`: what a branch would change, built before it is merged."""

from __future__ import annotations

import os
from dataclasses import replace

from reconciler.cli.workspace import Workspace
from reconciler.git.target import Target
from reconciler.model.errors import UserError
from reconciler.model.plan import Decision, PlanOptions
from reconciler.plan.planning import Known
from reconciler.steps.preview import regions_for_children
from reconciler.steps.run import Branch


def branch_of(workspace: Workspace, target: Target, *, named: str | None) -> str:
    """The branch that is previewed: as named, else the checkout's, else (detached, as in CI) what CircleCI says.

    Raises UserError on the branch that state is recorded to: what is there is reconciled, and promoted.
    """
    name = named or workspace.repository.branch or os.environ.get("CIRCLE_BRANCH")
    if not name:
        raise UserError("HEAD is detached, and nothing says which branch it is", mend="name it: --branch NAME")
    if name == target.branch:
        raise UserError(
            f"HEAD is on {name}, where there is nothing to preview",
            mend=("`reconciler reconcile` builds and promotes it", "or switch to the branch of the pull request"),
        )
    return name


def read(workspace: Workspace, target: Target, options: PlanOptions) -> Known:
    """The branch's desired/, with state/ as it stands on the recorded branch: what the merge would meet.

    A branch that was begun last week holds last week's lockfiles; building on those pins would build what the merge
    then does not want.
    """
    known = workspace.read(workspace.repository.tree(), options)
    recorded = workspace.read(workspace.repository.tree(target.head), PlanOptions())
    return replace(known, locks=recorded.locks, broken_locks=recorded.broken_locks)


def branch_for(name: str, *, pull_request: int | None, decisions: tuple[Decision, ...]) -> Branch:
    """The branch as the run takes it, with the regions in which its own children need each image."""
    return Branch(name=name, pull_request=pull_request, needed=regions_for_children(decisions))
