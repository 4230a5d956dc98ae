"""What is wrong with a lockfile that could not be read: the first thing, where it stands, and how to mend it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from reconciler.model.errors import Place, UserError
from reconciler.model.lockfile import SCHEMA, Lockfile
from reconciler.state.positions import find, place, positions

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?: |$)", re.MULTILINE)


def explain(content: bytes, path: str) -> UserError:
    """The error for a lockfile that does not parse."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return UserError("not UTF-8", where=Place(path, line), mend=_take_back(path))
    conflict = _CONFLICT.search(text)
    if conflict:
        return UserError(
            f"a merge conflict was left here ({conflict[1]})",
            where=place(path, text, conflict.start()),
            mend=(
                "two lockfiles cannot be merged line by line; take one side whole:",
                f"`git checkout <commit> -- {path}`, commit it, and `reconciler reconcile` does the rest",
            ),
        )
    return _not_json(text, path) or _twice(text, path) or _newer(text, path) or _invalid(text, path)


def wrong_name(content: bytes, path: str, image: str) -> UserError:
    """The error for a lockfile that speaks of another image than its file name does."""
    text = content.decode("utf-8")
    return UserError(
        f'the lockfile of "{image}" has the name of another image',
        where=place(path, text, find(text, ("image",))),
        mend=f"name it state/{image}.lock.json; to rename an image, set `moved_from` in its image.yaml",
    )


def _not_json(text: str, path: str) -> UserError | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # Python reports an unterminated string only at the end of the text.
        if error.pos < len(text.rstrip()) and not error.msg.startswith("Unterminated string"):
            where = Place(path, error.lineno, error.colno)
            return UserError(f"not valid JSON: {error.msg}", where=where, mend=_take_back(path))
        what = "the file ends in the middle" if text.strip() else "the file is empty"
        return UserError(what, where=place(path, text, len(text.rstrip())), mend=_take_back(path))
    except RecursionError:
        return UserError("nested too deeply for a lockfile", where=Place(path), mend=_take_back(path))
    return None


def _twice(text: str, path: str) -> UserError | None:
    seen = set()
    for member, offset in positions(text):
        if member in seen:
            return UserError(
                f'the key "{member[-1]}" is given twice', where=place(path, text, offset), mend=_take_back(path)
            )
        seen.add(member)
    return None


def _newer(text: str, path: str) -> UserError | None:
    value = json.loads(text)
    schema = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(schema, int) or schema <= SCHEMA:
        return None
    return UserError(
        f"written by a newer reconciler: schema {schema}, and this one knows {SCHEMA}",
        where=place(path, text, find(text, ("schema",))),
        mend="run the newer version, the one that this repository's CI runs",
    )


def _invalid(text: str, path: str) -> UserError:
    try:
        Lockfile.model_validate_json(text)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        return UserError(
            _say(details[0]) + more,
            where=place(path, text, find(text, details[0]["loc"])),
            mend=_take_back(path),
        )
    return UserError("cannot be read", where=Place(path), mend=_take_back(path))


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
