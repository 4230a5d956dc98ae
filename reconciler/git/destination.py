"""Where state is recorded: a branch of a remote or of this repository, and how the checkout stands to it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.git.answer import Answer, Reply, read_answer
from reconciler.git.command import Git, failed
from reconciler.git.history import LoggedCommit, commits_between, find_named, find_ref, is_ancestor
from reconciler.git.refusal import as_error
from reconciler.git.remote import Remote, RemoteBranch, remotes
from reconciler.git.store import find_id
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import ReconcilerError, UserError

# Where state is recorded: a branch whose head can be read, and moved if nobody else did.


class Destination(Protocol):
    """A branch, on a remote or in this repository alone."""

    @property
    def branch(self) -> str:
        """Its short name."""

    @property
    def pushed(self) -> bool:
        """Whether what is published leaves this machine."""

    def head(self) -> str:
        """The commit that the branch is at now, fetched if need be. Raises what `error` returns."""

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        """Move the branch from `onto` to `commit` and create the tags (name to tag object): all of it, or nothing.

        Where the remote takes refs one by one, the branch goes first, and `Reply.owed` tells of the tags.
        """

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        """Let the checkout follow if it is on this branch. Returns why it could not, or None."""

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""


# A branch of this repository, for a fleet without a remote.


@dataclass(frozen=True)
class LocalBranch:
    """A branch here, to record on; a `Destination`."""

    git: Git
    branch: str
    pushed: bool = False

    def head(self) -> str:
        """The commit it is at. Raises UserError if there is no such branch."""
        found = find_ref(self.git, f"refs/heads/{self.branch}")
        if found is None:
            raise UserError(
                f"there is no branch {self.branch}", hint=f"make it: `git branch {shlex.quote(self.branch)}`"
            )
        return found

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        """Move the branch and make the tags in one transaction of refs, expecting the branch at `onto`."""
        existing = tuple(name for name in tags if find_id(self.git, f"refs/tags/{name}") is not None)
        if existing:
            refs = tuple(f"refs/tags/{name}" for name in existing)
            return Reply(Answer.TAG_EXISTS, f"the tag {existing[0]} exists", refs=refs)
        edits = [f"update refs/heads/{self.branch}\0{commit}\0{onto}\0"] if commit != onto else []
        edits += [f"create refs/tags/{name}\0{oid}\0" for name, oid in tags.items()]
        # -m: what `git reflog` shows as the cause.
        moved = self.git.attempt(
            "update-ref", "-m", "reconciler: record", "--stdin", "-z", stdin="".join(edits).encode()
        )
        reply = read_answer(moved)
        if reply.answer is Answer.UNREACHABLE:  # no network is involved: git itself failed
            raise failed("update-ref", moved)
        return reply

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        """Change index and work tree as the branch did, if it is the one checked out: for the changed files alone.

        Else they would show the recorded files as changed back, and the next commit would do so.
        """
        if find_named(self.git, "HEAD") != f"refs/heads/{self.branch}":
            return None
        # read-tree compares times, and would take a file that was only touched for a changed one.
        self.git.attempt("update-index", "--refresh", "-q")
        followed = self.git.attempt("read-tree", "-m", "-u", onto, commit)
        return None if followed.status == 0 else failed("read-tree", followed).what

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""
        return as_error(reply, remote="this repository", branch=self.branch)


# The branch that state is recorded to, and how the checkout stands to it.


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
            hint="name one as `git.remote` in desired/reconciler.yaml",
        )
    branch = settings.branch or current_branch(git)
    if branch is None:
        raise UserError(
            "HEAD is detached and there is no remote: there is no branch to record to",
            hint="`git switch <branch>`, or name one as `git.branch` in desired/reconciler.yaml",
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
    named = find_named(git, "HEAD")
    return named.removeprefix("refs/heads/") if named is not None else None
