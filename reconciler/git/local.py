"""A branch of this repository, for a fleet without a remote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.git.answer import Answer, Reply, read_answer
from reconciler.git.command import Git, failed
from reconciler.git.history import find_commit
from reconciler.git.refusal import as_error
from reconciler.git.store import find_id
from reconciler.model.errors import ReconcilerError, UserError


@dataclass(frozen=True)
class LocalBranch:
    """A branch here, to record on; a `Destination`."""

    git: Git
    branch: str
    pushed: bool = False

    def head(self) -> str:
        """The commit it is at. Raises UserError if there is no such branch."""
        found = find_commit(self.git, f"refs/heads/{self.branch}")
        if found is None:
            raise UserError(f"there is no branch {self.branch}", mend=f"make it: `git branch {self.branch}`")
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
        if self.git.attempt("symbolic-ref", "--quiet", "HEAD").text != f"refs/heads/{self.branch}":
            return None
        # read-tree compares times, and would take a file that was only touched for a changed one.
        self.git.attempt("update-index", "--refresh", "-q")
        followed = self.git.attempt("read-tree", "-m", "-u", onto, commit)
        return None if followed.status == 0 else failed("read-tree", followed).what

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""
        return as_error(reply, remote="this repository", branch=self.branch)
