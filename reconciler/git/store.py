"""The object store: revisions, the files of one, and the checkout as a tree, by one `git cat-file --batch`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, TypeVar

from reconciler.git.command import Git
from reconciler.git.processes import read_line
from reconciler.model.errors import Terminal, UserError
from reconciler.model.text import decoded
from reconciler.model.tree import TreeEntry
from reconciler.model.values import is_commit_id

# The object store: what a revision names and what is in it, asked of one `git cat-file --batch`.

FOLDER, FILE, SUBMODULE = "040000", "100644", "160000"
"""Modes of a tree's entries."""
_UNASKABLE = frozenset(b"\0\n\r")
"""What no question holds: each is a line."""
_PIECE = 1 << 20
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


def find(git: Git, revision: str, *, most: int | None = None) -> Object | None:
    """The object that a revision names, read by git as on its command line; None where this clone has none such.

    Nor is one there, for whoever asks, that has more than `most` bytes.
    """
    return _ask(git, [revision], partial(_read_object, most=most))[0]


def find_all(git: Git, revisions: Iterable[str]) -> list[Object | None]:
    """The same for many, in their order. Raises Terminal if the object store is damaged."""
    return _ask(git, revisions, _read_object)


def holding(git: Git, revisions: Iterable[str], text: bytes, *, most: int) -> list[bool]:
    """Whether each of many holds a text. One at a time is in memory, and none that has more than `most` bytes."""

    def holds(answered: IO[bytes]) -> bool:
        found = _read_object(answered, most=most)
        return found is not None and text in found.content

    return [bool(held) for held in _ask(git, revisions, holds)]


def find_id(git: Git, revision: str) -> str | None:
    """The id of what a revision names, which may be as large as it likes: a tag stands on what somebody chose."""
    return find_ids(git, [revision])[0]


def find_ids(git: Git, revisions: Iterable[str]) -> list[str | None]:
    """The same for many, in their order."""
    return _ask(git, revisions, _read_id)


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


def _ask(git: Git, revisions: Iterable[str], answer: Callable[[IO[bytes]], T]) -> list[T | None]:
    names = [os.fsencode(revision) for revision in revisions]
    asked = [name + b"\n" for name in names if _UNASKABLE.isdisjoint(name)]
    answers = iter(git.batch("cat-file", "--batch").ask(asked, answer))
    return [next(answers) if _UNASKABLE.isdisjoint(name) else None for name in names]


def read(git: Git, revisions: Iterable[str]) -> dict[str, Object]:
    """The objects that are there, by what they were asked for. Raises Terminal if one is not."""
    asked = list(dict.fromkeys(revisions))
    found = dict(zip(asked, find_all(git, asked), strict=True))
    for revision, one in found.items():
        if one is None:
            raise Terminal(
                f"object {revision} is not in this clone",
                hint="a damaged or partial clone: `git fsck` names what is missing, `git fetch --refetch` brings it",
            )
    return {revision: one for revision, one in found.items() if one is not None}


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


def _read_object(answered: IO[bytes], *, most: int | None = None) -> Object | None:
    """One answer with its content; None where that has more than `most` bytes."""
    header = _read_header(answered)
    if header is None:
        return None
    oid, kind, size = header
    if most is not None and size > most:
        _pass_over(answered, size + 1)
        return None
    content = answered.read(size + 1)
    if len(content) <= size:
        raise EOFError
    return Object(oid, kind, content[:size])


def _read_id(answered: IO[bytes]) -> str | None:
    """One answer, whose content is passed over."""
    header = _read_header(answered)
    if header is None:
        return None
    _pass_over(answered, header[2] + 1)
    return header[0]


def _pass_over(answered: IO[bytes], left: int) -> None:
    while left:
        piece = answered.read(min(left, _PIECE))
        if not piece:
            raise EOFError
        left -= len(piece)


def _read_header(answered: IO[bytes]) -> tuple[str, str, int] | None:
    """`<id> <kind> <size>`, which the content and a newline follow; `<what was asked> missing` (git-cat-file(1))."""
    facts = read_line(answered).split()
    if len(facts) != 3 or not facts[2].isdigit():  # missing, ambiguous, a submodule's commit
        return None
    return facts[0].decode(), facts[1].decode(), int(facts[2])


# The files of one revision: its trees and the blobs in them, read as they are asked for.


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
    return f"{prefix}{decoded(entry.name)}{end}"


# The checkout: what in it differs from HEAD, and what it would be as a tree. Its index is never written to.


def dirty_paths(git: Git, paths: Iterable[str] = ()) -> tuple[str, ...]:
    """Files that differ from HEAD or are not tracked, at or below `paths` (absent: everywhere); ignored ones aside."""
    at = map(git.inside, paths)
    status = git.run("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *at)
    # `XY path`: two letters and a blank (git-status(1), "Porcelain Format Version 1").
    return tuple(git.outside(os.fsdecode(entry[3:])) for entry in status.stdout.split(b"\0") if entry)


@dataclass(frozen=True)
class Checkout:
    """What is checked out: None for the branch where HEAD is detached, and for the commit where there is none yet.

    `changed` says whether a tracked file or the index differs from it.
    """

    branch: str | None
    head: str | None
    changed: bool


def checked_out(git: Git) -> Checkout:
    """The checkout as it is now (git-status(1), "Porcelain Format Version 2")."""
    options = ("--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames", "--untracked-files=no")
    lines = [os.fsdecode(line) for line in git.run("status", *options).stdout.split(b"\0") if line]
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    branch, head = said["branch.head"], said["branch.oid"]
    return Checkout(
        branch=None if branch == "(detached)" else branch,
        head=None if head == "(initial)" else head,
        changed=any(not line.startswith("# ") for line in lines),
    )


def write_worktree(git: Git) -> str:
    """Store the work tree as a git tree, honouring .gitignore, and return the tree's id."""
    index = Path(git.run("rev-parse", "--git-path", "index").text)
    # Started from a copy of the checkout's index: what a sparse checkout leaves out is then not taken for deleted,
    # and files that did not change are not hashed again.
    with git.with_own_index(git.directory / index) as own:
        own.run("add", "--all")
        return own.run("write-tree").text
