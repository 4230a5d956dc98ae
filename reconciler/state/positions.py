"""Where in a JSON text each key and element stands, so that an error can point there."""

from __future__ import annotations

import re
from collections.abc import Generator
from json import JSONDecoder

from reconciler.model.errors import Place

KeyPath = tuple[str | int, ...]
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = JSONDecoder()
_SCALAR = re.compile(r"[^\s,\]}]+")


def positions(text: str) -> list[tuple[KeyPath, int]]:
    """Every key and list element of a valid JSON text, in order, with its offset; a key that is given twice, twice."""
    return list(_walk(text, 0, ()))


def find(text: str, path: KeyPath) -> int:
    """The offset of a key or element, or of the innermost thing around it that there is."""
    known = dict(positions(text))
    while path and path not in known:
        path = path[:-1]
    return known.get(path, 0)


def place(path: str, text: str, offset: int) -> Place:
    """An offset as a line and column of a file."""
    return Place(path, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def _walk(text: str, at: int, path: KeyPath) -> Generator[tuple[KeyPath, int], None, int]:
    """Yield what is in the value that starts at `at`; return where it ends."""
    at = _after_blank(text, at)
    if text[at] == '"':
        return _DECODER.raw_decode(text, at)[1]
    if text[at] not in "{[":
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at
    keyed = text[at] == "{"
    at = _after_blank(text, at + 1)
    number = 0
    while text[at] not in "}]":
        key, end = _DECODER.raw_decode(text, at) if keyed else (number, at)
        member = (*path, key)
        yield member, at
        at = text.index(":", end) + 1 if keyed else end
        at = _after_blank(text, (yield from _walk(text, at, member)))
        if text[at] == ",":
            at = _after_blank(text, at + 1)
        number += 1
    return at + 1


def _after_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
