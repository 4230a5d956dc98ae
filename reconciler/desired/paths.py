"""Paths of a repository: what is at a path, what is under it, and where a written path leads.

All begin at the fleet's folder, which is the repository's root unless a fleet lives below it: then `../x` is what lies
beside it.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cached_property

from reconciler.model.tree import TreeEntry

ROOT = "."
_SUBMODULE = "160000"
_STATE, _LOCKFILE = "state", ".lock.json"
_MOST_GLOBS = 6
_REPEATED = re.compile(r"(?:\*\*/){2,}")
_GLOB = re.compile(r"\*\*/?|[*?]|\[!?[^\]]+\]|\{[^{}]*\}")


class Paths:
    """The paths of one revision, in order. Folders are known by what is in them.

    `below` is the fleet's folder as seen from the repository's root; empty where they are the same.
    """

    def __init__(self, entries: Mapping[str, TreeEntry], *, below: str = "") -> None:
        self.entries = entries
        self.below = below
        self._sorted = sorted(entries)

    @property
    def top(self) -> str:
        """The repository's root as seen from the fleet's folder."""
        return posixpath.relpath(ROOT, self.below or ROOT)

    def resolve(self, written: str, folder: str) -> str | None:
        """Where a path leads that was written in a folder, as `resolve` below."""
        return resolve(written, folder, below=self.below)

    def under(self, folder: str) -> list[str]:
        """Every file at any depth below a folder; none if there is no such folder."""
        if (up := _steps_up(folder)) is not None:
            if not self.below:
                return list(self._sorted)
            return [path for path in self._sorted if _leading(path) <= up]
        first = bisect_left(self._sorted, f"{folder}/")
        # 0 is the character after the slash, so this is the first path after all that begin with `folder/`.
        return self._sorted[first : bisect_left(self._sorted, f"{folder}0", lo=first)]

    def at(self, path: str) -> list[str]:
        """The file of this path, or all files of this folder; none if nothing is there.

        For what is in a submodule, that submodule: it is all that git shows of it.
        """
        if path in self.entries:
            return [path]
        module = self.submodule_of(path)
        return self.under(path) or ([module] if module is not None else [])

    def matching(self, pattern: str) -> list[str]:
        """The files that a pattern matches, as shells read it, and all files of folders that it matches.

        Of one that is stranger than people write them, all that it could match.
        """
        pattern = _REPEATED.sub("**/", pattern)
        inside = self.under(_GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0] or ROOT)
        if len(_GLOB.findall(pattern)) > _MOST_GLOBS:
            return inside  # each one more multiplies the ways in which a path can match
        matches = re.compile(_as_expression(pattern)).match
        return [path for path in inside if matches(path)]

    def submodule_of(self, path: str) -> str | None:
        """The submodule that a path is, or is in; None for everything else."""
        modules = (one for one in (path, *_above(path)) if one in self._submodules)
        return next(modules, None)

    def directly_in(self, folder: str) -> list[str]:
        """The files of a folder without those of its subfolders."""
        start = 0 if folder == ROOT else len(folder) + 1
        return [path for path in self.under(folder) if "/" not in path[start:]]

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The folders, each with its slash, in which this fleet and others of the repository record their builds."""
        locks = (posixpath.dirname(path) for path in self.entries if path.endswith(_LOCKFILE))
        found = {folder for folder in locks if posixpath.basename(folder) == _STATE}
        return tuple(sorted({f"{_STATE}/", *(f"{one}/" for one in found if self.under(f"{one[:-5]}desired"))}))

    @cached_property
    def names(self) -> frozenset[str]:
        """What any file or folder is called."""
        return frozenset(name for path in self.entries for name in path.split("/"))

    @cached_property
    def _submodules(self) -> frozenset[str]:
        return frozenset(path for path, entry in self.entries.items() if entry.mode == _SUBMODULE)


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, nearest first."""
    while path := posixpath.dirname(path):
        yield path


def contains(folder: str, path: str) -> bool:
    """Whether a path is a folder, or is in it at any depth."""
    up = _steps_up(folder)
    return _leading(path) <= up if up is not None else path == folder or path.startswith(f"{folder}/")


def resolve(written: str, folder: str, *, below: str = "") -> str | None:
    """Where a path leads that was written in a folder: `/` begins at the fleet's. None if it leaves the repository."""
    joined = written.lstrip("/") if written.startswith("/") else posixpath.join(folder, written)
    return canonical(posixpath.normpath(joined), below=below)


def canonical(path: str, *, below: str) -> str | None:
    """A normalized path in the one form that it has: `../infra/x`, seen from `infra`, is `x`.

    None if it leaves the repository.
    """
    if not _leading(path):
        return path
    from_root = posixpath.normpath(posixpath.join(below, path))
    return None if _leading(from_root) else posixpath.relpath(from_root, below or ROOT)


def relative(path: str, folder: str) -> str:
    """A path as seen from a folder."""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else posixpath.relpath(path, folder)


def _steps_up(folder: str) -> int | None:
    """How far up a folder is that holds the fleet's, or is it; None for any other."""
    if folder == ROOT:
        return 0
    return folder.count("/") + 1 if set(folder.split("/")) == {".."} else None


def _leading(path: str) -> int:
    """How often a normalized path goes up."""
    up = 0
    while path.startswith("../", 3 * up) or path[3 * up :] == "..":
        up += 1
    return up


def _as_expression(pattern: str) -> str:
    """A shell's pattern as a regular expression that also matches what is below."""
    parts, end = [], 0
    for match in _GLOB.finditer(pattern):
        parts += [re.escape(pattern[end : match.start()]), _meaning(match[0])]
        end = match.end()
    return "".join([*parts, re.escape(pattern[end:]), "(?:/|$)"])


def _meaning(glob: str) -> str:
    match glob[0]:
        case "*" if glob == "**/":
            return "(?:.*/)?"
        case "*":
            return ".*" if glob == "**" else "[^/]*"
        case "?":
            return "[^/]"
        case "[":
            # A hyphen makes a range in both.
            members = re.escape(glob[1:-1].removeprefix("!")).replace(r"\-", "-")
            return f"[{'^' if glob[1] == '!' else ''}{members}]"
        case _:
            return f"(?:{'|'.join(map(re.escape, glob[1:-1].split(',')))})"
