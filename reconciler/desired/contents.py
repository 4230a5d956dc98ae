"""File contents of one revision, read in few batches and parsed once."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from reconciler.desired.paths import ROOT, Paths, resolve
from reconciler.model.errors import Place, UserError
from reconciler.model.tree import REGULAR_MODES, Tree

if TYPE_CHECKING:
    from reconciler.desired.packer.syntax import SourceFile

_LINK, _SUBMODULE = "120000", "160000"
_KINDS = {_LINK: "a symbolic link", _SUBMODULE: "a submodule"}
# Few, and the last ones used: a thousand syntax trees in memory cost a third of the time in garbage collection.
_KEPT = 32
_MAX_LINKS = 8
"""Links to links. Linux gives up at 40; nobody has as many."""


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
        """Read the files that are not yet in memory, and those that links among them lead to, in as few calls."""
        waiting = [path for path in paths if path in self.paths.entries]
        for _ in range(_MAX_LINKS):
            entries = [self.paths.entries[path] for path in waiting]
            wanted = {entry.oid for entry in entries if entry.mode != _SUBMODULE} - self._blobs.keys()
            if wanted:
                self._blobs.update(self._tree.read(sorted(wanted)))
            links = [entry.path for entry in entries if entry.mode == _LINK]
            led_to = (self._led_to(link) for link in links)
            waiting = [path for path in led_to if path is not None and path in self.paths.entries]
            if not waiting:
                return

    def read(self, path: str) -> bytes:
        """The content of a loaded file, or of the one that a link leads to.

        Raises:
            UserError: it is a submodule, or a link that leads to no file of the repository.
        """
        followed = self.followed(path)
        if followed is None:
            kind = _KINDS.get(self.paths.entries[path].mode, "no file")
            raise UserError(
                f"this is {kind} that leads to no file of the repository",
                where=Place(path),
                mend="commit the file itself, or name what it leads to in image.yaml",
            )
        return self._blobs[self.paths.entries[followed].oid]

    def followed(self, path: str) -> str | None:
        """The path of the file that a path stands for, through links; None if it is no file of the repository."""
        for _ in range(_MAX_LINKS):
            entry = self.paths.entries.get(path)
            if entry is None or entry.mode in REGULAR_MODES:
                return None if entry is None else path
            if entry.mode != _LINK:
                return None
            self.load([path])
            path = self._led_to(path) or ""
        return None

    def _led_to(self, link: str) -> str | None:
        written = self.target(link)
        return None if written is None or written.startswith("/") else resolve(written, posixpath.dirname(link) or ROOT)

    def content(self, path: str) -> bytes | None:
        """What is in a file, loaded or not; None where there is none. It is read as the build finds it."""
        followed = self.followed(path)
        if followed is None:
            return None
        self.load([followed])
        return self._blobs[self.paths.entries[followed].oid]

    def below(self, folder: str) -> Sequence[str]:
        """The paths of all files below a folder, at any depth."""
        return self.paths.under(folder)

    def hides(self, path: str) -> bool:
        """Whether a link or a submodule is in the way, so that git does not tell what is at a path or below it."""
        inner = self.paths.under(path)
        if inner:
            return any(self.paths.entries[one].mode not in REGULAR_MODES for one in inner)
        return bool(self.paths.at(path)) and self.followed(path) is None

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
