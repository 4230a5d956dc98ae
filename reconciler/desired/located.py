"""Values that know where in a file they stand, and pydantic's reports as sentences with that place."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from reconciler.model.errors import Place, UserError
from reconciler.model.text import did_you_mean, first_few, joined, shorten
from reconciler.model.values import WrongPart

# A value that knows where in a file it stands, whatever the file's syntax was.

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document to a value in it."""

NOTHING: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Located:
    """A value with its place; the place of a mapping's member is that of its key, where a reader looks for it."""

    value: dict[str, Located] | list[Located] | str | int | float | bool | None
    place: Place
    text: str | None = None
    """An unquoted scalar as it was written: `true` or `123` where text may have been meant."""
    again: Place | None = None
    """Where the key of a mapping's member stands a second time, in a syntax in which that may be right."""

    def plain(self, *, as_text: Collection[Path] = NOTHING, here: Path = ()) -> Any:
        """The value without places. Scalars at the paths `as_text` come as they were written.

        A key without a value counts as not written, which also is how an image takes back a default.
        """
        if isinstance(self.value, dict):
            return {
                key: member.plain(as_text=as_text, here=(*here, key))
                for key, member in self.value.items()
                if member.value is not None
            }
        if isinstance(self.value, list):
            return [item.plain(as_text=as_text, here=(*here, index)) for index, item in enumerate(self.value)]
        return self.text if self.text is not None and here in as_text else self.value

    def follow(self, path: Path) -> tuple[Path, Located]:
        """Go down a path as far as it exists; returns how far that was, and what is there."""
        at = self
        for depth, step in enumerate(path):
            below = at._member(step)
            if below is None:
                return path[:depth], at
            at = below
        return path, at

    def _member(self, step: str | int) -> Located | None:
        if isinstance(self.value, dict):
            return self.value.get(step) if isinstance(step, str) else None
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def place_of(self, *path: str | int) -> Place:
        """Where a path stands, or the nearest thing above it."""
        return self.follow(path)[1].place

    def kind(self) -> str:
        """Say what the value is, as in `found a number`."""
        match self.value:
            case None:
                return "nothing"
            case bool():
                return "true" if self.value else "false"
            case int() | float():
                return "a number"
            case str():
                return f'"{shorten(self.value)}"'
            case list():
                return "a list"
            case _:
                return "a mapping"


def merge(under: Located, over: Located, *, whole: frozenset[str] = frozenset()) -> Located:
    """Lay one document over another: mappings merge, everything else replaces.

    `whole` names top-level keys that are one choice, so that their mappings replace as well.
    """
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(under.value)
    for key, member in over.value.items():
        merged[key] = merge(merged[key], member) if key in merged and key not in whole else member
    return Located(merged, over.place)


# Turns a pydantic report into sentences with a place and a hint.

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
MOST_NAMES = 200
"""Names that are compared letter by letter with one that is not known."""
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
        return None, _validation_errors(model, document, errors=error.errors())


def as_one(problems: Sequence[UserError]) -> UserError:
    """One error for several problems, of which there is at least one: the first, naming others."""
    first, *others = problems
    more = [f"and {len(others) - _LISTED:,} more"] if len(others) > _LISTED else []
    also = (f"also {other}" for other in others[:_LISTED])
    return UserError(first.what, where=first.where, hint=(*first.hint, *also, *more))


def objects(value: Located | None) -> Iterator[Located]:
    """The objects that a value is or lists, in order; nothing else."""
    if value is None:
        return
    for one in value.value if isinstance(value.value, list) else [value]:
        if isinstance(one.value, dict):
            yield one


def members(value: Located | None) -> Iterator[tuple[str, Located]]:
    """The members of the objects that a value is or lists."""
    for one in objects(value):
        if isinstance(one.value, dict):
            yield from one.value.items()


def known_here(name: str, known: Collection[str], *, none: str) -> str:
    """The hint for an unknown name in a file: the nearest known one, else those there are, else `none`.

    Of many known ones none is looked for: a file may hold as many unknown ones.
    """
    if not known:
        return none
    if len(known) > MOST_NAMES:
        return f"{len(known):,} others are known here"
    return did_you_mean(name, known, otherwise=f"known here: {first_few(sorted(known), most=_LISTED)}")


def _path(error: ErrorDetails) -> Path:
    return tuple(error["loc"])


def _validation_errors(
    model: type[BaseModel], document: Located, *, errors: Iterable[ErrorDetails]
) -> tuple[UserError, ...]:
    """One error per place: a union reports each of its members, and they are read as alternatives."""
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        path = _path(error)
        if error["type"] == "extra_forbidden":
            by_path.setdefault(path, []).append(error)
        else:
            by_path.setdefault(document.follow((*path, *_wrong_part(error).at))[0], []).append(error)
    found = [_validation_error(model, document, path=path, errors=group) for path, group in by_path.items()]
    return tuple(sorted(found, key=lambda one: (one.where.path, one.where.line) if one.where else ("", 0)))


def _validation_error(
    model: type[BaseModel], document: Located, *, path: Path, errors: list[ErrorDetails]
) -> UserError:
    kind = errors[0]["type"]
    value = document.follow(path)[1]
    if kind == "extra_forbidden":
        name = str(path[-1])
        hint = known_here(name, _keys(_annotation(model, path[:-1])), none="remove it")
        return UserError(f'unknown key "{shorten(name)}"', where=value.place, hint=hint)
    meant, annotation = _meant(model, path), _annotation(model, path)
    what, hint = _sentence(value, path=path, errors=errors, annotation=annotation, meant=meant)
    return UserError(f"{_spell(path)}{what}", where=value.place, hint=hint or ())


def _wrong_part(error: ErrorDetails) -> WrongPart:
    """The part that a check of our own says is wrong, with its hint; an empty one where it says none."""
    raised = error.get("ctx", {}).get("error")
    return raised if isinstance(raised, WrongPart) else WrongPart("")


def _meant(model: type[BaseModel], path: Path) -> str:
    """The purpose of a key, as a hint: `the first day on which it holds no more, UTC`; empty where nothing says so."""
    if not path:
        return ""
    above = _annotation(model, path[:-1])
    fields = above.model_fields if isinstance(above, type) and issubclass(above, BaseModel) else {}
    said = fields[str(path[-1])].description if str(path[-1]) in fields else None
    return f"{said[0].lower()}{said[1:].removesuffix('.')}" if said else ""


def _sentence(
    value: Located, *, path: Path, errors: list[ErrorDetails], annotation: Any, meant: str
) -> tuple[str, str]:  # fmt: skip
    """The sentence on what is wrong, and the hint, such as what the key is `meant` for; empty where it is said."""
    error = errors[0]
    context: dict[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "missing":
            absent = _spell(_path(error)[len(path) :]).removesuffix(": ")
            return f'the key "{absent}" is missing', "add it"
        case "value_error":
            return str(context["error"]), _wrong_part(error).hint
        case "string_pattern_mismatch":
            return f"{value.kind()} has not the form that is wanted here", f"it has to match {context['pattern']}"
        case "string_too_short" | "string_too_long" | "too_long":
            return _size(value, error), ""
        case _:
            return _expected(value, errors, annotation=annotation), meant


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
    return joined(words, "or")


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
            field = at.model_fields.get(str(step)) or _aliased(at, str(step))
            at = field.annotation if field else None
        else:
            of = [one for one in typing.get_args(at) if one is not Ellipsis]
            at = of[-1] if of else None
    return _required(at)


def _aliased(model: type[BaseModel], alias: str) -> FieldInfo | None:
    return next((field for field in model.model_fields.values() if field.alias == alias), None)


def _required(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(annotation) if one is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _keys(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [name for field, of in annotation.model_fields.items() for name in {field, of.alias or field}]
    return []


# From bytes to text: the checks that come before any parser.

MAX_BYTES = 1024 * 1024


# Bytes that are no UTF-8, as `surrogateescape` shows them.
_FOREIGN = re.compile("[\udc80-\udcff]")


def decode(content: bytes, path: str, *, foreign: str | None = None) -> str:
    """Decode a file that a person wrote. `foreign` is what stands for a byte that is not UTF-8, where it may have some.

    Raises:
        UserError: it is above 1 MiB, or not UTF-8 (the byte's offset is named).
    """
    if len(content) > MAX_BYTES:
        raise UserError(
            f"the file has more than {MAX_BYTES:,} bytes, and no more are read",
            where=Place(path),
            hint="keep what is not declaration in files of its own",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if foreign is not None:
            return _FOREIGN.sub(foreign, content.decode("utf-8-sig", "surrogateescape"))
        before = content[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        raise UserError(
            f"byte {error.start} (0x{content[error.start]:02x}) is not UTF-8",
            where=Place(path, before.count(b"\n") + 1, column),
            hint="save the file as UTF-8",
        ) from error
