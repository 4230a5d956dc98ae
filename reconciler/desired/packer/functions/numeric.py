"""Functions of numbers (go-cty's stdlib/number.go)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from reconciler.desired.packer.functions.signature import Function, integer, number
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import FLOAT_BITS, Number, significant_bits, whole
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.types import NUMBER
from reconciler.desired.packer.language.values import Value

_EXACT_POWER = 64


def _abs(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = number(arguments[0])
    return Number(abs(of.value), of.bits)


def _whole(arguments: Sequence[Value], *, up: bool) -> Value:
    """The whole number next to one. Older versions of Packer look for it next to the nearest float."""
    of = number(arguments[0])
    floor = of.value.numerator // of.value.denominator
    made = floor + 1 if up and of.whole is None else floor
    if made == 0 and of.value < 0:
        raise Undecided("minus zero")
    nearest = float(of.value)
    if abs(made) >= 2**FLOAT_BITS or made != (math.ceil(nearest) if up else math.floor(nearest)):
        raise Undecided("digits that differ between versions of Packer")
    return Number(Fraction(made), of.bits, FLOAT_BITS)


def _extreme(arguments: Sequence[Value], best: Callable[[Fraction, Fraction], bool]) -> Value:
    if not arguments:
        raise Refused("at least one number is required")
    found = number(arguments[0])
    for one in arguments[1:]:
        found = number(one) if best(number(one).value, found.value) else found
    return found


def _pow(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    """A power that a float holds exactly, for others may differ in their last bit from machine to machine."""
    base, power = number(arguments[0]), number(arguments[1])
    exponent = power.whole
    if exponent is None or not 0 <= exponent <= _EXACT_POWER or significant_bits(base.value) > FLOAT_BITS:
        raise Undecided("a power that is not exact")
    made = base.value**exponent
    if significant_bits(made) > FLOAT_BITS or abs(made.numerator).bit_length() > 1000:
        raise Undecided("a power that is not exact")
    return Number(made, FLOAT_BITS)


def _signum(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = integer(arguments[0])
    return whole((of > 0) - (of < 0))


def _log(_run: Interpreter, _arguments: Sequence[Value]) -> Value:
    raise Undecided("a logarithm")


NUMERIC: Mapping[str, Function] = {
    "abs": Function(_abs, (NUMBER,), returns=NUMBER),
    "ceil": Function(lambda _run, a: _whole(a, up=True), (NUMBER,), returns=NUMBER),
    "floor": Function(lambda _run, a: _whole(a, up=False), (NUMBER,), returns=NUMBER),
    "log": Function(_log, (NUMBER, NUMBER), returns=NUMBER),
    "max": Function(lambda _run, a: _extreme(a, Fraction.__gt__), (), NUMBER, NUMBER),
    "min": Function(lambda _run, a: _extreme(a, Fraction.__lt__), (), NUMBER, NUMBER),
    "pow": Function(_pow, (NUMBER, NUMBER), returns=NUMBER),
    "signum": Function(_signum, (NUMBER,), returns=NUMBER),
}
"""By name."""
