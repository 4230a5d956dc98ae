"""File contents of one revision, read in few batches and parsed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconciler.desired.paths import Paths
from reconciler.model.errors import Place, UserError
from reconciler.model.tree import REGULAR_MODES, Tree

if TYPE_CHECKING:
    from reconciler.desired.packer.syntax import SourceFile

_LINK, _SUBMODULE = "120000", "160000"
_KINDS = {_LINK: "a symbolic link", _SUBMODULE: "a submodule"}
# Few, and the last ones used: a thousand syntax trees in memory cost a third of the time in garbage collection.
_KEPT = 32


class Contents:
    """What is in the files of a tree. `load` reads ahead; everything else finds the bytes in memory."""

    def __init__(self, tree: Tree) -> None:
        self.paths = Paths(tree.entries)
        self._tree = tree
        self._blobs: dict[str, bytes] = {}
        self._parsed: dict[str, SourceFile | UserError] = {}
        # Images that are built at the same time read their templates at the same time.
        self._parsing = threading.Lock()

    def load(self, paths: Iterable[str]) -> None:
        """Read the files that are not yet in memory, all in one call."""
        entries = (self.paths.entries[path] for path in paths if path in self.paths.entries)
        wanted = {entry.oid for entry in entries if entry.mode != _SUBMODULE} - self._blobs.keys()
        if wanted:
            self._blobs.update(self._tree.read(sorted(wanted)))

    def read(self, path: str) -> bytes:
        """The content of a loaded file.

        Raises:
            UserError: it is a symbolic link or a submodule: what it leads to would not be part of the key.
        """
        entry = self.paths.entries[path]
        if entry.mode not in REGULAR_MODES:
            raise UserError(
                f"this is {_KINDS.get(entry.mode, 'no file')}, and is not followed",
                where=Place(path),
                mend="commit the file itself, or name what it leads to in image.yaml",
            )
        return self._blobs[entry.oid]

    def links(self) -> list[str]:
        """Every symbolic link of the revision."""
        return [path for path, entry in self.paths.entries.items() if entry.mode == _LINK]

    def target(self, path: str) -> str | None:
        """What a loaded symbolic link says that it leads to; None for everything else."""
        entry = self.paths.entries[path]
        return self._blobs[entry.oid].decode(errors="replace") if entry.mode == _LINK else None

    def parsed(self, path: str, parse: Callable[[bytes, str], SourceFile]) -> SourceFile:
        """A loaded file, parsed once where images that are read soon after each other share it.

        Raises:
            UserError: as `parse` does, each time anew.
        """
        with self._parsing:
            result = self._parsed.pop(path, None)
            if result is None:
                try:
                    result = parse(self.read(path), path)
                except UserError as error:
                    result = error
            self._parsed[path] = result
            if len(self._parsed) > _KEPT:
                del self._parsed[next(iter(self._parsed))]
        if isinstance(result, UserError):
            raise result
        return result
