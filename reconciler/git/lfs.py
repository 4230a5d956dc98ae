"""Git LFS: a small pointer in git, and its content elsewhere, which the pointer names by digest and size.

(git-lfs, docs/spec.md: "version", then its keys in order; a pointer is under 1024 bytes.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.command import Git
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.printable import visible

LONGEST_POINTER = 1023
_POINTER = re.compile(
    rb"version https?://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec|git-media\.io)/v\d\n"
    rb"(?:ext-\d-[^\n]{1,200}\n){0,10}oid sha256:(?P<digest>[0-9a-f]{64})\nsize (?P<size>\d{1,18})\n?"
)
# A run wants the content, whatever a person leaves out of their own checkouts. What the environment says of it
# (GIT_LFS_SKIP_SMUDGE) is taken away with the rest of GIT_*.
_WHOLE = ("-c", "lfs.fetchexclude=", "-c", "lfs.fetchinclude=", "-c", "lfs.skipdownloaderrors=false")
# A server's own words, or its status where it has none.
_GONE = re.compile(r"\b(?:404|410)\b|does not exist|not found", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:401|403)\b|authenti|authoriz|credentials|access|forbidden|permission", re.IGNORECASE)


@dataclass(frozen=True)
class Pointer:
    """What a file that is kept in LFS really holds: its digest in hex, and its size in bytes."""

    content: bytes
    digest: str
    size: int


def pointer_in(content: bytes) -> Pointer | None:
    """The pointer that the bytes of a file are; None where they are the file itself."""
    match = _POINTER.fullmatch(content) if len(content) <= LONGEST_POINTER else None
    return Pointer(content, match["digest"].decode(), int(match["size"])) if match else None


def installed(git: Git) -> bool:
    """Whether git-lfs is here."""
    return git.attempt("lfs", "version").status == 0


def fetch(git: Git, pointers: Mapping[str, Pointer], *, below: Path) -> None:
    """Put the content of each pointer (by path) in its place below a folder, by git-lfs.

    What came is held against the pointer: it is what was reviewed, whoever keeps it.

    Raises:
        UserError: git-lfs is not installed, or the content is nowhere.
        Terminal: the credentials are refused, or something else came.
        Transient: it could not be fetched now.
    """
    if not pointers:
        return
    if not installed(git):
        raise _not_installed(sorted(pointers))
    for path, pointer in pointers.items():
        target = below / path
        with target.open("wb") as file:
            smudged = git.attempt(*_WHOLE, "lfs", "smudge", "--", path, stdin=pointer.content, sink=file)
        if smudged.status != 0:
            raise _not_fetched(path, pointer, smudged.stderr)
        if not _is(target, pointer):
            raise Terminal(
                f"git-lfs gave something else for {path} than what its pointer names (sha256 {pointer.digest[:12]}…)",
                mend="`git lfs fsck` looks for what is damaged; `git lfs env` shows how it is set up",
            )


def _is(path: Path, pointer: Pointer) -> bool:
    if path.stat().st_size != pointer.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pointer.digest


def _not_installed(paths: list[str]) -> UserError:
    more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
    return UserError(
        f"{paths[0]}{more} kept in Git LFS, and git-lfs is not here: the build would get a pointer of 130 bytes",
        mend=(
            "install git-lfs where reconciler runs (most systems have a package git-lfs)",
            "or leave the file out of the image's folder and of packer.inputs",
        ),
    )


def _not_fetched(path: str, pointer: Pointer, said: str) -> ReconcilerError:
    lines = [line.strip() for line in said[:10_000].splitlines() if "rror" in line and "Errors logged" not in line]
    # `Error downloading object: PATH (0123abc): Smudge error: Error downloading PATH (DIGEST): why`
    why = visible(lines[0].rpartition(f"({pointer.digest}): ")[2][:300]) if lines else "it did not say why"
    if _GONE.search(why):
        return UserError(
            f"the content of {path} is not on the LFS server ({why})",
            mend="whoever committed it has it: `git lfs push --all origin`",
        )
    if _DENIED.search(why):
        return Terminal(
            f"the LFS server refuses these credentials for {path} ({why})",
            mend="give this job credentials that may read it; `git lfs fetch` tries them",
        )
    return Transient(f"git-lfs could not fetch {path} ({why})", mend="`git lfs fetch` shows whether it can again")
