"""The checkout: what in it differs from HEAD, and what it would be as a tree. Its index is never written to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git


def dirty_paths(git: Git, paths: Iterable[str] = ()) -> tuple[str, ...]:
    """Files that differ from HEAD or are not tracked, at or below `paths` (absent: everywhere); ignored ones aside."""
    at = map(git.inside, paths)
    status = git.run("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *at)
    # `XY path`: two letters and a blank (git-status(1), "Porcelain Format Version 1").
    return tuple(git.outside(os.fsdecode(entry[3:])) for entry in status.stdout.split(b"\0") if entry)


@dataclass(frozen=True)
class Checkout:
    """What is checked out: None for the branch where HEAD is detached, and for the commit where there is none yet.

    `changed` says whether a tracked file or the index differs from it.
    """

    branch: str | None
    head: str | None
    changed: bool


def checked_out(git: Git) -> Checkout:
    """The checkout as it is now (git-status(1), "Porcelain Format Version 2")."""
    options = ("--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames", "--untracked-files=no")
    lines = [os.fsdecode(line) for line in git.run("status", *options).stdout.split(b"\0") if line]
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    branch, head = said["branch.head"], said["branch.oid"]
    return Checkout(
        branch=None if branch == "(detached)" else branch,
        head=None if head == "(initial)" else head,
        changed=any(not line.startswith("# ") for line in lines),
    )


def write_worktree(git: Git) -> str:
    """Store the work tree as a git tree, honouring .gitignore, and return the tree's id."""
    index = Path(git.run("rev-parse", "--git-path", "index").text)
    # Started from a copy of the checkout's index: what a sparse checkout leaves out is then not taken for deleted,
    # and files that did not change are not hashed again.
    with git.with_own_index(git.directory / index) as own:
        own.run("add", "--all")
        return own.run("write-tree").text
