"""JSON that others wrote; and JSON with positions: where each key, element and value stands, for errors to point there.

The standard parser decides what is valid and words the errors; the positions are those of texts known to be valid.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from json import JSONDecoder, loads
from typing import Any

from reconciler.model.errors import Place

KeyPath = tuple[str | int, ...]
_BLANK = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^ \t\r\n,\]}]+")
_DECODER = JSONDecoder()


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its offset. A number, true, false or null is the `word` that stands there; any other has none."""

    at: int
    value: Object | Array | str | None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A key with its offset, and its value."""

    key: str
    at: int
    node: Node


Object = tuple[Member, ...]
"""In the order of the text; a key that is given twice is there twice."""
Array = list[Node]


class TooDeep(ValueError):
    """Values within values beyond what the reader of this file takes; `at` is the offset of the first one."""

    def __init__(self, at: int) -> None:
        super().__init__("nested too deeply")
        self.at = at


class Places:
    """Offsets in the text of a file as lines and columns."""

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> Place:
        """The place of an offset."""
        line = bisect_right(self._lines, offset)
        return Place(self._path, line, offset - self._lines[line - 1] + 1)


def read(text: str, *, deepest: int | None = None) -> Node:
    """Read a valid JSON text. Raises TooDeep for a value that has more than `deepest` around it."""
    return _Reader(text, deepest).value()


def members(node: Node, path: KeyPath = ()) -> list[tuple[KeyPath, int]]:
    """Every key and list element in and below a value, in order, with its offset; a key that is given twice, twice."""
    found: list[tuple[KeyPath, int]] = []
    if isinstance(node.value, tuple):
        for member in node.value:
            below = (*path, member.key)
            found += [(below, member.at), *members(member.node, below)]
    elif isinstance(node.value, list):
        for number, item in enumerate(node.value):
            below = (*path, number)
            found += [(below, item.at), *members(item, below)]
    return found


def find(text: str, path: KeyPath) -> int:
    """The offset of a key or element, or of the innermost thing around it that there is."""
    known = dict(members(read(text)))
    while path and path not in known:
        path = path[:-1]
    return known.get(path, 0)


@dataclass
class _Reader:
    text: str
    deepest: int | None
    position: int = field(default=0)

    def value(self, *, depth: int = 0) -> Node:
        """The value that begins at or after the current position."""
        self._skip_blank()
        at = self.position
        if self.deepest is not None and depth > self.deepest:
            raise TooDeep(at)
        match self.text[at]:
            case "{":
                return Node(at, self._object(depth=depth + 1))
            case "[":
                return Node(at, self._array(depth=depth + 1))
            case '"':
                return Node(at, self._string())
            case _:
                word = _SCALAR.match(self.text, at)
                self.position = word.end() if word else at
                return Node(at, None, word[0] if word else "null")

    def _object(self, *, depth: int) -> Object:
        found = []
        while self._more("}"):
            at = self.position
            key = self._string()
            self._skip_blank()
            self.position += 1  # the colon
            found.append(Member(key, at, self.value(depth=depth)))
        return tuple(found)

    def _array(self, *, depth: int) -> Array:
        found = []
        while self._more("]"):
            found.append(self.value(depth=depth))
        return found

    def _more(self, closer: str) -> bool:
        """Step over an opener, a comma or the closer; whether another member follows."""
        self._skip_blank()
        if self.text[self.position] in "[{," and self.text[self.position] != closer:
            self.position += 1
            self._skip_blank()
        if self.text[self.position] == closer:
            self.position += 1
            return False
        return True

    def _string(self) -> str:
        value, self.position = _DECODER.raw_decode(self.text, self.position)
        return str(value)

    def _skip_blank(self) -> None:
        blank = _BLANK.match(self.text, self.position)
        self.position = blank.end() if blank else self.position


def json_object(content: bytes | str) -> dict[str, Any]:
    """The object of JSON that others wrote; empty where it is none, or is nested deeper than anybody reads.

    Half of a character, which JSON can say and no encoding takes, stands in it as its escape.
    """
    try:
        found = _whole(loads(content))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {_whole(name): _whole(one) for name, one in value.items()} if isinstance(value, dict) else value
