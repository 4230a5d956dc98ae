"""JSON files of templates, as values with their places, and which files are a template's or hold its variables."""

from __future__ import annotations

import json
import posixpath
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from reconciler.desired.located import MAX_BYTES, Located, decode
from reconciler.model.errors import Place, UserError
from reconciler.model.json_text import KeyPath, Node, Places, TooDeep, members, read
from reconciler.model.text import shorten

MAX_DEPTH = 64
_SURROGATE = re.compile(r"[\ud800-\udfff]")


COMMENT = "//"
"""The key of a comment in HCL's JSON, wherever keys are attributes or blocks (hcl 2.24, json/structure.go)."""


def read_json(content: bytes, path: str, *, equal_keys: Literal["last", "refused", "blocks"] = "last") -> Located:
    """Read a JSON file. Of equal keys the last counts, or they are refused, as Packer does for JSON before HCL2.

    In HCL's JSON they are `blocks` of one type: what they hold is listed as if it had been written in one list, which
    knows where the second stood. Those that hold a text, a number or a truth can be no blocks, and are refused.

    Raises:
        UserError: it is too large, not JSON (with line and column), nested beyond reason, or has such keys.
    """
    text = decode(content, path, foreign="\ufffd")  # as Go reads JSON
    if content.startswith(BOM_UTF8):
        what = "the file begins with a byte order mark, and Packer reads no JSON that does"
        raise UserError(what, where=Place(path, 1, 1), hint="save it as UTF-8 without one")
    try:
        json.loads(text, parse_constant=_refuse_constant, parse_int=float)
    except json.JSONDecodeError as error:
        place = Place(path, error.lineno, error.colno)
        # Some messages of Python's end in "at", for the place to follow.
        what = f"not valid JSON: {error.msg.removesuffix(' at')}"
        raise UserError(what, where=place, hint="fix the line, or the one before") from error
    except RecursionError as error:
        raise _too_deep(Place(path)) from error
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=Place(path), hint="write a number") from error
    places = Places(text, path)
    try:
        root = read(text, deepest=MAX_DEPTH)
    except TooDeep as error:
        raise _too_deep(places.at(error.at)) from error
    if equal_keys == "refused":
        _refuse_equal_keys(root, places)
    return _located(root, places, joins=equal_keys == "blocks")


def _refuse_equal_keys(node: Node, places: Places) -> None:
    first: dict[KeyPath, int] = {}
    for path, at in members(node):
        if path and isinstance(path[-1], str) and (before := first.setdefault(path, at)) != at:
            raise _second(path[-1], places.at(at), first=places.at(before))


def equal_keys(content: bytes, path: str) -> Iterator[UserError]:
    """An error for each key at the top of a file that can be read and has it before; of comments there may be many."""
    text = decode(content, path, foreign="\ufffd")
    root, places = read(text, deepest=MAX_DEPTH), Places(text, path)
    first: dict[str, int] = {}
    for one in root.value if isinstance(root.value, tuple) else ():
        key = _text(one.key)
        if key != COMMENT and (before := first.setdefault(key, one.at)) != one.at:
            yield _second(key, places.at(one.at), first=places.at(before))


def _second(key: str, place: Place, *, first: Place) -> UserError:
    what = f'the key "{shorten(key)}" stands here a second time; the first is {first}'
    return UserError(what, where=place, hint="keep one of them")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _too_deep(place: Place) -> UserError:
    return UserError(f"more than {MAX_DEPTH} levels of nesting", where=place, hint="flatten the file")


def _located(node: Node, places: Places, place: Place | None = None, *, joins: bool) -> Located:
    """A value with its place; that of an object's member is its key's. Of equal keys the last counts, or it `joins`."""
    here = place or places.at(node.at)
    match node.value:
        case tuple():
            named: dict[str, Located] = {}
            for one in node.value:
                key, found = _text(one.key), _located(one.node, places, places.at(one.at), joins=joins)
                named[key] = _joined(key, named[key], found) if joins and key in named else found
            return Located(named, here)
        case list():
            return Located([_located(item, places, joins=joins) for item in node.value], here)
        case str():
            return Located(_text(node.value), here)
        case None:
            return Located(_scalar(node.word or "null"), here, node.word)


def refuse_twice(key: str, value: Located) -> None:
    """Refuse two equal keys of one object anywhere in the value of an argument, and an argument that is given twice.

    HCL's JSON takes them where they are blocks, never where they are arguments or in what one is given (hcl 2.24,
    json/structure.go: `Duplicate argument`, `Duplicate object attribute`).

    Raises:
        UserError: there are some.
    """
    waiting = [(key, value)]
    while waiting:
        name, one = waiting.pop()
        if one.again is not None:
            raise _second(name, one.again, first=one.place)
        if isinstance(one.value, dict):
            waiting += one.value.items()
        elif isinstance(one.value, list):
            waiting += [("", item) for item in one.value]


def _joined(key: str, first: Located, second: Located) -> Located:
    """What two equal keys hold, as one list; of two comments the second."""
    if key == COMMENT:
        return replace(second, place=first.place, again=second.place)
    found: list[Located] = []
    for one in (first, second):
        if isinstance(one.value, list):
            found += one.value
        elif one.value is not None:
            found.append(one)
    if not all(isinstance(one.value, (dict, list, type(None))) for one in found):
        raise _second(key, second.place, first=first.place)
    return Located(found, first.place, again=first.again or second.place)


def _text(written: str) -> str:
    # Half of a pair stands for no character. Go, and so Packer, reads it like this.
    return _SURROGATE.sub("\ufffd", written)


def _scalar(word: str) -> int | float | bool | None:
    if word in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[word]
    return int(word) if word.lstrip("-").isdigit() and len(word) < 20 else float(word)


# Which files are a template's, or hold its variables: by their names, and of JSON by what is at its top.

FOLDER_SUFFIXES = (".pkr.hcl", ".pkr.json")
"""What Packer reads of a folder; not its subfolders."""
AUTO_VARIABLES = (".auto.pkrvars.hcl", ".auto.pkrvars.json")


def is_hcl2(path: str) -> bool:
    """Whether a template is HCL2, in either syntax, by its name."""
    return path.endswith(FOLDER_SUFFIXES)


def may_be_legacy(path: str) -> bool:
    """Whether a file may be a JSON template from before HCL2, by its name."""
    return path.endswith(".json") and not path.endswith((".pkr.json", ".pkrvars.json"))


def is_legacy(content: bytes, path: str) -> bool:
    """Whether a JSON file has `builders` at its top. False for anything that can't be read."""
    if len(content) > MAX_BYTES or b'"builders"' not in content.lower():
        return False
    try:
        root = read_json(content, path)
    except UserError:
        # It says that it is one; the reader of templates reports what is wrong with it.
        return True
    return isinstance(root.value, dict) and "builders" in map(str.lower, root.value)


def why_not_legacy(content: bytes) -> str:
    """Why a JSON file is no template, where `is_legacy` says so."""
    if len(content) > MAX_BYTES:
        return f"it has more than {MAX_BYTES:,} bytes, and no more are read"
    return 'it has no "builders"' if content.strip() else "it is empty"


def folder_of(path: str) -> str:
    """The folder that a file is in; `.` for the repository's root."""
    return posixpath.dirname(path) or "."
