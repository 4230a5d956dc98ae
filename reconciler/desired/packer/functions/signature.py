"""What a function takes and returns, and how its arguments are looked at before it is called (go-cty's `function`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Later, Refused
from reconciler.desired.packer.language.values import DYNAMIC, Mapping_, Null, Sequence_, Type, Unknown, Value, is_known

Implementation: TypeAlias = Callable[[Interpreter, Sequence[Value]], Value]


@dataclass(frozen=True, slots=True)
class Function:
    """One function. `rest` is the type of further arguments, None where there are none."""

    run: Implementation
    parameters: tuple[Type, ...] = ()
    rest: Type | None = None
    returns: Type = DYNAMIC
    takes_null: bool = False
    takes_unknown: bool = False
    """Whether it is called although a member of an argument, or an argument, is not known."""
    is_newer: bool = False
    """Whether Packer 1.6 lacks it."""

    def __call__(self, run: Interpreter, arguments: Sequence[Value]) -> Value:
        """Look at the arguments as go-cty does, and call.

        Raises:
            Refused: too few or too many, of a wrong type, or not what the function takes.
            Undecided: it can't be told what the function returns.
        """
        if len(arguments) < len(self.parameters) or (self.rest is None and len(arguments) > len(self.parameters)):
            raise Refused("the function takes another number of arguments")
        further = [self.rest or DYNAMIC] * (len(arguments) - len(self.parameters))
        values = [convert(one, type_) for one, type_ in zip(arguments, (*self.parameters, *further), strict=True)]
        if not self.takes_null and any(isinstance(one, Null) for one in values):
            raise Refused("an argument is null")
        if not self.takes_unknown:
            for one in values:
                if not is_known(one):
                    return Unknown(reason_of(one), self.returns)
        run.spend(sum(_size(one) for one in values) // 16)
        return self.run(run, values)


def reason_of(value: Value) -> str:
    """Why a value is not known as a whole."""
    if isinstance(value, Unknown):
        return value.reason
    for one in members_of(value):
        if not is_known(one):
            return reason_of(one)
    return "not known"


def members_of(value: Value) -> Sequence[Value]:
    """The members of a list, set, tuple, map or object.

    Raises:
        Refused: it is none of these.
    """
    if isinstance(value, Sequence_):
        return value.items
    if isinstance(value, Mapping_):
        return tuple(value.items.values())
    raise Refused("a list, set, tuple, map or object is required")


def sequence(value: Value, *kinds: str) -> Sequence_:
    """A list, set or tuple of one of these kinds.

    Raises:
        Refused: it is something else.
        Undecided: it is not known.
    """
    if isinstance(value, Unknown):
        raise Later(value.reason)
    if isinstance(value, Sequence_) and value.type.kind in kinds:
        return value
    raise Refused(f"a {' or '.join(kinds)} is required")


def mapping(value: Value) -> Mapping_:
    """A map or an object.

    Raises:
        Refused: it is something else.
        Undecided: it is not known.
    """
    if isinstance(value, Unknown):
        raise Later(value.reason)
    if isinstance(value, Mapping_):
        return value
    raise Refused("a map or an object is required")


def string(value: Value) -> str:
    """A text that is one, as a converted argument is."""
    if isinstance(value, str):
        return value
    raise Refused("a string is required")


def strings(values: Sequence[Value]) -> list[str]:
    """Several of them."""
    return [string(one) for one in values]


def number(value: Value) -> Number:
    """A number that is one, as a converted argument is."""
    if isinstance(value, Number):
        return value
    raise Refused("a number is required")


def integer(value: Value) -> int:
    """A whole number that a machine has room for.

    Raises:
        Refused: it has a fraction, or is larger.
    """
    found = number(value).whole
    if found is None or not -(2**63) <= found < 2**63:
        raise Refused("a whole number is required")
    return found


def _size(value: Value) -> int:
    if isinstance(value, Sequence_ | Mapping_):
        return value.size * 16
    return len(value) if isinstance(value, str) else 1
