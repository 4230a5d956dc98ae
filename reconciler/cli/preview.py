"""`reconciler reconcile --preview`: what a branch would change, built before it is merged."""

from __future__ import annotations

import os
from dataclasses import replace

from reconciler.cli.workspace import Workspace, refuse_written_state
from reconciler.desired.fleet import read_fleet
from reconciler.git.target import Target
from reconciler.model.errors import UserError
from reconciler.model.plan import Decision, PlanOptions
from reconciler.plan.overtaken import with_changes_of
from reconciler.plan.planning import Known
from reconciler.state.lockfiles import read_lockfiles
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
    """What the merge would meet: the branch's desired/, with state/ and what else changed as on the recorded branch.

    A branch that was begun last week holds last week's lockfiles; building on those pins would build what the merge
    then does not want. Raises UserError where the branch changes state/.
    """
    repository = workspace.repository
    refuse_written_state(workspace, repository.tree())
    main = repository.tree(target.head)
    locks, broken = read_lockfiles(main)
    known = replace(workspace.read(repository.tree(), options), locks=locks, broken_locks=broken)
    base = repository.merge_base(target.head, "HEAD")
    if base is None or base == target.head:
        return known
    try:
        fleets = read_fleet(main), read_fleet(repository.tree(base))
    except UserError:
        return known  # the branch may be about to mend just that
    fleet, overtaken = with_changes_of(known.fleet, fleets[0], base=fleets[1])
    return replace(known, fleet=fleet, overtaken=overtaken)


def branch_for(name: str, *, pull_request: int | None, decisions: tuple[Decision, ...]) -> Branch:
    """The branch as the run takes it, with the regions in which its own children need each image."""
    return Branch(name=name, pull_request=pull_request, needed=regions_for_children(decisions))
