"""Paths of a repository: what is at a path, what is under it, and where a written path leads."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Iterator, Mapping

from reconciler.model.tree import TreeEntry

ROOT = "."
_SUBMODULE = "160000"


class Paths:
    """The paths of one revision, in order. Folders are known by what is in them."""

    def __init__(self, entries: Mapping[str, TreeEntry]) -> None:
        self.entries = entries
        self._sorted = sorted(entries)

    def under(self, folder: str) -> list[str]:
        """Every file at any depth below a folder; none if there is no such folder."""
        if folder == ROOT:
            return list(self._sorted)
        first = bisect_left(self._sorted, f"{folder}/")
        # 0 is the character after the slash, so this is the first path after all that begin with `folder/`.
        return self._sorted[first : bisect_left(self._sorted, f"{folder}0", lo=first)]

    def at(self, path: str) -> list[str]:
        """The file of this path, or all files of this folder; none if nothing is there.

        For what lies behind a symbolic link or in a submodule, that link or submodule: it is all that git shows of it.
        """
        if path in self.entries:
            return [path]
        return self.under(path) or [above for above in _above(path) if above in self.entries]

    def submodule_of(self, path: str) -> str | None:
        """The submodule that a path is, or is in; None for everything else."""
        modules = (one for one in (path, *_above(path)) if one in self.entries)
        return next((one for one in modules if self.entries[one].mode == _SUBMODULE), None)

    def directly_in(self, folder: str) -> list[str]:
        """The files of a folder without those of its subfolders."""
        start = 0 if folder == ROOT else len(folder) + 1
        return [path for path in self.under(folder) if "/" not in path[start:]]


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, nearest first."""
    while path := posixpath.dirname(path):
        yield path


def resolve(written: str, folder: str) -> str | None:
    """Where a path leads that was written in a folder: `/` begins at the root. None if it leaves the repository."""
    joined = posixpath.normpath(written.lstrip("/") if written.startswith("/") else posixpath.join(folder, written))
    return None if joined == ".." or joined.startswith(("../", "/")) else joined


def relative(path: str, folder: str) -> str:
    """A path as seen from a folder."""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else posixpath.relpath(path, folder)
