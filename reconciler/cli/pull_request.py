"""What a pull request is shown: a status for each image, and one comment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.ci.job import job_of
from reconciler.cli.workspace import note
from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Event, Listener
from reconciler.model.receivers import GitHubSettings
from reconciler.plan.comment import Previewed, render, status
from reconciler.plan.markdown import render as as_markdown
from reconciler.steps.result import Report, Result


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
