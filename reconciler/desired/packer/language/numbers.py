"""Numbers as HCL has them: binary floating point of up to 512 bits (Go's `big.Float`, as go-cty uses it).

Every number carries how many bits it is kept with, for a result has as many as the longer of its operands: `1 / 3` has
512, the `length(a) / length(b)` of two lists has 64, and that shows in their digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

from reconciler.desired.packer.language.outcome import Refused, Undecided

LITERAL_BITS = 512
INT_BITS = 64
FLOAT_BITS = 53

# Go multiplies a mantissa with a power of five of 576 bits, so that more digits than these may differ in the last bit.
_MAX_SCALE = 240
_MAX_DIGITS = 600
_MAX_BITS = 2400
_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,6}))?")
_MAY_BE_READ_BY_GO = re.compile(r"[+-]?(?:inf|Inf|[0-9.]+[eEpP][+-]?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Number:
    """A number and the bits that it is kept with. Never an infinity, and never minus zero: those are Undecided."""

    value: Fraction
    bits: int = LITERAL_BITS
    fewer_bits: int | None = None
    """How many it is kept with by older versions of Packer, where that differs."""

    @property
    def whole(self) -> int | None:
        """The number as an int; None where it has a fraction."""
        return self.value.numerator if self.value.denominator == 1 else None

    def __str__(self) -> str:
        """Spell it as HCL does: the fewest digits that tell it from its neighbours, and no exponent."""
        digits, point = self._digits()
        return plain(_sign(self), digits, point)

    def with_exponent(self) -> str:
        """Spell it as `%v` does: with an exponent where it is large or small."""
        digits, point = self._digits()
        if -4 <= point - 1 < 6:
            return plain(_sign(self), digits, point)
        return _sign(self) + scientific(digits, point, len(digits) - 1)

    def _digits(self) -> tuple[str, int]:
        found = _shortest(self.value, self.bits)
        if self.fewer_bits is not None and found != _shortest(self.value, self.fewer_bits):
            raise Undecided("digits that differ between versions of Packer")
        return found


def whole(value: int) -> Number:
    """A count, as functions return it."""
    return Number(Fraction(value), max(INT_BITS, abs(value).bit_length()))


_LITERAL = re.compile(r"[0-9](?:(?:[0-9.]|[eE][+-]?[0-9])*(?:[0-9]|[eE][+-]?[0-9]))?")


def literal_at(text: str, at: int) -> tuple[int, str]:
    """Where a number ends that begins somewhere in a template, and the number as it is written.

    Raises:
        Refused: none begins there.
    """
    match = _LITERAL.match(text, at)
    if match is None:
        raise Refused("a number is required")
    return match.end(), match[0]


def parse_number(text: str) -> Number:
    """Read a number as it is written in HCL, or in a string that is used as a number.

    Raises:
        Refused: it is none.
        Undecided: it is one for Go, and not for us (infinities, binary exponents, very many digits).
    """
    match = _DECIMAL.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        if _MAY_BE_READ_BY_GO.fullmatch(text):
            raise Undecided(f'"{text[:40]}" is a number that is not read here')
        raise Refused("a number is required")
    digits = (match[2] + (match[3] or "")).lstrip("0")
    scale = int(match[4] or 0) - len(match[3] or "")
    if len(digits) > _MAX_DIGITS or abs(scale) > _MAX_SCALE:
        raise Undecided("a number with very many digits")
    if not digits:
        if match[1] == "-":
            raise Undecided("minus zero")
        return Number(Fraction(0))
    mantissa = int(digits)
    exact = Fraction(mantissa * 10**scale) if scale >= 0 else Fraction(mantissa, 10**-scale)
    return Number(_rounded(-exact if match[1] == "-" else exact, LITERAL_BITS))


def from_python(value: float) -> Number:
    """A number of Python's as Packer reads it from JSON."""
    return parse_number(f"{Decimal(repr(value)):f}") if isinstance(value, float) else _literal_int(value)


def add(a: Number, b: Number) -> Number:
    """The sum."""
    return _combined(a.value + b.value, a, b)


def subtract(a: Number, b: Number) -> Number:
    """The difference, which go-cty takes as the sum with the negative."""
    return _combined(a.value - b.value, a, b)


def multiply(a: Number, b: Number) -> Number:
    """The product: as many bits as the longer one has, and more where it takes more."""
    if 0 in (a.value, b.value) and min(a.value, b.value) < 0:
        raise Undecided("minus zero")
    product = _rounded(a.value * b.value, LITERAL_BITS)
    bits, fewer = (max(one, significant_bits(product)) for one in _bits(a, b))
    return _result(product, bits, fewer)


def divide(a: Number, b: Number) -> Number:
    """The quotient.

    Raises:
        Refused: of zero by zero.
    """
    if b.value == 0:
        if a.value == 0:
            raise Refused("can't divide zero by zero or infinity by infinity")
        raise Undecided("infinity")
    if a.value == 0 and b.value < 0:
        raise Undecided("minus zero")
    return _combined(a.value / b.value, a, b)


def modulo(a: Number, b: Number) -> Number:
    """What is left: of the dividend's sign, as the quotient is cut off towards zero.

    Packer keeps it with as many bits as the dividend has, and older versions with 64.
    """
    if b.value == 0:
        return a
    if a.fewer_bits or b.fewer_bits:
        raise Undecided("what is left of what is left")
    quotient = int(_rounded(a.value / b.value, max(a.bits, b.bits)))
    left = []
    for bits in (a.bits, max(INT_BITS, abs(quotient).bit_length())):
        product = _rounded(b.value * _rounded(Fraction(quotient), bits), bits)
        left.append(_rounded(a.value - product, bits))
    if left[0] != left[1]:
        raise Undecided("digits that differ between versions of Packer")
    return _result(left[0], a.bits, max(INT_BITS, abs(quotient).bit_length()))


def negate(a: Number) -> Number:
    """The number with the other sign."""
    if a.value == 0:
        raise Undecided("minus zero")
    return Number(-a.value, a.bits, a.fewer_bits)


def significant_bits(value: Fraction) -> int:
    """How many bits it takes to keep a number exactly."""
    mantissa = abs(value.numerator)
    return mantissa.bit_length() - (mantissa & -mantissa).bit_length() + 1 if mantissa else 0


def fixed(number: Number, places: int) -> str:
    """Spell it with so many digits after the point."""
    with localcontext() as context:
        context.prec = 5000
        exact = _decimal(number.value)
        return f"{exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN):f}"


def with_digits(number: Number, count: int) -> tuple[str, int]:
    """So many digits, without zeros at their end, and where the point is among them."""
    digits, point = _digits(abs(number.value))
    if len(digits) <= count:
        return digits, point
    with localcontext() as context:
        context.prec = max(count, 1)
        context.rounding = ROUND_HALF_EVEN
        rounded = +Decimal((0, tuple(map(int, digits)), 0))
    _, figures, exponent = rounded.as_tuple()
    text = "".join(map(str, figures))
    return text.rstrip("0"), point + len(text) + int(exponent) - len(digits)


def scientific(digits: str, point: int, places: int) -> str:
    """`d.ddde+dd` with so many digits after the point."""
    tail = digits[1:].ljust(places, "0")
    exponent = point - 1 if digits else 0
    return f"{digits[:1] or '0'}{'.' if places > 0 else ''}{tail if places > 0 else ''}e{exponent:+03d}"


def _literal_int(value: int) -> Number:
    if abs(value).bit_length() > _MAX_BITS:
        raise Undecided("a number with very many digits")
    return Number(_rounded(Fraction(value), LITERAL_BITS))


def _bits(a: Number, b: Number) -> tuple[int, int]:
    """With how many bits a result of two numbers is kept, and with how many in older versions."""
    return max(a.bits, b.bits), max(a.fewer_bits or a.bits, b.fewer_bits or b.bits)


def _combined(exact: Fraction, a: Number, b: Number) -> Number:
    bits, fewer = _bits(a, b)
    value = _rounded(exact, bits)
    if bits != fewer and value != _rounded(exact, fewer):
        raise Undecided("digits that differ between versions of Packer")
    return _result(value, bits, fewer)


def _result(value: Fraction, bits: int, fewer: int) -> Number:
    if abs(value.numerator).bit_length() > _MAX_BITS or value.denominator.bit_length() > _MAX_BITS:
        raise Undecided("a number with very many digits")
    return Number(value, bits, fewer if fewer != bits else None)


def _rounded(value: Fraction, bits: int) -> Fraction:
    """The nearest number with so many bits; of two as near, the even one."""
    numerator, denominator = abs(value.numerator), value.denominator
    if numerator == 0 or (denominator & (denominator - 1) == 0 and numerator.bit_length() <= bits):
        return value
    shift = bits - numerator.bit_length() + denominator.bit_length()
    for left in (shift, shift - 1):
        scaled, divisor = (numerator << left, denominator) if left >= 0 else (numerator, denominator << -left)
        quotient, rest = divmod(scaled, divisor)
        if quotient.bit_length() <= bits:
            break
    if 2 * rest > divisor or (2 * rest == divisor and quotient & 1):
        quotient += 1
    rounded = Fraction(quotient, 1 << left) if left >= 0 else Fraction(quotient << -left)
    return -rounded if value < 0 else rounded


def _sign(number: Number) -> str:
    return "-" if number.value < 0 else ""


def plain(sign: str, digits: str, point: int) -> str:
    """Digits without an exponent."""
    if not digits:
        return "0"
    before = digits[: max(point, 0)].ljust(point, "0") if point > 0 else "0"
    after = "0" * max(-point, 0) + digits[max(point, 0) :]
    return sign + before + ("." + after if after else "")


def _decimal(value: Fraction) -> Decimal:
    """The exact decimal of a binary fraction. The context has to have room for it."""
    return Decimal(value.numerator) / Decimal(value.denominator)


def _digits(value: Fraction) -> tuple[str, int]:
    """All decimal digits of a binary fraction without zeros at either end, and where the point is among them."""
    if value == 0:
        return "", 0
    places = value.denominator.bit_length() - 1
    text = str(value.numerator * 5**places)
    return text.rstrip("0"), len(text) - places


def _shortest(signed: Fraction, bits: int) -> tuple[str, int]:
    """The digits of Go's `roundShortest` (math/big/ftoa.go), which compares digit by digit with both neighbours."""
    value = abs(signed)
    digits, point = _digits(value)
    if not digits or (len(digits) <= 15 and significant_bits(value) <= FLOAT_BITS):
        return digits, point
    # The mantissa with one bit more than is kept, so that half a unit in the last place is one.
    spare = bits + 1 - value.numerator.bit_length()
    mantissa = value.numerator << spare if spare >= 0 else value.numerator >> -spare
    unit = Fraction(1, value.denominator) / (Fraction(2) ** spare)
    lower, _ = _digits((mantissa - 1) * unit)
    upper, _ = _digits((mantissa + 1) * unit)
    inclusive = mantissa & 2 == 0
    for index, digit in enumerate(digits):
        low = lower[index] if index < len(lower) else "0"
        high = upper[index] if index < len(upper) else "0"
        may_go_down = low != digit or (inclusive and index + 1 == len(lower))
        may_go_up = digit != high and (inclusive or int(digit) + 1 < int(high) or index + 1 < len(upper))
        if may_go_down and may_go_up:
            return _cut(digits, point, index + 1, up=_rounds_up(digits, index + 1))
        if may_go_down or may_go_up:
            return _cut(digits, point, index + 1, up=may_go_up)
    return digits, point


def _rounds_up(digits: str, count: int) -> bool:
    if count >= len(digits):
        return False
    if digits[count] == "5" and count + 1 == len(digits):
        return count > 0 and int(digits[count - 1]) % 2 == 1
    return digits[count] >= "5"


def _cut(digits: str, point: int, count: int, *, up: bool) -> tuple[str, int]:
    if count >= len(digits):
        return digits, point
    kept = digits[:count]
    if not up:
        return kept.rstrip("0"), point
    raised = str(int(kept) + 1)
    return raised.rstrip("0"), point + len(raised) - len(kept)
