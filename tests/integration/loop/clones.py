"""What a person's git does to a clone and its origin, without a process where two files tell or hold all of it."""

from __future__ import annotations

import shutil
from pathlib import Path


def head_of(clone: Path) -> str | None:
    """The commit that is checked out, as git keeps it: in a file. None where another file has it, or there is none."""
    folder = clone / ".git"
    head = folder / "HEAD"
    if not head.is_file():  # a linked work tree's
        return None
    named = head.read_text().strip()
    if not named.startswith("ref: "):
        return named
    ref = folder / named.removeprefix("ref: ")
    return ref.read_text().strip() if ref.is_file() else None


def pushed(clone: Path, origin: Path, commit: str, *, onto: str | None, branch: str = "main") -> bool:
    """Do what `git push` does with a commit that was made in this clone on what the branch is at, `onto`.

    The origin has all but the objects that were made with the commit, which lie one by one in the clone. Returns False,
    and has done nothing, where the origin has a say in it: that takes the real push.
    """
    ref = origin / "refs" / "heads" / branch
    if (origin / "hooks").exists() or (ref.read_text().strip() if ref.exists() else None) != onto:
        return False
    for made in (clone / ".git" / "objects").glob("[0-9a-f][0-9a-f]/*"):
        there = origin / "objects" / made.parent.name / made.name
        if not there.exists():
            there.parent.mkdir(exist_ok=True)
            shutil.copy(made, there)
    for written in (clone / ".git" / "refs" / "remotes" / "origin" / branch, ref):
        written.parent.mkdir(parents=True, exist_ok=True)
        new = written.with_name(f"{written.name}.lock")
        new.write_text(f"{commit}\n")
        new.replace(written)
    return True
