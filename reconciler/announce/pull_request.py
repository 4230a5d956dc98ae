"""Pull requests on GitHub: a status for each image, posted when it changes, and one comment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from github.GithubException import GithubException, UnknownObjectException
from github.IssueComment import IssueComment
from github.PullRequest import PullRequest as GitHubPullRequest
from github.Repository import Repository

from reconciler.announce.github_api import GitHub, without_bot
from reconciler.words.markdown import LONGEST, excerpt

# Commit statuses, posted only when they change.
#
# GitHub keeps at most 1,000 of one commit and context, and every one may send mails.

State = Literal["error", "failure", "pending", "success"]
LONGEST_DESCRIPTION = 140
_PAGE = 100


@dataclass(frozen=True)
class Status:
    """A commit status, as one context has it. No text is the same as none: GitHub answers null to either."""

    state: State
    description: str
    target_url: str


class Statuses:
    """The statuses of commits, as we last saw or set them: each commit is read once, whatever its images."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Status]] = {}

    def set(self, repository: Repository, sha: str, *, context: str, status: Status) -> bool:
        """Post a status unless it is there already. Returns whether it was posted. Raises what PyGithub raises."""
        if sha not in self._seen:
            self._seen[sha] = _read(repository, sha)
        if self._seen[sha].get(context) == status:
            return False
        body = {"state": status.state, "context": context, "description": status.description}
        if status.target_url:
            body["target_url"] = status.target_url
        repository.requester.requestJsonAndCheck("POST", f"{repository.url}/statuses/{sha}", input=body)
        self._seen[sha][context] = status
        return True


def short(description: str) -> str:
    """The description in 140 characters, which is all that GitHub takes."""
    if len(description) <= LONGEST_DESCRIPTION:
        return description
    return description[: LONGEST_DESCRIPTION - 1].rstrip() + "…"


def _read(repository: Repository, sha: str) -> dict[str, Status]:
    """The latest status of each context. PyGithub's `get_combined_status` reads the first 30 only."""
    found: dict[str, Status] = {}
    page = 1
    while True:
        _, answer = repository.requester.requestJsonAndCheck(
            "GET", f"{repository.url}/commits/{sha}/status", parameters={"per_page": _PAGE, "page": page}
        )
        some = answer["statuses"]
        for one in some:
            found[one["context"]] = Status(one["state"], one["description"] or "", one["target_url"] or "")
        if len(some) < _PAGE:
            return found
        page += 1


# The comment, and the pull request of a proposal.

MARKER = "<!-- reconciler -->"
"""First line of our comment. Nobody sees it, and it stays when the text changes."""
_ALREADY_THERE = "already exists"


@dataclass(frozen=True)
class Opened:
    """A pull request that is open now; `created` by this call."""

    number: int
    url: str
    created: bool


class PullRequest:
    """The pull requests of one repository on GitHub, and the statuses of its commits.

    Every method raises Transient when GitHub can't be reached, is broken or limits us, and Terminal when it refuses.
    Neither ever means "not there".
    """

    def __init__(self, repository: str, github: GitHub, *, folder: str = "") -> None:
        """`folder` is that of a fleet below the repository's root: its statuses and its comment are its own."""
        self._name = repository
        self._folder = f"{folder}/" if folder else ""
        self._marker = f"<!-- reconciler {folder} -->" if folder else MARKER
        self._github = github
        self._statuses = Statuses()

    def set_status(
        self, sha: str, image: str, *, state: State, description: str, target_url: str | None = None
    ) -> bool:
        """Set the status `reconciler/<image>` of a commit, unless it says so already.

        Args:
            sha: The commit, in full.
            image: The image's name.
            state: What GitHub calls it.
            description: Cut after 140 characters.
            target_url: Where its "Details" lead.

        Returns whether it was posted.
        """
        status = Status(state, short(description), target_url or "")
        with self._github.asking(f"setting the status of {image} on {sha[:12]}", needs="statuses: write"):
            repository = self._github.repository(self._name)
            return self._statuses.set(repository, sha, context=f"reconciler/{self._folder}{image}", status=status)

    def comment(self, number: int, markdown: str, *, whole: str | None = None) -> None:
        """Make our one comment on a pull request say this.

        Edited in place, and only when the text differs; written anew when somebody deleted it. Should two runs have
        written one each, the first is kept.

        Args:
            number: The pull request's.
            markdown: The text. What GitHub would not take is left out of its middle.
            whole: Where the whole text is, if anywhere: an address.
        """
        body = f"{self._marker}\n{excerpt(markdown, longest=LONGEST - len(self._marker) - 1, whole=whole)}"
        with self._github.asking(f"commenting on #{number}", needs="pull-requests: write"):
            pull = self._github.repository(self._name).get_pull(number)
            ours = self._ours(pull)
            if not ours or not _says(ours[0], body):
                pull.create_issue_comment(body)
            for duplicate in ours[1:]:
                duplicate.delete()

    def is_open(self, number: int) -> bool:
        """Whether a pull request is open. One that cannot be seen raises Terminal: it is not known to be closed."""
        with self._github.asking(f"looking at #{number}", needs="pull-requests: read"):
            return self._github.repository(self._name).get_pull(number).state == "open"

    def number_for_branch(self, branch: str, *, owner: str | None = None) -> int | None:
        """The open pull request from a branch, the newest if there are several; None where there is none.

        `owner` is that of the branch's repository, for a fork's.
        """
        with self._github.asking(f"looking for the pull request from {branch}", needs="pull-requests: read"):
            repository = self._github.repository(self._name)
            pulls = repository.get_pulls(state="open", head=f"{owner or repository.owner.login}:{branch}")
            return max((pull.number for pull in pulls), default=None)

    def open_or_update_pull_request(self, head: str, base: str, *, title: str, body: str) -> Opened:
        """Have a pull request from `head` into `base`, both branches of this repository, with this title and body.

        One that is open already is brought up to date, and only where it differs. Raises Terminal, with GitHub's
        reason, when there is nothing to merge.
        """
        body = excerpt(body, longest=LONGEST, whole=None)
        with self._github.asking(f"opening a pull request from {head} to {base}", needs="pull-requests: write"):
            repository = self._github.repository(self._name)
            pull = _find(repository, head, base)
            created = pull is None
            if pull is None:
                try:
                    pull = repository.create_pull(base, head, title=title, body=body)
                except GithubException as error:
                    # Another run was faster: GitHub allows one from a head to a base.
                    pull = _find(repository, head, base) if _ALREADY_THERE in str(error.data) else None
                    if pull is None:
                        raise
                    created = False
            if pull.title != title or not _same(pull.body, body):
                pull.edit(title=title, body=body)
            return Opened(pull.number, pull.html_url, created)

    def _ours(self, pull: GitHubPullRequest) -> list[IssueComment]:
        """Our comments, oldest first. Anybody may quote the marker; only what we wrote is ours to edit."""
        marked = [comment for comment in pull.get_issue_comments() if (comment.body or "").startswith(self._marker)]
        login = self._github.login() if marked else ""
        return [comment for comment in marked if comment.user and without_bot(comment.user.login) == login]


def _says(comment: IssueComment, body: str) -> bool:
    """Make a comment say this. False if it was deleted meanwhile."""
    if _same(comment.body, body):
        return True
    try:
        comment.edit(body)
    except UnknownObjectException:
        return False
    return True


def _find(repository: Repository, head: str, base: str) -> GitHubPullRequest | None:
    pulls = repository.get_pulls(state="open", head=f"{repository.owner.login}:{head}", base=base)
    return next(iter(pulls), None)


def _same(one: str | None, other: str) -> bool:
    """Whether two texts read the same. What was edited on the website has CRLF, and GitHub trims ends."""
    return (one or "").replace("\r\n", "\n").strip() == other.strip()
