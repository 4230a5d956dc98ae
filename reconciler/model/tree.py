"""A tree of files as git knows it. `git/` offers one; `desired/` and `state/` read from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

REGULAR_MODES = frozenset({"100644", "100755"})


@dataclass(frozen=True)
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
    def entries(self) -> Mapping[str, TreeEntry]:
        """Every file below the root by path, in order of path. Submodules (mode 160000) are included."""

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """The contents of blobs by object id. Raises Terminal if one is not in the object store."""


def content_at(tree: Tree, path: str) -> bytes | None:
    """The bytes of one file, or None where there is none. For many files, `Tree.read` takes them in one batch."""
    entry = tree.entries.get(path)
    return tree.read([entry.oid])[entry.oid] if entry is not None else None
