"""What a person's git does to a clone and its origin, without a process where two files tell or hold all of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_URL = re.compile(r"(?m)^(\s*url = ).*$")


def lead_to(clone: Path, url: str) -> None:
    """Have the one remote of a new clone be elsewhere, as `git remote set-url` does."""
    config = clone / ".git" / "config"
    config.write_text(_URL.sub(lambda found: f"{found[1]}{url}", config.read_text()))


def branch_at(origin: Path, branch: str) -> str | None:
    """What a branch of a bare repository is at, as git keeps it: a file, which a push has written. None before that."""
    ref = origin / "refs" / "heads" / branch
    return ref.read_text().strip() if ref.exists() else None


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


def pushed(clone: Path, origin: Path, commit: str, *, branch: str) -> bool:
    """Do what `git push` does with a commit that was just made in this clone on what the origin has.

    Of what it needs, the origin lacks no more than was made with it, which lies object by object in the clone. Returns
    False, and has done nothing, where the origin has a say in it: that takes the real push.
    """
    ref = origin / "refs" / "heads" / branch
    if (origin / "hooks").exists():
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
