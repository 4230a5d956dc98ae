"""JSON objects as bodies of attributes and blocks, so that one reader serves all three syntaxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reconciler.desired.located import Located
from reconciler.desired.packer.syntax import Attribute, Block, Body, Constant, Expression, Listing, Pairs
from reconciler.model.errors import Place

ReadText = Callable[[str, Place], Expression]
"""How a syntax finds expressions within a JSON string."""


def body_of(value: Located, read_text: ReadText, *, any_case: bool = False) -> Body:
    """Read an object both ways: each member is an attribute, and one that holds objects is a block as well.

    JSON doesn't tell the two apart; whoever asks for a name knows which one it is. With `any_case` the names of both
    count in whatever case they are written.
    """
    if not isinstance(value.value, dict):
        return Body()
    named = in_lower_case(value.value) if any_case else value.value
    attributes = {name: attribute(name, member, read_text) for name, member in named.items()}
    blocks = [
        Block(name, (), member.place, body_of(one, read_text, any_case=any_case))
        for name, member in named.items()
        for one in objects(member)
    ]
    return Body(attributes, tuple(blocks))


def in_lower_case(named: Mapping[str, Located]) -> dict[str, Located]:
    """The members by names in lower case; of two that differ in case alone the one that is written so."""
    others = {name.lower(): member for name, member in named.items()}
    return {**others, **{name: member for name, member in named.items() if name in others}}


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
