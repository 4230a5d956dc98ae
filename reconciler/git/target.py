"""The branch that state is recorded to, and how the checkout stands to it."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.git.command import Git
from reconciler.git.destination import Destination
from reconciler.git.history import LoggedCommit, commits_between, is_ancestor
from reconciler.git.local import LocalBranch
from reconciler.git.remote import Remote, RemoteBranch, remotes
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import UserError


@dataclass(frozen=True)
class Target:
    """The recorded branch at one moment.

    `elsewhere` says on what else the checkout is ("the branch feature/x"), or is None: then HEAD may be worked from.
    `unpushed` are the checkout's commits that the branch does not have, newest first: named, and not considered.
    """

    branch: str
    head: str
    elsewhere: str | None
    unpushed: tuple[LoggedCommit, ...]


def find_destination(git: Git, settings: GitSettings) -> Destination:
    """The branch to record to: the one in the settings, else the remote's default, else (no remote) the checkout's.

    Raises:
        UserError: no such remote, no commit there, or a detached HEAD where there is no remote.
        ReconcilerError: the remote was asked for its default branch and could not be.
    """
    known = remotes(git)
    if settings.remote in known:
        remote = Remote(git, settings.remote)
        return RemoteBranch(git, remote, settings.branch or remote.default_branch())
    if known:
        raise UserError(
            f"there is no remote {settings.remote}, only {', '.join(known)}",
            mend="name one as `git.remote` in desired/reconciler.yaml",
        )
    branch = settings.branch or current_branch(git)
    if branch is None:
        raise UserError(
            "HEAD is detached and there is no remote: there is no branch to record to",
            mend="`git switch <branch>`, or name one as `git.branch` in desired/reconciler.yaml",
        )
    return LocalBranch(git, branch)


def look_at(git: Git, destination: Destination) -> Target:
    """Fetch the recorded branch and compare the checkout with it. Raises as `Destination.head` does."""
    head = destination.head()
    branch = current_branch(git)
    if branch is None:
        elsewhere = None if is_ancestor(git, "HEAD", head) else "a commit that the branch does not have"
    else:
        elsewhere = None if branch == destination.branch else f"the branch {branch}"
    return Target(destination.branch, head, elsewhere, commits_between(git, head, "HEAD"))


def current_branch(git: Git) -> str | None:
    """The branch that is checked out, or None where HEAD is detached."""
    found = git.attempt("symbolic-ref", "--quiet", "HEAD")
    return found.text.removeprefix("refs/heads/") if found.status == 0 else None
