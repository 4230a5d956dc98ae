"""`reconciler reconcile --preview`: what a branch would change, built and shown before it is merged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from reconciler.ci.job import Job, job_of
from reconciler.cli.workspace import Workspace, note, refuse_written_state
from reconciler.desired.fleet import read_fleet
from reconciler.git.destination import Target
from reconciler.git.remote import Remote
from reconciler.git.repository import Repository
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.events import Event, Listener
from reconciler.model.plan import Decision, PlanOptions
from reconciler.model.receivers import GitHubSettings
from reconciler.plan.planning import Known, with_changes_of
from reconciler.state.lockfiles import read_lockfiles
from reconciler.steps.preview import regions_for_children
from reconciler.steps.run import Branch, Report, Result
from reconciler.words.comment import Previewed, render, status
from reconciler.words.markdown import render as as_markdown

# What a pull request is shown: a status for each image, and one comment.


@dataclass(frozen=True)
class Origin:
    """Where a preview comes from: its branch, its pull request if it is known, and why it may be a stranger's."""

    branch: str
    number: int | None
    stranger: str = ""


class Tails:
    """Keeps the last lines of failed builds for the comment, and passes every event on."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.tails: dict[str, tuple[str, ...]] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, events.Failed):
            self.tails[event.image] = event.tail
        self._listener(event)


def show(
    origin: Origin,
    settings: GitHubSettings | None,
    report: Report,
    *,
    repository: str,
    folder: str = "",
    tails: Mapping[str, tuple[str, ...]],
    remark: str = "",
) -> None:
    """Post statuses and the comment, where the settings ask for them. What GitHub refuses is said and undoes nothing.

    `folder` is the fleet's in the repository; `remark` is said above the table of the comment.
    """
    if settings is None:
        return
    from reconciler.announce.github_api import GitHub  # noqa: PLC0415 - PyGithub costs half a second
    from reconciler.announce.pull_request import PullRequest  # noqa: PLC0415 - as above

    plan = report.plan
    previewed = {result.image: _previewed(result, tails.get(result.image, ())) for result in report.results}
    job = job_of(os.environ).url
    github = PullRequest(repository, GitHub(os.environ), folder=folder)
    if settings.statuses:
        with _undoing_nothing("the statuses are not posted"):
            for image in plan.images:
                state, text = status(image, previewed.get(image.image))
                github.set_status(plan.head, image.image, state=state, description=text, target_url=job)
    if settings.comment:
        # A token may comment and not post statuses, or the other way round.
        with _undoing_nothing("there is no comment"):
            number = origin.number or github.number_for_branch(origin.branch)
            if number is not None:
                github.comment(number, render(plan, previewed, note=remark), whole=job)


@contextmanager
def _undoing_nothing(what: str) -> Iterator[None]:
    try:
        yield
    except ReconcilerError as error:
        note(f"{what}: {error}")


def _previewed(result: Result, tail: tuple[str, ...]) -> Previewed:
    why = result.why or ("" if result.build is not None else result.status)
    return Previewed(build=result.build, why=why, tail=tail, tested=result.tested, difference=result.difference)


def propose(report: Report, settings: GitHubSettings | None, *, repository: str, branch: str, base: str) -> None:
    """Have the pull request for what was recorded on the proposed `branch`, where `git.push` is pull-request.

    Without `announce.github` the branch is pushed and a person, or the host, opens it.
    """
    recorded = [result for result in report.results if result.commit is not None]
    if not recorded:
        return
    if settings is None:
        note(f"proposed on the branch {branch}: open its pull request into {base}")
        return
    from reconciler.announce.github_api import GitHub  # noqa: PLC0415 - PyGithub costs half a second
    from reconciler.announce.pull_request import PullRequest  # noqa: PLC0415 - as above

    names = ", ".join(result.image for result in recorded[:4]) + (" and others" if len(recorded) > 4 else "")
    try:
        opened = PullRequest(repository, GitHub(os.environ)).open_or_update_pull_request(
            branch, base, title=f"Record state: {names}", body=as_markdown(report.plan)
        )
    except ReconcilerError as error:
        note(f"the branch {branch} is pushed, and its pull request is not opened: {error}")
    else:
        note(f"proposed in {opened.url}")


# `reconciler reconcile --preview`: what a branch would change, built before it is merged.


def origin_of(
    workspace: Workspace, target: Target, job: Job, *, remote: Remote | None, named: str | None, number: int | None
) -> Origin:
    """Where the preview comes from: the branch as named, else the checkout's, else (detached, as in CI) the job's.

    Raises UserError on the branch that state is recorded to: what is there is reconciled, and promoted. A stranger's
    branch is another, whatever it is called.
    """
    branch = named or workspace.repository.branch or job.branch
    if not branch:
        raise UserError("HEAD is detached, and nothing says which branch it is", hint="name it: --branch NAME")
    if branch == target.branch and not job.stranger:
        raise UserError(
            f"HEAD is on {branch}, where there is nothing to preview",
            hint=("`reconciler reconcile` builds and promotes it", "or switch to the branch of the pull request"),
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
        return known  # the branch may be about to fix just that
    fleet, overtaken = with_changes_of(known.fleet, fleets[0], base=fleets[1])
    return replace(known, fleet=fleet, overtaken=overtaken)


def branch_for(name: str, *, pull_request: int | None, decisions: tuple[Decision, ...]) -> Branch:
    """The branch as the run takes it, with the regions in which its own children need each image."""
    return Branch(name=name, pull_request=pull_request, needed=regions_for_children(decisions))
