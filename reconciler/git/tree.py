"""The files of one revision: its trees and the blobs in them, read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from reconciler.git.command import Git
from reconciler.git.store import FOLDER, SUBMODULE, Entry, read, read_folder
from reconciler.model.tree import TreeEntry


@dataclass(frozen=True)
class GitTree:
    """One revision's files; a `reconciler.model.tree.Tree`."""

    oid: str
    entries: Mapping[str, TreeEntry]
    git: Git = field(repr=False, compare=False)

    @property
    def below(self) -> str:
        """The fleet's folder as seen from the repository's root."""
        return self.git.below

    def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
        """The contents of blobs by object id, asked for in one go. Raises Terminal if one is not there."""
        return {oid: found.content for oid, found in read(self.git, oids).items()}

    @property
    def submodules(self) -> tuple[str, ...]:
        """Paths at which another repository is mounted; their files are in no tree of ours."""
        return tuple(path for path, entry in self.entries.items() if entry.mode == SUBMODULE)


def read_tree(git: Git, oid: str) -> GitTree:
    """List every file of a commit or tree.

    Of the trees in it those are read that no revision had which was listed before: a commit of one lockfile leaves all
    but a few of them as they were. Raises Terminal if one is not there.
    """
    (root,) = read(git, [f"{oid}^{{tree}}"]).values()
    folders = {root.oid: read_folder(root)}
    new: list[tuple[str, str]] = []
    level = [(root.oid, "")]
    while level:
        level = [folder for folder in level if folder not in git.listings]
        unread = read(git, (oid for oid, _prefix in level if oid not in folders))
        folders |= {oid: read_folder(found) for oid, found in unread.items()}
        new += level
        level = [
            (entry.oid, _path(prefix, entry, end="/"))
            for oid, prefix in level
            for entry in folders[oid]
            if entry.mode == FOLDER
        ]
    for folder in reversed(new):  # what is in a folder comes after it
        git.listings[folder] = tuple(_files(git, folders[folder[0]], folder[1]))
    return GitTree(oid, MappingProxyType({entry.path: entry for entry in _seen(git, git.listings[root.oid, ""])}), git)


def _seen(git: Git, files: Iterable[TreeEntry]) -> Iterable[TreeEntry]:
    """Files of the repository's root as they are seen from the fleet's folder."""
    return (replace(file, path=git.outside(file.path)) for file in files) if git.below else files


def _files(git: Git, folder: Iterable[Entry], prefix: str) -> Iterator[TreeEntry]:
    """Every file in and below a folder whose own folders are listed."""
    for entry in folder:
        if entry.mode == FOLDER:
            yield from git.listings[entry.oid, _path(prefix, entry, end="/")]
        else:
            yield TreeEntry(_path(prefix, entry), entry.mode, entry.oid)


def _path(prefix: str, entry: Entry, *, end: str = "") -> str:
    # A path that isn't UTF-8 is shown escaped: it has to fit into JSON, and its content is read by object id anyway.
    return f"{prefix}{entry.name.decode('utf-8', 'backslashreplace')}{end}"
