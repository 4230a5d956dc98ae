"""A tree of files as git knows it. `git/` offers one; `desired/` and `state/` read from it."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from reconciler.model.errors import Place, UserError
from reconciler.model.text import decoded

REGULAR_MODES = frozenset({"100644", "100755"})
MOST_READ_WHOLE = 64 << 20
"""Bytes of an object that is read whole; the largest that we write is an SBOM. Whoever may push chooses what is in an
object, and a gigabyte of one letter is a megabyte to push."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file: its path from the repository's root, git mode (six digits) and object id."""

    path: str
    mode: str
    oid: str
    written: bytes | None = None
    """The path from git's root as it is written, where that is not UTF-8: `path` then shows it with escapes such as
    `\\xe9`, which another file may be called in full."""
    is_alike: bool = False
    """Whether another file of the tree is shown by the same path, and so is not among the entries."""

    @property
    def identity(self) -> str:
        """The object id, and beside it what tells the file from another of the same path and content, if anything."""
        if self.written is None:
            return self.oid
        # From the first name on that is not UTF-8: what an image's folder is called stands before it, and is in no key.
        names = self.written.split(b"/")
        first = next(at for at, name in enumerate(names) if decoded(name).encode() != name)
        return f"{self.oid} {b'/'.join(names[first:]).hex()}"


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

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        """The contents of blobs by object id; those of more than `most` bytes are left out.

        Raises Terminal if one is not in the object store, UserError if one is larger than anything that is read.
        """


@dataclass(frozen=True)
class WithAdded:
    """A tree with files that are not in it yet, by path; a `Tree`."""

    tree: Tree
    added: Mapping[str, bytes]
    _contents: dict[str, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._contents.update({_added_id(content): content for content in self.added.values()})

    @property
    def oid(self) -> str:
        """The tree's own: what is added has no place in it yet."""
        return self.tree.oid

    @property
    def below(self) -> str:
        """The fleet's folder in the repository."""
        return self.tree.below

    @cached_property
    def entries(self) -> Mapping[str, TreeEntry]:
        """Every file, in order of path."""
        added = {path: TreeEntry(path, "100644", _added_id(content)) for path, content in self.added.items()}
        both = {**self.tree.entries, **added}
        return {path: both[path] for path in sorted(both)}

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        """The contents, of what was added and of what was there."""
        asked = list(oids)
        mine = {oid: self._contents[oid] for oid in asked if oid in self._contents}
        return {**self.tree.read([oid for oid in asked if oid not in mine], most=most), **mine}


def _added_id(content: bytes) -> str:
    """An object id that no object has: git's are hexadecimal digits."""
    return f"added-{hashlib.sha256(content).hexdigest()}"


def shown_alike(path: str) -> UserError:
    """The error for a path that stands for two files of a tree, of which one is not among its entries."""
    return UserError(
        "two files are shown by this path: the name of one is not UTF-8, and the other is called as that is shown, "
        "or a folder holds the name twice",
        where=Place(path),
        hint="rename one of them, with `git mv`",
    )


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

    For many files, `Tree.read` takes them in one batch. Raises UserError where it is larger than anything that is read.
    """
    entry = tree.entries.get(path)
    if entry is None or entry.mode not in REGULAR_MODES:
        return None
    if entry.is_alike:
        raise shown_alike(path)
    found = tree.read([entry.oid], most=MOST_READ_WHOLE)
    if entry.oid not in found:
        raise UserError(
            f"the file has more than {MOST_READ_WHOLE:,} bytes, and no more are read",
            where=Place(path),
            hint="leave it out of the repository",
        )
    return found[entry.oid]
