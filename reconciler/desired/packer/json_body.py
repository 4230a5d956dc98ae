"""JSON objects as bodies of attributes and blocks, so that one reader serves all three syntaxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reconciler.desired.located import Located
from reconciler.desired.packer.syntax import Attribute, Block, Body, Constant, Expression, Listing, Pairs
from reconciler.model.errors import Place

ReadText = Callable[[str, Place], Expression]
"""How a syntax finds expressions within a JSON string."""


def body_of(value: Located, read_text: ReadText) -> Body:
    """Read an object both ways: each member is an attribute, and one that holds objects is a block as well.

    JSON doesn't tell the two apart; whoever asks for a name knows which one it is.
    """
    if not isinstance(value.value, dict):
        return Body()
    attributes = {name: attribute(name, member, read_text) for name, member in value.value.items()}
    blocks = [
        Block(name, (), member.place, body_of(one, read_text))
        for name, member in value.value.items()
        for one in objects(member)
    ]
    return Body(attributes, tuple(blocks))


def attribute(name: str, value: Located, read_text: ReadText) -> Attribute:
    """One member as an attribute."""
    return Attribute(name, value.place, lambda: expression_of(value, read_text))


def expression_of(value: Located, read_text: ReadText) -> Expression:
    """A JSON value as an expression."""
    if isinstance(value.value, dict):
        members = ((Constant(key), expression_of(member, read_text)) for key, member in value.value.items())
        return Pairs(tuple(members))
    if isinstance(value.value, list):
        return Listing(tuple(expression_of(item, read_text) for item in value.value))
    if isinstance(value.value, str):
        return read_text(value.value, value.place)
    return Constant(value.value)


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
