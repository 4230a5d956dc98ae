"""The object store: what a revision names, and the files of one, asked of one `git cat-file --batch`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import IO, TypeVar

from reconciler.git.command import Git
from reconciler.git.processes import Refused, read_line
from reconciler.model.errors import Terminal, UserError
from reconciler.model.text import decoded, shorten
from reconciler.model.tree import MOST_READ_WHOLE, TreeEntry
from reconciler.model.values import is_commit_id

FOLDER, FILE, SUBMODULE = "040000", "100644", "160000"
"""Modes of a tree's entries."""
_UNASKABLE = frozenset(b"\0\n\r")
"""What no question holds: each is a line."""
LONGEST_SIGNED = 8 << 20
"""Bytes of a commit or tag that is read, or handed on to whoever checks its signature."""
MOST_ENTRIES, MOST_OF_PATHS = 1_000_000, 256 << 20
"""Files and folders of a revision that are listed, and bytes of their paths. Nine folders within each other, each with
the next one ten times, are ten trees to push and a thousand million files."""
_MORE = re.compile(r"[\^~:]|@\{")
"""What stands behind a name in a revision: `main~2`, `v1^{tree}`, `main:state`, `main@{1}`."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Object:
    """An object: a blob, tree, commit or annotated tag. `content` is what its id is the digest of, header aside."""

    oid: str
    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tree object holds under a name, which is in no encoding. `mode` has six digits."""

    name: bytes
    mode: str
    oid: str


@dataclass(frozen=True, slots=True)
class Header:
    """What git tells of an object without reading it. `size` is in bytes."""

    oid: str
    kind: str
    size: int


def find(git: Git, revision: str, *, most: int = MOST_READ_WHOLE) -> Object | None:
    """The object that a revision names, read by git as on its command line; None where this clone has none such.

    Nor is one there, for whoever asks, that has more than `most` bytes.
    """
    (found,) = _take(git, [revision], _as_it_is, most=most)
    return found if isinstance(found, Object) else None


def find_all(git: Git, revisions: Iterable[str]) -> list[Object | None]:
    """The same for many, in their order.

    Raises:
        UserError: one of them is larger than anything that is read.
        Terminal: the object store is damaged.
    """
    asked = list(revisions)
    found = _take(git, asked, _as_it_is, most=MOST_READ_WHOLE)
    for revision, one in zip(asked, found, strict=True):
        if isinstance(one, Header):
            raise too_large(revision, one.size)
    return [one if isinstance(one, Object) else None for one in found]


def holding(git: Git, revisions: Iterable[str], text: bytes, *, most: int) -> list[bool]:
    """Whether each of many holds a text. One at a time is in memory, and none that has more than `most` bytes."""
    return [held is True for held in _take(git, list(revisions), lambda found: text in found.content, most=most)]


def find_id(git: Git, revision: str) -> str | None:
    """The id of what a revision names, which may be as large as it likes: a tag stands on what somebody chose."""
    return find_ids(git, [revision])[0]


def find_ids(git: Git, revisions: Iterable[str]) -> list[str | None]:
    """The same for many, in their order."""
    return [header.oid if header is not None else None for header in headers(git, revisions)]


def headers(git: Git, revisions: Iterable[str]) -> list[Header | None]:
    """What is known of each object without reading it, in their order; None where this clone has none such."""
    return _ask(git, "--batch-check", revisions, _read_header)


def too_large(what: str, size: int, *, most: int = MOST_READ_WHOLE) -> UserError:
    """The error for an object that is larger than anything that belongs here: its size is known before it is read."""
    return UserError(
        f"{shorten(what, limit=120)} has {size:,} bytes, and at most {most:,} are read",
        hint="`git log --raw` shows which commit brought it: leave that out",
    )


def refuse_two_meanings(git: Git, revision: str) -> None:
    """Raise UserError for a name that a tag and a branch have: git takes the tag, which somebody may have pushed."""
    name = _MORE.split(revision, maxsplit=1)[0]
    if name in ("HEAD", "@", "") or name.startswith("refs/") or is_commit_id(name):
        return
    if find_id(git, f"refs/tags/{name}") is None:
        return
    for branch in (f"refs/heads/{name}", f"refs/remotes/{name}", f"refs/remotes/{name}/HEAD"):
        if find_id(git, branch) is not None:
            raise UserError(
                f'"{name}" is a branch, and somebody calls a tag so as well',
                hint=f"say which: `{branch}`, or the tag, `refs/tags/{name}`",
            )


def read(git: Git, revisions: Iterable[str], *, most: int | None = None) -> dict[str, Object]:
    """The objects that are there, by what they were asked for; those of more than `most` bytes are left out.

    Raises Terminal if one is not there. Without `most`, raises UserError if one is larger than anything that is read.
    """
    asked = list(dict.fromkeys(revisions))
    found = _take(git, asked, _as_it_is, most=MOST_READ_WHOLE if most is None else most)
    there: dict[str, Object] = {}
    for revision, one in zip(asked, found, strict=True):
        if one is None:
            raise not_there(revision)
        if isinstance(one, Object):
            there[revision] = one
        elif most is None:
            raise too_large(revision, one.size)
    return there


def not_there(revision: str) -> Terminal:
    """The error for an object that has to be there, and is not."""
    return Terminal(
        f"object {revision} is not in this clone",
        hint="a damaged or partial clone: `git fsck` names what is missing, `git fetch --refetch` brings it",
    )


def size_of(git: Git, oid: str) -> int:
    """The bytes of an object that is there. Raises Terminal where it is not."""
    (found,) = headers(git, [oid])
    if found is None:
        raise not_there(oid)
    return found.size


def read_folder(tree: Object) -> tuple[Entry, ...]:
    """What a tree object holds, in its order (gitformat-tree: `<mode> <name>`, a NUL, the id in bytes)."""
    found = []
    digest_size = len(tree.oid) // 2
    start = 0
    while start < len(tree.content):
        blank = tree.content.index(b" ", start)
        end = tree.content.index(b"\0", blank)
        mode, name = tree.content[start:blank], tree.content[blank + 1 : end]
        start = end + 1 + digest_size
        found.append(Entry(name, _canonical(mode), tree.content[end + 1 : start].hex()))
    return tuple(found)


@cache
def _canonical(mode: bytes) -> str:
    """A mode as git shows it and writes it anew: of the bits that old trees hold it heeds one (its `canon_mode`)."""
    number = int(mode, 8)
    match stat.S_IFMT(number):
        case stat.S_IFREG:
            return "100755" if number & stat.S_IXUSR else FILE
        case stat.S_IFLNK:
            return "120000"
        case stat.S_IFDIR:
            return FOLDER
        case _:
            return SUBMODULE


# How git is asked. `git cat-file --batch` says of an object how large it is before it says what is in it.


def _take(
    git: Git, revisions: Sequence[str], take: Callable[[Object], T], *, most: int
) -> list[T | Header | None]:  # fmt: skip
    """What is taken of each object, in their order: of one that has more than `most` bytes no more than its header.

    One after the other is in memory, and one question is asked for each. Where one is too large, git is ended before
    it has said what is in it, and all are asked for anew, sizes first: that one is to be met once.
    """

    def answer(answered: IO[bytes]) -> T | None:
        header = _read_header(answered)
        if header is None:
            return None
        if header.size > most:
            raise Refused
        return take(_read_content(answered, header))

    try:
        return [*_ask(git, "--batch", revisions, answer)]
    except Refused:
        found = headers(git, revisions)
    small = [header.oid for header in found if header is not None and header.size <= most]
    taken = iter(_ask(git, "--batch", small, answer))
    return [next(taken) if header is not None and header.size <= most else header for header in found]


def _ask(git: Git, how: str, revisions: Iterable[str], answer: Callable[[IO[bytes]], T | None]) -> list[T | None]:
    """The answers of a `git cat-file` to what it can be asked; None where a revision is more than a line."""
    names = [os.fsencode(revision) for revision in revisions]
    asked = [name + b"\n" for name in names if _UNASKABLE.isdisjoint(name)]
    answers = iter(git.batch("cat-file", how).ask(asked, answer))
    return [next(answers) if _UNASKABLE.isdisjoint(name) else None for name in names]


def _as_it_is(found: Object) -> Object:
    return found


def _read_content(answered: IO[bytes], header: Header) -> Object:
    """The object that a header tells of: what follows it, and a newline."""
    content = answered.read(header.size)
    if len(content) < header.size or not answered.read(1):
        raise EOFError
    return Object(header.oid, header.kind, content)


def _read_header(answered: IO[bytes]) -> Header | None:
    """`<id> <kind> <size>`, which the content and a newline follow; `<what was asked> missing` (git-cat-file(1))."""
    facts = read_line(answered).split()
    if len(facts) != 3 or not facts[2].isdigit():  # missing, ambiguous, a submodule's commit
        return None
    return Header(facts[0].decode(), facts[1].decode(), int(facts[2]))


# The files of one revision: its trees and the blobs in them, read as they are asked for.


@dataclass(frozen=True)
class GitTree:
    """One revision's files; a `reconciler.model.tree.Tree`."""

    oid: str
    entries: Mapping[str, TreeEntry]
    git: Git = field(repr=False, compare=False)
    files: tuple[TreeEntry, ...] = field(repr=False, compare=False)
    """Every file with its path from the repository's root, also one that another is shown as."""

    @property
    def below(self) -> str:
        """The fleet's folder as seen from the repository's root."""
        return self.git.below

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        """The contents of blobs by object id, asked for in one go; those of more than `most` bytes are left out.

        Raises:
            UserError: without `most`, one is larger than anything that is read.
            Terminal: one is not there.
        """
        return {oid: found.content for oid, found in read(self.git, oids, most=most).items()}

    @property
    def submodules(self) -> tuple[str, ...]:
        """Paths at which another repository is mounted; their files are in no tree of ours."""
        return tuple(path for path, entry in self.entries.items() if entry.mode == SUBMODULE)


def read_tree(git: Git, oid: str) -> GitTree:
    """List every file of a commit or tree.

    Of the trees in it those are read that no revision had which was listed before: a commit of one lockfile leaves all
    but a few of them as they were.

    Raises:
        UserError: there are more files than are listed, or their paths are longer.
        Terminal: a tree is not there.
    """
    (root,) = read(git, [f"{oid}^{{tree}}"]).values()
    folders = {root.oid: read_folder(root)}
    new: list[tuple[str, bytes]] = []
    level = [(root.oid, b"")]
    bounds = _Bounds(oid)
    while level:
        bounds.take_listed(git.listings[folder] for folder in level if folder in git.listings)
        level = [folder for folder in level if folder not in git.listings]
        unread = read(git, (oid for oid, _prefix in level if oid not in folders))
        folders |= {oid: read_folder(found) for oid, found in unread.items()}
        for folder, prefix in level:
            bounds.take(folders[folder], prefix)
        new += level
        level = [
            (entry.oid, b"%s%s/" % (prefix, entry.name))
            for oid, prefix in level
            for entry in folders[oid]
            if entry.mode == FOLDER
        ]
    for folder_at in reversed(new):  # what is in a folder comes after it
        git.listings[folder_at] = tuple(_files(git, folders[folder_at[0]], folder_at[1]))
    files = git.listings[root.oid, b""]
    return GitTree(oid, MappingProxyType(_by_path(_seen(git, files))), git, files)


@dataclass
class _Bounds:
    """How much of a revision was listed so far. Raises UserError where that is more than there can be."""

    revision: str
    entries: int = 0
    length: int = 0

    def take(self, folder: Sequence[Entry], prefix: bytes) -> None:
        """Count what is directly in a folder, before it is listed."""
        self._add(len(folder), len(folder) * len(prefix) + sum(len(entry.name) for entry in folder))

    def take_listed(self, listings: Iterable[Sequence[TreeEntry]]) -> None:
        """Count files that were listed for another revision."""
        for files in listings:
            self._add(len(files), 0)

    def _add(self, entries: int, length: int) -> None:
        self.entries += entries
        self.length += length
        if self.entries > MOST_ENTRIES or self.length > MOST_OF_PATHS:
            raise UserError(
                f"{self.revision[:12]} holds more than {MOST_ENTRIES:,} files and folders, or paths that are too long: "
                "no more are listed",
                hint=f"`git ls-tree {self.revision[:12]}` shows one folder at a time: leave out what is not meant",
            )


def _by_path(files: Iterable[TreeEntry]) -> dict[str, TreeEntry]:
    """Files by the path that is shown. One that another is shown as as well is told by `is_alike`."""
    found: dict[str, TreeEntry] = {}
    for file in files:
        other = found.setdefault(file.path, file)
        if other is not file:
            found[file.path] = replace(other, is_alike=True)
    return found


def _seen(git: Git, files: Iterable[TreeEntry]) -> Iterable[TreeEntry]:
    """Files of the repository's root as they are seen from the fleet's folder."""
    return (replace(file, path=git.outside(file.path)) for file in files) if git.below else files


def _files(git: Git, folder: Iterable[Entry], prefix: bytes) -> Iterator[TreeEntry]:
    """Every file in and below a folder whose own folders are listed."""
    for entry in folder:
        path = prefix + entry.name
        if entry.mode == FOLDER:
            yield from git.listings[entry.oid, path + b"/"]
            continue
        try:
            yield TreeEntry(path.decode(), entry.mode, entry.oid)
        except UnicodeDecodeError:
            # Shown escaped: it has to fit into JSON, and its content is read by object id anyway.
            yield TreeEntry(decoded(path), entry.mode, entry.oid, written=path)
