"""`reconciler reconcile --preview`: what a branch would change, built before it is merged."""

from __future__ import annotations

from dataclasses import replace

from reconciler.ci.job import Job
from reconciler.cli.pull_request import Origin
from reconciler.cli.workspace import Workspace, refuse_written_state
from reconciler.desired.fleet import read_fleet
from reconciler.git.remote import Remote
from reconciler.git.repository import Repository
from reconciler.git.target import Target
from reconciler.model.errors import UserError
from reconciler.model.plan import Decision, PlanOptions
from reconciler.plan.overtaken import with_changes_of
from reconciler.plan.planning import Known
from reconciler.state.lockfiles import read_lockfiles
from reconciler.steps.preview import regions_for_children
from reconciler.steps.run import Branch


def origin_of(
    workspace: Workspace, target: Target, job: Job, *, remote: Remote | None, named: str | None, number: int | None
) -> Origin:
    """Where the preview comes from: the branch as named, else the checkout's, else (detached, as in CI) the job's.

    Raises UserError on the branch that state is recorded to: what is there is reconciled, and promoted. A stranger's
    branch is another, whatever it is called.
    """
    branch = named or workspace.repository.branch or job.branch
    if not branch:
        raise UserError("HEAD is detached, and nothing says which branch it is", mend="name it: --branch NAME")
    if branch == target.branch and not job.stranger:
        raise UserError(
            f"HEAD is on {branch}, where there is nothing to preview",
            mend=("`reconciler reconcile` builds and promotes it", "or switch to the branch of the pull request"),
        )
    stranger = job.stranger or _not_there(workspace.repository, remote, branch, job)
    return Origin(branch, number or job.pull_request, stranger)


def _not_there(repository: Repository, remote: Remote | None, branch: str, job: Job) -> str:
    """Why a CI's checkout may be a stranger's though the CI takes it for ours: the repository has no such commit.

    A CI that builds a fork's branch under that branch's own name does not tell it from one of ours.
    """
    if not job.provider or remote is None:
        return ""
    try:
        head = remote.fetch(branch)
    except UserError:
        return f"The repository has no branch {branch}"
    if repository.is_ancestor(repository.head, head):
        return ""
    return f"The repository's {branch} has no commit {repository.head[:7]}"


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
