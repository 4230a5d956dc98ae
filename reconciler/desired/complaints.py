"""Turns a pydantic report into sentences with a place and a mend."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.desired.located import Located, Path, shorten
from reconciler.model.errors import UserError

_M = TypeVar("_M", bound=BaseModel)

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "date": "a date such as 2026-12-01",
}
_LISTED = 20
_SCALAR_WANTED = frozenset({"string_type", "tuple_type"})


def validate(model: type[_M], document: Located) -> tuple[_M | None, tuple[UserError, ...]]:
    """Make a model of a document.

    An unquoted scalar that is not text by itself (`123456789012`, `true`) is taken as written where text is wanted.

    Returns:
        The model and nothing, or None and every problem in order of place.
    """
    as_text: set[Path] = set()
    try:
        return model.model_validate(document.plain()), ()
    except ValidationError as error:
        as_text = {document.follow(_path(e))[0] for e in error.errors() if e["type"] in _SCALAR_WANTED}
    try:
        return model.model_validate(document.plain(as_text=as_text)), ()
    except ValidationError as error:
        return None, _complaints(model, document, errors=error.errors())


def as_one(problems: Sequence[UserError]) -> UserError:
    """One error for several problems, of which there is at least one: the first, naming the others."""
    first, *others = problems
    return UserError(first.what, where=first.where, mend=(*first.mend, *(f"also {other}" for other in others)))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, or None."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def did_you_mean(name: str, known: Collection[str], *, none: str) -> str:
    """The mend for an unknown name: the nearest known one, else those there are, else `none`."""
    guess = nearest(name, known)
    if guess is not None:
        return f'did you mean "{guess}"?'
    if not known:
        return none
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"known here: {', '.join(sorted(known)[:_LISTED])}{more}"


def _path(error: ErrorDetails) -> Path:
    return tuple(error["loc"])


def _complaints(model: type[BaseModel], document: Located, *, errors: Iterable[ErrorDetails]) -> tuple[UserError, ...]:
    """One complaint a place: a union reports each of its members, and they are read as alternatives."""
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        path = _path(error)
        if error["type"] == "extra_forbidden":
            by_path.setdefault(path, []).append(error)
        else:
            by_path.setdefault(document.follow(path)[0], []).append(error)
    found = [_complaint(model, document, path=path, errors=group) for path, group in by_path.items()]
    return tuple(sorted(found, key=lambda one: (one.where.path, one.where.line) if one.where else ("", 0)))


def _complaint(model: type[BaseModel], document: Located, *, path: Path, errors: list[ErrorDetails]) -> UserError:
    kind = errors[0]["type"]
    value = document.follow(path)[1]
    if kind == "extra_forbidden":
        name = str(path[-1])
        mend = did_you_mean(name, _keys(_annotation(model, path[:-1])), none="remove it")
        return UserError(f'unknown key "{shorten(name)}"', where=value.place, mend=mend)
    what, mend = _sentence(value, path=path, errors=errors, annotation=_annotation(model, path))
    return UserError(f"{_spell(path)}{what}", where=value.place, mend=mend or ())


def _sentence(value: Located, *, path: Path, errors: list[ErrorDetails], annotation: Any) -> tuple[str, str]:
    """What is wrong, and the mend; empty where the sentence says it already."""
    error = errors[0]
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "missing":
            absent = _spell(_path(error)[len(path) :]).removesuffix(": ")
            return f'the key "{absent}" is missing', "add it"
        case "value_error":
            return str(context["error"]), ""
        case "string_pattern_mismatch":
            return f"{value.kind()} has not the form that is wanted here", f"it has to match {context['pattern']}"
        case "string_too_short" | "string_too_long" | "too_long":
            return _size(value, error), ""
        case _:
            return _expected(value, errors, annotation=annotation), ""


def _expected(value: Located, errors: list[ErrorDetails], *, annotation: Any) -> str:
    """What would have been right, beside what was found."""
    error = errors[0]
    if error["type"] == "literal_error":
        return f"expected {error['ctx']['expected']}, found {value.kind()}"
    if error["type"].startswith(("greater_than", "less_than")):
        words = str(error["msg"]).removeprefix("Input should be ")
        return f"expected a number {words}, found {value.text or value.value}"
    return f"expected {_wanted(annotation, errors)}, found {value.kind()}"


def _size(value: Located, error: ErrorDetails) -> str:
    """Too many, or too long: `the key has 129 characters, and at most 128 are taken`."""
    context = error["ctx"]
    bound = f"at most {context['max_length']}" if "max_length" in context else f"at least {context['min_length']}"
    if isinstance(value.value, dict | list):
        return f"there are {len(value.value)}, and {bound} are taken"
    what = "the key" if _path(error)[-1] == "[key]" else "the value"
    return f"{what} has {len(str(error['input']))} characters, and {bound} are taken"


def _wanted(annotation: Any, errors: list[ErrorDetails]) -> str:
    kinds = list(dict.fromkeys(error["type"].split("_", maxsplit=1)[0] for error in errors))
    words = [_EXPECTED.get(kind, "something else") for kind in kinds]
    if kinds == ["tuple"]:
        item = next(iter(typing.get_args(annotation)), None)
        plain = typing.get_args(item)[0] if typing.get_origin(item) is typing.Annotated else item
        return "a list of text" if plain is str else "a list of mappings"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _spell(path: Path) -> str:
    """Write a path as `packer.only[0]: `; nothing for the top."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{shorten(step) or repr('')}" for step in path)
    return f"{text.removeprefix('.')}: " if text else ""


def _annotation(model: Any, path: Path) -> Any:
    """The type that a model gives to a path, without the None of an optional."""
    at = model
    for step in path:
        at = _required(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(step))
            at = field.annotation if field else None
        else:
            of = [one for one in typing.get_args(at) if one is not Ellipsis]
            at = of[-1] if of else None
    return _required(at)


def _required(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _keys(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return []
