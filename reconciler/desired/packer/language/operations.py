"""What HCL does with values: members of them, equality, arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.desired.packer.language import numbers
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.types import NUMBER, STRING
from reconciler.desired.packer.language.values import (
    Mapping_,
    Null,
    Sequence_,
    Unknown,
    Value,
    identity,
    text,
    type_of,
)

ARITHMETIC: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": numbers.add, "-": numbers.subtract, "*": numbers.multiply, "/": numbers.divide, "%": numbers.modulo,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def index(base: Value, key: Value) -> Value:
    """`base[key]`.

    Raises:
        Refused: there is no such member.
    """
    if isinstance(base, Null) or isinstance(key, Null):
        raise Refused("null has no members, and is none")
    for one in (base, key):
        if isinstance(one, Unknown):
            return Unknown(one.reason)
    match base:
        case Sequence_() if base.type.kind != "set":
            position = convert(key, NUMBER)
            at = position.whole if isinstance(position, Number) else None
            if at is None or not 0 <= at < len(base.items):
                raise Refused("the given key does not identify an element")
            return base.items[at]
        case Mapping_():
            name = convert(key, STRING)
            if not isinstance(name, str) or name not in base.items:
                raise Refused("the given key does not identify an element")
            return base.items[name]
        case _:
            raise Refused("this value does not have any indices")


def member(base: Value, name: str) -> Value:
    """`base.name`.

    Raises:
        Refused: there is no such attribute.
    """
    if isinstance(base, Unknown):
        return Unknown(base.reason)
    if not isinstance(base, Mapping_) or text(name) not in base.items:
        raise Refused(f'there is no attribute "{name}"')
    return base.items[text(name)]


def equal(a: Value, b: Value) -> bool:
    """Whether `a == b`.

    Raises:
        Undecided: it depends on what is not known.
    """
    for one in (a, b):
        if isinstance(one, Unknown):
            raise Later(one.reason)
    if isinstance(a, Null) or isinstance(b, Null):
        return isinstance(a, Null) and isinstance(b, Null)
    if type_of(a).has_dynamic or type_of(b).has_dynamic:
        raise Undecided("whether values are equal of which a part has no type")
    if type_of(a) != type_of(b):
        return False
    return identity(a) == identity(b)


def computed(operator: str, operands: list[Value]) -> Value:
    """The result of an operator on operands of its type."""
    match operands:
        case [bool() as truth]:
            return not truth
        case [Number() as number]:
            return numbers.negate(number)
        case [Number() as left, Number() as right]:
            if operator in _COMPARISONS:
                return _COMPARISONS[operator](left.value, right.value)
            return ARITHMETIC[operator](left, right)
        case _:
            raise Refused("the operator takes other operands")
