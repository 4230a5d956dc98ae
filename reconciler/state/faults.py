"""What is wrong with a lockfile that could not be read: the first thing, where it stands, and how to fix it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from reconciler import __version__
from reconciler.model.errors import Place, UserError
from reconciler.model.json_text import Places, find, members, read
from reconciler.model.lockfile import SCHEMA, Lockfile
from reconciler.model.text import and_more

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?: |$)", re.MULTILINE)
_STOPPED = re.compile(r"^Invalid JSON: (?P<why>.*) at line (?P<line>\d+) column (?P<column>\d+)$")
"""What pydantic says of JSON that Python takes."""
_LONG = 20
"""Digits of a whole number that no lockfile has."""
_SYNTAX = {
    "Invalid control character at": "a line break or control character inside of a text",
    "Unexpected UTF-8 BOM (decode using utf-8-sig)": "it begins with a byte order mark",
    "Extra data": "there is more after its end",
}
"""What of Python's words for bad JSON says nothing by itself."""


def explain(content: bytes, path: str) -> UserError:
    """The error for a lockfile that does not parse."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return UserError("not UTF-8", where=Place(path, line), hint=_take_back(path))
    conflict = _CONFLICT.search(text)
    if conflict:
        return UserError(
            f"a merge conflict was left here ({conflict[1]})",
            where=Places(text, path).at(conflict.start()),
            hint=(
                "two lockfiles cannot be merged line by line; take one side whole:",
                f"`git checkout <commit> -- {path}`, commit it, and `reconciler reconcile` does the rest",
            ),
        )
    try:
        return _not_json(text, path) or _not_a_lockfile(text, path)
    except RecursionError:
        return UserError("nested too deeply for a lockfile", where=Place(path), hint=_take_back(path))


def too_large(content: bytes, path: str, *, largest: int) -> UserError:
    """The error for a file that is larger than any lockfile, or has more values in it: none of it is read."""
    if len(content) > largest:
        what = f"the file has more than {largest:,} bytes, and no more are read of a lockfile"
    else:
        what = "the file holds more values than any lockfile"
    return UserError(what, where=Place(path), hint=_take_back(path))


def wrong_name(content: bytes, path: str, image: str) -> UserError:
    """The error for a lockfile that speaks of another image than its file name does."""
    text = content.decode("utf-8")
    return UserError(
        f'the lockfile of "{image}" has the name of another image',
        where=Places(text, path).at(find(text, ("image",))),
        hint=f"name it state/{image}.lock.json; to rename an image, set `moved_from` in its image.yaml",
    )


def _not_json(text: str, path: str) -> UserError | None:
    try:
        _value(text)
    except json.JSONDecodeError as error:
        # Python reports an unterminated string only at the end of the text.
        if error.pos < len(text.rstrip()) and not error.msg.startswith("Unterminated string"):
            what = f"not valid JSON: {_SYNTAX.get(error.msg, error.msg)}"
            return UserError(what, where=Place(path, error.lineno, error.colno), hint=_take_back(path))
        what = "the file ends in the middle" if text.strip() else "the file is empty"
        return UserError(what, where=Places(text, path).at(len(text.rstrip())), hint=_take_back(path))
    return None


def _value(text: str) -> object:
    # Python refuses to read a whole number of more than 4300 digits, which is valid JSON.
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < _LONG else float(digits))


def _not_a_lockfile(text: str, path: str) -> UserError:
    """What is wrong with a text that is valid JSON."""
    return _twice(text, path) or _newer(text, path) or _unnumbered(text, path) or _invalid(text, path)


def _twice(text: str, path: str) -> UserError | None:
    seen = set()
    for member, offset in members(read(text)):
        if member in seen:
            return UserError(
                f'the key "{member[-1]}" is given twice', where=Places(text, path).at(offset), hint=_take_back(path)
            )
        seen.add(member)
    return None


def _newer(text: str, path: str) -> UserError | None:
    value = _value(text)
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(schema, int) or schema <= SCHEMA:
        return None
    return UserError(
        f"written by a newer reconciler: schema {schema}, and this one knows {SCHEMA}",
        where=Places(text, path).at(find(text, ("schema",))),
        hint=_update(path),
    )


def _unnumbered(text: str, path: str) -> UserError | None:
    value = _value(text)
    if not isinstance(value, dict) or "schema" in value:
        return None
    return UserError('the lockfile lacks the key "schema"', where=Place(path, 1, 1), hint=_take_back(path))


def _invalid(text: str, path: str) -> UserError:
    try:
        Lockfile.model_validate_json(text)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        if stopped := _STOPPED.search(details[0]["msg"]):
            where = Place(path, int(stopped["line"]), int(stopped["column"]))
            return UserError(f"not valid JSON: {stopped['why']}", where=where, hint=_take_back(path))
        more = and_more(len(details) - 1, " (and {} more)")
        unknown = next((one for one in details if one["type"] in _UNKNOWN), None)
        if unknown is not None:
            by = "a newer reconciler" if _is_canonical(text) else "a newer reconciler, or by hand"
            where = Places(text, path).at(find(text, unknown["loc"]))
            return UserError(f"written by {by}: {_say(unknown)}", where=where, hint=_update(path))
        return UserError(
            _say(details[0]) + more,
            where=Places(text, path).at(find(text, details[0]["loc"])),
            hint=_take_back(path),
        )
    return UserError("cannot be read", where=Place(path), hint=_take_back(path))


_UNKNOWN = frozenset({"extra_forbidden", "literal_error", "enum", "union_tag_invalid"})
"""What pydantic says of a key or a word that its model does not have: those of a later version look so."""


def _is_canonical(text: str) -> bool:
    """Whether a text is laid out as lockfiles are written: then no person wrote it."""
    return text == f"{json.dumps(_value(text), sort_keys=True, indent=2, ensure_ascii=False)}\n"


def _update(path: str) -> tuple[str, ...]:
    # Never the last version that can be read: what was recorded since would be lost.
    return (
        f"update reconciler, which is {__version__} here: this repository's CI runs what wrote it",
        f"`git log -p -- {path}` shows when, and whether it was somebody's hand",
    )


def _say(detail: ErrorDetails) -> str:
    *around, name = detail["loc"] or ("the lockfile",)
    match detail["type"]:
        case "extra_forbidden":
            return f'unknown key "{name}"'
        case "missing":
            return f'{".".join(map(str, around)) or "the lockfile"} lacks the key "{name}"'
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case _:
            return f"{name}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _take_back(path: str) -> tuple[str, ...]:
    return (
        "lockfiles are written by reconciler; take the last good one back:",
        f"`git log -- {path}`, then `git checkout <commit> -- {path}`",
    )
