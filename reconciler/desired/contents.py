"""File contents of one revision, read in few batches and parsed once."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from reconciler.desired.paths import LONGEST_PATH, Paths, canonical
from reconciler.model.errors import Place, UserError
from reconciler.model.text import decoded, shorten
from reconciler.model.tree import REGULAR_MODES, Tree, shown_alike

if TYPE_CHECKING:
    from reconciler.desired.packer.syntax import SourceFile

_LINK, _SUBMODULE = "120000", "160000"
_KINDS = {_LINK: "a symbolic link", _SUBMODULE: "a submodule"}
# Few, and the last ones used: a thousand syntax trees in memory cost a third of the time in garbage collection.
_KEPT = 32
_HOPS = 40
"""As many links as Linux follows on one path."""
MOST_READ = 4 << 20
"""Bytes of a file that anybody here reads. In the place of a larger one stands what has a byte more than that, and no
reader takes: whoever commits it may make a gigabyte of a few kilobytes."""
_TOO_LARGE = bytes(MOST_READ + 1)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Followed:
    """Where a path leads, once the symbolic links on its way are followed."""

    path: str | None
    """The path without links; None where one of them leads out of the repository, or in a circle."""
    links: tuple[str, ...] = ()
    """The links that were passed, each by its own path."""


class Contents:
    """What is in the files of a tree. `load` reads ahead; everything else finds the bytes in memory."""

    def __init__(self, tree: Tree) -> None:
        self.paths = Paths(tree.entries, below=tree.below)
        self._tree = tree
        self._blobs: dict[str, bytes] = {}
        self._parsed: dict[str, SourceFile | UserError] = {}
        self._kept: dict[tuple[str, str], object] = {}
        # Images that are built at the same time read their templates at the same time.
        self._parsing = threading.Lock()
        self._links = frozenset(path for path, entry in tree.entries.items() if entry.mode == _LINK)

    def load(self, paths: Iterable[str]) -> None:
        """Read the files that are not yet in memory, all in one call; of links, what they lead to as well."""
        if self._links:
            paths = [one for path in paths for one in self._on_the_way(path)]
        entries = (self.paths.entries[path] for path in paths if path in self.paths.entries)
        wanted = {entry.oid for entry in entries if entry.mode != _SUBMODULE} - self._blobs.keys()
        if wanted:
            self._take(sorted(wanted))

    def let_go(self, paths: Iterable[str]) -> None:
        """Keep these files in memory no longer. Whoever asks for one nevertheless has it read again."""
        for path in paths:
            if path in self.paths.entries:
                self._blobs.pop(self.paths.entries[path].oid, None)

    def _blob(self, oid: str) -> bytes:
        if oid not in self._blobs:
            self._take([oid])
        return self._blobs[oid]

    def _take(self, oids: Sequence[str]) -> None:
        self._blobs.update(dict.fromkeys(oids, _TOO_LARGE) | dict(self._tree.read(oids, most=MOST_READ)))

    def read(self, path: str) -> bytes:
        """The content of a loaded file, or of the file that a loaded link leads to.

        Raises:
            UserError: it is a submodule, or a link to something that is no file of this repository.
        """
        real = self.follow(path).path
        entry = self.paths.entries.get(real) if real is not None else None
        if entry is not None and entry.mode in REGULAR_MODES:
            return self._blob(entry.oid)
        if entry is not None:
            raise UserError(
                "this is a submodule, and is not followed", where=Place(path), hint="commit the file itself"
            )
        raise UserError(
            f"this link leads to {shorten(self.target(path) or '', limit=120)}, which is no file of this repository",
            where=Place(path),
            hint="commit what it leads to, or the file itself",
        )

    def read_itself(self, path: str) -> bytes:
        """The content of a loaded file. What declares something is reviewed where it stands, so no link is followed.

        Raises:
            UserError: it is a symbolic link or a submodule.
        """
        entry = self.paths.entries[path]
        if entry.is_alike:
            raise shown_alike(path)
        if entry.mode not in REGULAR_MODES:
            raise UserError(
                f"this is {_KINDS.get(entry.mode, 'no file')}, and is not followed",
                where=Place(path),
                hint="commit the file itself",
            )
        return self._blob(entry.oid)

    def is_file(self, path: str) -> bool:
        """Whether a path is a file, or a link to one in this repository."""
        real = self.follow(path).path
        entry = self.paths.entries.get(real) if real is not None else None
        return entry is not None and entry.mode in REGULAR_MODES

    def content(self, path: str) -> bytes | None:
        """What is in a file, loaded or not; None where there is none, or one that is too large to be read."""
        if not self.is_file(path):
            return None
        self.load([path])
        found = self.read(path)
        return found if found is not _TOO_LARGE else None

    def below(self, folder: str) -> Sequence[str]:
        """The paths of all files below a folder, at any depth."""
        return self.paths.under(folder)

    def hides(self, path: str) -> bool:
        """Whether a link or a submodule is in the way, so that git does not tell what is at a path or below it."""
        inner = self.paths.under(path)
        if inner:
            return any(self.paths.entries[one].mode not in REGULAR_MODES for one in inner)
        return bool(self.paths.at(path)) and not self.is_file(path)

    def follow(self, path: str) -> Followed:
        """Where a path leads. What is not there, and a link that leads nowhere, stay as they are written."""
        passed: list[str] = []
        while self._links and len(path) <= LONGEST_PATH:
            link = next((one for one in _prefixes(path) if one in self._links), None)
            if link is None:
                break
            passed.append(link)
            target = self.target(link) or ""
            joined = posixpath.normpath(posixpath.join(posixpath.dirname(link), target, path[len(link) :].lstrip("/")))
            real = None if target.startswith("/") else canonical(joined, below=self.paths.below)
            if real is None or len(passed) > _HOPS:
                return Followed(None, tuple(dict.fromkeys(passed)))
            path = real
        return Followed(path, tuple(passed))

    def at(self, path: str) -> list[str]:
        """What git has at a path: the links on the way to it, then the file, or all files of the folder."""
        followed = self.follow(path)
        return [*followed.links, *(self.paths.at(followed.path) if followed.path is not None else ())]

    def links(self) -> list[str]:
        """Every symbolic link of the revision."""
        return sorted(self._links)

    def target(self, path: str) -> str | None:
        """What a symbolic link says that it leads to; None for everything else."""
        if path not in self._links:
            return None
        oid = self.paths.entries[path].oid
        if oid not in self._blobs:
            # All of them: whoever meets one link meets others.
            self._take(sorted({self.paths.entries[link].oid for link in self._links}))
        return decoded(self._blobs[oid])

    def kept(self, path: str, make: Callable[[bytes], _T]) -> _T:
        """What `make` makes of a loaded file's content: once for each content, whichever image asks for it."""
        real = self.follow(path).path or path
        key = (f"{make.__module__}.{make.__qualname__}", self.paths.entries[real].oid)
        if key not in self._kept:
            self._kept[key] = make(self.read(real))
        return self._kept[key]  # type: ignore[return-value]  # the key names what made it

    def _on_the_way(self, path: str) -> list[str]:
        followed = self.follow(path)
        return [*followed.links, followed.path or path]

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


def _prefixes(path: str) -> Iterator[str]:
    """The folders that a path leads through, from the top, and the path itself."""
    end = 0
    while (end := path.find("/", end + 1)) > 0:
        yield path[:end]
    yield path
