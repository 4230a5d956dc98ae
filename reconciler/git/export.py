"""A clean export of one commit: what was built is exactly what was committed.

The bytes of git's blobs, as they were reviewed and as they are in the key. Not `git archive`, which obeys export-ignore
and export-subst; and not a checkout, which turns line ends, expands `$Id$`, encodes text anew and runs filters, as
.gitattributes, the system's and a person's settings have it: text that was reviewed as harmless could come out as a
command, and two people's builds of one key would differ.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.git.attributes import Filter, filters, stays_below
from reconciler.git.command import Git
from reconciler.git.lfs import Pointer, fetch, pointer_in
from reconciler.git.store import SUBMODULE
from reconciler.git.tree import GitTree, read_tree
from reconciler.model.errors import Terminal, UserError
from reconciler.model.printable import visible

LFS = "lfs"
"""The filter whose content we can have: it is named by its digest. All others are somebody's programs."""
_LINK = "120000"
_AT_ONCE = 32 << 20
"""Bytes of blobs that are held in memory together. A larger one goes to its file as it comes."""


@dataclass(frozen=True)
class Export:
    """Where a commit was exported to, and the submodules in it, which were not."""

    directory: Path
    submodules: tuple[str, ...]


def export(git: Git, commit: str, directory: Path, *, used: Collection[str] = ()) -> Export:
    """Write every file of a commit below `directory`, which is made if need be: its bytes, its mode, its links.

    Of the files that are `used` (paths as the fleet sees them), those that are kept in Git LFS are fetched; all other
    pointers stay what they are. Of modes git knows whether a file can be executed, and nobody's umask adds to that.

    Raises:
        Terminal: the directory is not empty, or the commit holds what can't be written.
        UserError: a file that is used goes through a filter, or its content in LFS can't be had.
        Transient: LFS does not answer.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if next(directory.iterdir(), None) is not None:
        raise Terminal(f"{directory} is not empty: a clean export needs a folder of its own")
    tree = read_tree(git, commit)
    for path, one in filters(tree, used).items():
        if one.name != LFS:
            raise filtered(path, one)
    entries = tuple(_entries(git, commit))
    try:
        fetch(git, _written(git, tree, entries, directory, used=frozenset(map(git.inside, used))), below=directory)
    except (OSError, ValueError) as error:  # a link may lead to what is no path
        raise Terminal(f"{commit[:12]} can't be exported: {visible(str(error))}") from error
    return Export(directory, tree.submodules)


def filtered(path: str, one: Filter) -> UserError:
    """The error for a file that a build would get otherwise than people see it in their checkouts."""
    return UserError(
        f'{path} goes through the filter "{one.name}": people see another file than git keeps, and a build takes '
        "what git keeps",
        where=one.place,
        mend=(
            "commit the file as it is to be built, and take the filter off it,",
            "or leave it out of the image's folder and of packer.inputs; a secret is passed as a variable",
        ),
    )


@dataclass(frozen=True)
class _Entry:
    path: str
    mode: str
    oid: str
    size: int

    @property
    def shown(self) -> str:
        """The path as a tree shows it: one that is not UTF-8 is escaped."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")


def _entries(git: Git, commit: str) -> Iterator[_Entry]:
    """Every file of a commit. Raises Terminal for a path that leads elsewhere: a tree may hold any name."""
    for line in git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit).stdout.split(b"\0"):
        if not line:
            continue
        facts, path = os.fsdecode(line).split("\t", 1)
        mode, _, oid, size = facts.split()
        if not stays_below(path):
            raise Terminal(f"{commit[:12]} holds the path {visible(path)}, which leads elsewhere")
        yield _Entry(path, mode, oid, int(size) if size.isdecimal() else 0)


def _written(
    git: Git, tree: GitTree, entries: Sequence[_Entry], directory: Path, *, used: Collection[str]
) -> dict[str, Pointer]:
    """Write all entries, and return the pointers among those that are used. Raises OSError where that can't be."""
    for entry in entries:
        # A submodule is an empty folder, as in a clone without them.
        _make_folder(directory, entry.path if entry.mode == SUBMODULE else entry.path.rpartition("/")[0])
    links: dict[Path, bytes] = {}
    pointers: dict[str, Pointer] = {}
    for together in _batches(entry for entry in entries if entry.mode != SUBMODULE):
        large = together[0].size > _AT_ONCE
        contents = {} if large else tree.read(entry.oid for entry in together)
        for entry in together:
            path = directory / entry.path
            if entry.mode == _LINK and not large:
                links[path] = contents[entry.oid]
                continue
            with path.open("xb") as file:
                if large:
                    git.run("cat-file", "blob", entry.oid, sink=file)
                else:
                    file.write(contents[entry.oid])
            path.chmod(0o755 if int(entry.mode, 8) & 0o100 else 0o644)
            pointer = pointer_in(contents[entry.oid]) if entry.shown in used and not large else None
            if pointer is not None:
                pointers[entry.path] = pointer
    # Last, so that nothing is written through one.
    for path, target in links.items():
        path.symlink_to(os.fsdecode(target))
    return pointers


def _make_folder(directory: Path, folder: str) -> None:
    path = directory
    for part in folder.split("/") if folder else ():
        path /= part
        if not path.is_dir():
            path.mkdir()
            path.chmod(0o755)  # nobody's umask; the work folder above is private


def _batches(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Entries to be read together, in order; one that is too large for that by itself."""
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        if batch and size + entry.size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch
