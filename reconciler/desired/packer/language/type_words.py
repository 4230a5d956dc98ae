"""Types as they are written: `list(string)`, `object({…})`, also in quotes as older templates have them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from reconciler.desired.packer.language.outcome import Refused, Undecided, Wrong
from reconciler.desired.packer.language.parser import Parser
from reconciler.desired.packer.language.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Type,
    list_of,
    map_of,
    object_of,
    set_of,
    tuple_of,
)
from reconciler.desired.packer.syntax import Call, Constant, Expression, Listing, Pairs, Traversal
from reconciler.model.errors import Place

_WORDS = {"string": STRING, "number": NUMBER, "bool": BOOL, "any": DYNAMIC}
_COLLECTIONS: dict[str, Callable[[Type], Type]] = {"list": list_of, "set": set_of, "map": map_of}


def read_type(expression: Expression) -> Type:
    """The type that an expression stands for.

    Raises:
        Refused: it is none.
        Undecided: it gives defaults to attributes, which versions fill in differently.
    """
    match expression:
        case Traversal((word,)) if word in _WORDS:
            return _WORDS[word]
        case Call(name, (of,)) if name in _COLLECTIONS:
            return _COLLECTIONS[name](read_type(of))
        case Call("tuple", (Listing(items),)):
            return tuple_of(read_type(one) for one in items)
        case Call("object", (Pairs(members),)):
            return _object(members)
        case Constant(str() as written):
            return read_type(_parsed(written))  # As JSON has to write it.
        case _:
            raise Refused("not a type")


def written_type(expression: Expression) -> Expression:
    """A type as an expression, also of JSON, which has it as a text. What is no type stays as it is."""
    if isinstance(expression, Constant) and isinstance(expression.value, str):
        with suppress(Refused):
            return _parsed(expression.value)
    return expression


def _parsed(written: str) -> Expression:
    parser = Parser(written, lambda _at: Place(""))
    try:
        found = parser.expression()
    except Wrong as error:
        raise Refused("not a type") from error
    if isinstance(found, Constant) or parser.peek():
        raise Refused("not a type")
    return found


def _object(members: tuple[tuple[Expression, Expression], ...]) -> Type:
    attributes: dict[str, Type] = {}
    optional: set[str] = set()
    for key, written in members:
        if not isinstance(key, Constant) or not isinstance(key.value, str) or key.value in attributes:
            raise Refused("not a type")
        match written:
            case Call("optional", (of,)):
                optional.add(key.value)
                attributes[key.value] = read_type(of)
            case Call("optional"):
                raise Undecided("attributes with defaults")
            case _:
                attributes[key.value] = read_type(written)
    return object_of(dict(sorted(attributes.items())), frozenset(optional))
