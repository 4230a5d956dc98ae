"""Questions about commits: which revision is meant, what lies between two, which came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.git.command import Git, as_text
from reconciler.git.store import find_id
from reconciler.model.errors import UserError


@dataclass(frozen=True)
class LoggedCommit:
    """A commit as a log shows it."""

    oid: str
    subject: str


def find_commit(git: Git, revision: str) -> str | None:
    """The id of the commit that a revision names, or None where this clone has none such."""
    return find_id(git, f"{revision}^{{commit}}")


def resolve(git: Git, revision: str) -> str:
    """The id of the commit or tree that a revision names.

    Raises:
        UserError: this clone has no such revision; a shallow one is told how to get it.
    """
    found = find_id(git, f"{revision}^{{}}")
    if found is not None:
        return found
    if is_shallow(git):
        raise UserError(
            f'this shallow clone has no revision "{revision}"',
            mend="fetch the rest of the history: `git fetch --unshallow`, or `git fetch --depth=<n>` for a part of it",
        )
    raise UserError(f'there is no revision "{revision}"', mend="`git fetch` gets what was pushed since the last one")


def newest(git: Git, commits: Sequence[str]) -> str:
    """The one of these commits that is no ancestor of another; of several such, one of them."""
    if len(set(commits)) == 1:
        return commits[0]
    return git.run("rev-list", "--topo-order", "--max-count=1", *commits, "--").text


def is_shallow(git: Git) -> bool:
    """Whether the clone's history is cut off."""
    return git.run("rev-parse", "--is-shallow-repository").text == "true"


def is_ancestor(git: Git, older: str, newer: str) -> bool:
    """Whether `newer` contains `older` (or is it). In a shallow clone, whether its part of the history says so."""
    if _same(git, older, newer):
        return True
    return git.succeeds("merge-base", "--is-ancestor", older, newer)


def merge_base(git: Git, one: str, other: str) -> str | None:
    """The newest commit that both contain; None where this clone knows of none, as when its history is cut off."""
    found = git.attempt("merge-base", one, other)
    return found.lines[0] if found.status == 0 and found.lines else None


def commits_between(git: Git, older: str, newer: str) -> tuple[LoggedCommit, ...]:
    """The commits that `newer` contains and `older` does not, newest first."""
    if _same(git, older, newer):
        return ()
    log = git.run("log", "-z", "--format=%H %s", f"{older}..{newer}", "--").stdout
    entries = (as_text(entry).split(" ", 1) for entry in log.split(b"\0") if entry)
    return tuple(LoggedCommit(oid, subject) for oid, subject in entries)


def _same(git: Git, one: str, other: str) -> bool:
    """Whether two revisions name one commit. Mostly they do, and then no history needs to be walked."""
    commit = find_commit(git, one)
    return commit is not None and commit == find_commit(git, other)
