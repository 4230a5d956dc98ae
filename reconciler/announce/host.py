"""The host of the repository: GitHub, which shows a run where `announce.github` asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.model.errors import ReconcilerError
from reconciler.model.plan import Plan
from reconciler.model.receivers import GitHubSettings
from reconciler.model.text import first_few
from reconciler.words.comment import Previewed, render, status

_MOST_NAMED = 4


@dataclass(frozen=True)
class GitHubHost:
    """GitHub, or without `settings` nobody who shows anything.

    Args:
        settings: The `announce.github` part of desired/reconciler.yaml.
        repository: `OWNER/NAME`.
        folder: The fleet's in the repository; empty where that is the root.
        job: The address of the CI's run; empty where there is none.
        environment: Where the token stands.
        note: Tells a person of what GitHub refused.
    """

    settings: GitHubSettings | None
    repository: str
    folder: str
    job: str
    environment: Mapping[str, str]
    note: Callable[[str], None]

    def show(
        self, plan: Plan, previewed: Mapping[str, Previewed], *, branch: str, number: int | None, remark: str
    ) -> None:
        """Post statuses and the comment, where the settings ask for them."""
        if self.settings is None:
            return
        from reconciler.announce.github_api import GitHub  # noqa: PLC0415 - PyGithub costs half a second
        from reconciler.announce.pull_request import PullRequest  # noqa: PLC0415 - as above

        github = PullRequest(self.repository, GitHub(self.environment), folder=self.folder)
        if self.settings.statuses:
            with self._undoing_nothing("the statuses are not posted"):
                for image in plan.images:
                    state, text = status(image, previewed.get(image.image))
                    github.set_status(plan.head, image.image, state=state, description=text, target_url=self.job)
        if self.settings.comment:
            # A token may comment and not post statuses, or the other way round.
            with self._undoing_nothing("there is no comment"):
                found = number or github.number_for_branch(branch)
                if found is not None:
                    github.comment(found, render(plan, previewed, note=remark), whole=self.job)

    def propose(self, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        """Open or update the pull request. Without `announce.github` a person, or the host, opens it."""
        if self.settings is None:
            self.note(f"proposed on the branch {branch}: open its pull request into {base}")
            return
        names = first_few(images, most=_MOST_NAMED, more=" and others")
        url = self.open(branch, base, title=f"Record state: {names}", body=body)
        if url is not None:
            self.note(f"proposed in {url}")

    def open(self, branch: str, base: str, *, title: str, body: str) -> str | None:
        """Have a pull request from a branch into another one, and return its address.

        None without `announce.github`: a person opens it; and where GitHub refuses, which is said.
        """
        if self.settings is None:
            return None
        from reconciler.announce.github_api import GitHub  # noqa: PLC0415 - PyGithub costs half a second
        from reconciler.announce.pull_request import PullRequest  # noqa: PLC0415 - as above

        try:
            github = PullRequest(self.repository, GitHub(self.environment))
            return github.open_or_update_pull_request(branch, base, title=title, body=body).url
        except ReconcilerError as error:
            self.note(f"the branch {branch} is pushed, and its pull request is not opened: {error}")
            return None

    @contextmanager
    def _undoing_nothing(self, what: str) -> Iterator[None]:
        try:
            yield
        except ReconcilerError as error:
            self.note(f"{what}: {error}")
