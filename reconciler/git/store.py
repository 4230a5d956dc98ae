"""The object store: what a revision names and what is in it, asked of one `git cat-file --batch`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import IO, TypeVar

from reconciler.git.batch import read_line
from reconciler.git.command import Git
from reconciler.model.errors import Terminal

FOLDER, FILE, SUBMODULE = "040000", "100644", "160000"
"""Modes of a tree's entries."""
_UNASKABLE = frozenset(b"\0\n\r")
"""What no question holds: each is a line."""
_PIECE = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class Object:
    """An object: a blob, tree, commit or annotated tag. `content` is what its id is the digest of, header aside."""

    oid: str
    kind: str
    content: bytes


@dataclass(frozen=True)
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


def find_id(git: Git, revision: str) -> str | None:
    """The id of what a revision names, which may be as large as it likes: a tag stands on what somebody chose."""
    return _ask(git, [revision], _read_id)[0]


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
                mend="a damaged or partial clone: `git fsck` names what is missing, `git fetch --refetch` brings it",
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
