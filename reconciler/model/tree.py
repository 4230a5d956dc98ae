"""A tree of files as git knows it. `git/` offers one; `desired/` and `state/` read from it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

REGULAR_MODES = frozenset({"100644", "100755"})


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file: its path from the repository's root, git mode (six digits) and object id."""

    path: str
    mode: str
    oid: str


class Tree(Protocol):
    """The files of one revision. Contents are read in one batch, and only those asked for."""

    @property
    def oid(self) -> str:
        """The commit or tree that was read."""

    @property
    def below(self) -> str:
        """The fleet's folder as seen from the repository's root; empty where it is the root."""

    @property
    def entries(self) -> Mapping[str, TreeEntry]:
        """Every file of the repository by path, as seen from the fleet's folder. Submodules (mode 160000) are included.

        What lies beside that folder begins with `../`.
        """

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """The contents of blobs by object id. Raises Terminal if one is not in the object store."""


def inside(path: str, below: str) -> str:
    """A path as seen from the fleet's folder, which is `below` the repository's root, as git has it: from that root."""
    return posixpath.normpath(posixpath.join(below, path)) if below else path


def outside(path: str, below: str) -> str:
    """The opposite: a path of git's, as seen from the fleet's folder."""
    if not below:
        return path
    own = f"{below}/"
    return path[len(own) :] if path.startswith(own) else posixpath.relpath(path, below)


def content_at(tree: Tree, path: str) -> bytes | None:
    """The bytes of one file, or None where there is none: a link or a submodule of that name is no file.

    For many files, `Tree.read` takes them in one batch.
    """
    entry = tree.entries.get(path)
    return tree.read([entry.oid])[entry.oid] if entry is not None and entry.mode in REGULAR_MODES else None
