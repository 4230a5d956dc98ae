"""Questions about commits: which revision is meant, what lies between two, which came first."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.git.command import Git
from reconciler.git.store import find_id, find_ids, refuse_two_meanings
from reconciler.model.errors import UserError
from reconciler.model.text import decoded


@dataclass(frozen=True)
class LoggedCommit:
    """A commit as a log shows it."""

    oid: str
    subject: str


def find_commit(git: Git, revision: str) -> str | None:
    """The id of the commit that a revision names, or None where this clone has none such."""
    return find_id(git, f"{revision}^{{commit}}")


def find_ref(git: Git, ref: str) -> str | None:
    """The id of the commit that the reference of this very name, `refs/…`, stands on; None where there is none.

    Where it is not there, git tries what is called so elsewhere (gitrevisions(7)), and anybody may push a tag that is
    called `refs/remotes/origin/main`.
    """
    tried = [f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"refs/remotes/{ref}", f"refs/remotes/{ref}/HEAD"]
    found, *others = find_ids(git, [f"{ref}^{{commit}}", *tried])
    if found is None or not any(others):
        return found
    return found if git.succeeds("show-ref", "--verify", "--quiet", "--", ref) else None


def find_named(git: Git, ref: str, *, once: bool = False) -> str | None:
    """The reference that a symbolic one names, such as `refs/heads/main` for HEAD; None where it is not symbolic.

    Git keeps that in a file of this name (gitrepository-layout(5), "HEAD"). Where the file says nothing, git is asked:
    in a linked work tree, of a link, of refs that are kept in tables. With `once` it is asked the first time alone.
    """
    named = _in_file(git.folder / ref) if git.folder is not None and ".." not in ref else None
    if named is None:
        found = (git.once if once else git.attempt)("symbolic-ref", "--quiet", ref)
        named = found.text if found.status == 0 else None
    return named


def _in_file(path: Path) -> str | None:
    if path.is_symlink():
        return None
    try:
        with path.open("rb") as file:
            said = file.read(_LONGEST_REF)
    except OSError:
        return None
    written = _SYMBOLIC.fullmatch(said)
    return os.fsdecode(written["ref"]) if written and written["ref"] != _NO_FILES else None


_LONGEST_REF = 4096
_SYMBOLIC = re.compile(rb"ref: (?P<ref>refs/[^\0-\x20\x7f]+)\n")
_NO_FILES = b"refs/heads/.invalid"
"""What HEAD names where refs are kept in tables."""


def resolve(git: Git, revision: str) -> str:
    """The id of the commit or tree that a revision names.

    Raises:
        UserError: this clone has no such revision; a shallow one is told how to get it.
    """
    refuse_two_meanings(git, revision)
    found = find_id(git, f"{revision}^{{}}")
    if found is not None:
        return found
    if is_shallow(git):
        raise UserError(
            f'this shallow clone has no revision "{revision}"',
            hint="fetch the rest of the history: `git fetch --unshallow`, or `git fetch --depth=<n>` for a part of it",
        )
    raise UserError(f'there is no revision "{revision}"', hint="`git fetch` gets what was pushed since the last one")


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
    """The newest commit that both contain; None where this clone knows of none, as when its history is cut off.

    Of several it is the one that says of itself that it is the newest: what follows from it is nothing to rely on.
    """
    return next(iter(merge_bases(git, one, other)), None)


def merge_bases(git: Git, one: str, other: str) -> tuple[str, ...]:
    """Every commit that both contain and that no other such commit does. Several where each was merged into the other.

    None where this clone knows of none, as when its history is cut off.
    """
    found = git.attempt("merge-base", "--all", one, other)
    return tuple(found.lines) if found.status == 0 else ()


LONGEST_WALK = 120
"""For what anybody's commits keep git at work with."""


def changed_by_merge(git: Git, onto: str, other: str, *, folder: str) -> tuple[str, ...] | None:
    """The files in a folder that a merge of `other` leaves otherwise than `onto` has them, as git itself merges.

    Also by a rename: what one side changed in a file, git puts where it thinks that the other has it now. A conflict is
    a difference. Nothing is written to the clone. None where git can't tell, as before 2.38.
    """
    objects = git.directory / git.run("rev-parse", "--git-path", "objects").text
    with tempfile.TemporaryDirectory(prefix="reconciler-merge-") as made:
        environment = {"GIT_OBJECT_DIRECTORY": made, "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(objects))}
        apart = replace(git, environment={**git.environment, **environment})
        settings = ("-c", "merge.renames=true", "-c", "merge.directoryRenames=true")
        merged = apart.attempt(
            *settings, "merge-tree", "--write-tree", "--no-messages", "-z", onto, other, limit_seconds=LONGEST_WALK
        )
        if merged.status not in (0, 1):
            return None
        tree = os.fsdecode(merged.stdout).partition("\0")[0]
        listing = apart.attempt(
            *("diff-tree", "-r", "-z", "--name-only", "--no-renames", onto, tree, "--", git.inside(folder)),
            limit_seconds=LONGEST_WALK,
        )
    if listing.status != 0:
        return None
    return tuple(git.outside(decoded(path)) for path in listing.stdout.split(b"\0") if path)


def _quoted(path: str) -> str:
    """A path in a list of git's, whose parts a colon parts (git(1), GIT_ALTERNATE_OBJECT_DIRECTORIES)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def commits_between(git: Git, older: str, newer: str) -> tuple[LoggedCommit, ...]:
    """The commits that `newer` contains and `older` does not, newest first."""
    if _same(git, older, newer):
        return ()
    log = git.run("log", "-z", "--format=%H %s", f"{older}..{newer}", "--").stdout
    entries = (decoded(entry).split(" ", 1) for entry in log.split(b"\0") if entry)
    return tuple(LoggedCommit(oid, subject) for oid, subject in entries)


def _same(git: Git, one: str, other: str) -> bool:
    """Whether two revisions name one commit. Mostly they do, and then no history needs to be walked."""
    commit = find_commit(git, one)
    return commit is not None and commit == find_commit(git, other)
