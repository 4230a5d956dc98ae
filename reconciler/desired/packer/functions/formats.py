"""`format` and `formatlist`: Go's verbs, as go-cty takes them (stdlib/format.go)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.desired.packer.functions.encodings import as_json, json_string
from reconciler.desired.packer.functions.signature import Function, string
from reconciler.desired.packer.functions.texts import clusters
from reconciler.desired.packer.language import numbers
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Null,
    Sequence_,
    Value,
    list_of,
    list_value,
    text,
)

_MAX_WIDTH = 10_000
_VERB = re.compile(r"%([0#\-+ ]*)([1-9][0-9]*)?(?:\.([0-9]*))?(?:\[([1-9][0-9]*)\])?([a-zA-Z])")
_BASES = {"b": (2, "0b"), "d": (10, ""), "o": (8, "0"), "x": (16, "0x"), "X": (16, "0X")}


@dataclass(frozen=True, slots=True)
class _Verb:
    """One verb of a format: `%-08.3f`."""

    mode: str
    flags: str
    width: int
    precision: int | None

    @property
    def fills_with_zeros(self) -> bool:
        return "0" in self.flags and "-" not in self.flags

    def sign(self, *, negative: bool) -> str:
        if negative:
            return "-"
        return next((sign for sign in "+ " if sign in self.flags), "")

    def padded(self, made: str) -> str:
        """Pad a text as go-cty does itself: by characters, with zeros on whichever side."""
        missing = self.width - len(clusters(made)) if self.width > 0 else 0
        pads = ("0" if "0" in self.flags else " ") * max(missing, 0)
        return made + pads if "-" in self.flags else pads + made


def formatted(run: Interpreter, pattern: str, values: Sequence[Value]) -> str:
    """A text by a pattern.

    Raises:
        Refused: a verb is none, or its value is not for it, or there are too few or too many values.
    """
    parts: list[str] = []
    at, following, highest = 0, 1, 0
    while (start := pattern.find("%", at)) >= 0:
        parts.append(pattern[at:start])
        if pattern.startswith("%%", start):
            parts.append("%")
            at = start + 2
            continue
        match = _VERB.match(pattern, start)
        if match is None:
            raise Refused("a verb that is none")
        position = int(match[4]) if match[4] else following
        if position > len(values):
            raise Refused("fewer values than verbs")
        parts.append(_spelled(_read(match), values[position - 1]))
        run.spend(1 + len(parts[-1]) // 16)
        following, highest, at = position + 1, max(highest, position), match.end()
    if highest < len(values):
        raise Refused("more values than verbs")
    return run.text([*parts, pattern[at:]])


def _read(match: re.Match[str]) -> _Verb:
    if any(len(one or "") > 5 or int(one or 0) > _MAX_WIDTH for one in (match[2], match[3], match[4])):
        raise Undecided("a very wide field")
    return _Verb(match[5], match[1], int(match[2] or -1), None if match[3] is None else int(match[3] or 0))


def _spelled(verb: _Verb, value: Value) -> str:
    if verb.mode != "v" and isinstance(value, Null):
        raise Refused("null can't be formatted")
    match verb.mode:
        case "v":
            return _as_is(verb, value)
        case "t":
            return "true" if convert(value, BOOL) is True else "false"
        case "s" | "q":
            return _string(verb, string(convert(value, STRING)))
        case "b" | "d" | "o" | "x" | "X" | "e" | "E" | "f" | "g" | "G":
            found = convert(value, NUMBER)
            if not isinstance(found, Number):
                raise Refused("a number is required")
            return _integer(verb, found) if verb.mode in _BASES else _float(verb, found)
        case _:
            raise Refused("an unsupported verb")


def _as_is(verb: _Verb, value: Value) -> str:
    if "#" not in verb.flags:
        if isinstance(value, str):
            return verb.padded(value)
        if isinstance(value, Number):
            return verb.padded(value.with_exponent())
    return verb.padded(as_json(value))


def _string(verb: _Verb, of: str) -> str:
    if verb.precision:
        of = "".join(clusters(of)[: verb.precision])
    return verb.padded(of if verb.mode == "s" else json_string(of))


def _integer(verb: _Verb, value: Number) -> str:
    whole = value.whole
    if whole is None:
        raise Refused("a whole number is required")
    base, prefix = _BASES[verb.mode]
    digits = _in_base(abs(whole), base)
    digits = digits.upper() if verb.mode == "X" else digits
    if verb.precision == 0 and whole == 0:
        return ""
    sign = verb.sign(negative=whole < 0) + (prefix if "#" in verb.flags else "")
    digits = digits.rjust(verb.precision or 0, "0")
    return _filled(verb, sign, digits, zeros=verb.fills_with_zeros and verb.precision is None)


def _float(verb: _Verb, value: Number) -> str:
    sign = verb.sign(negative=value.value < 0)
    positive = Number(abs(value.value), value.bits)
    match verb.mode.lower():
        case "f":
            digits = numbers.fixed(positive, 6 if verb.precision is None else verb.precision)
        case "e":
            places = 6 if verb.precision is None else verb.precision
            figures, point = numbers.with_digits(positive, places + 1)
            digits = numbers.scientific(figures, point, places)
        case _:
            digits = positive.with_exponent() if verb.precision is None else _general(positive, verb.precision or 1)
    digits = digits.upper() if verb.mode in "EG" else digits
    return _filled(verb, sign, digits, zeros=verb.fills_with_zeros)


def _general(value: Number, precision: int) -> str:
    digits, point = numbers.with_digits(value, precision)
    limit = len(digits) if precision > len(digits) >= point else precision
    if point - 1 < -4 or point - 1 >= limit:
        return numbers.scientific(digits, point, min(precision, len(digits)) - 1)
    return numbers.plain("", digits, point)


def _filled(verb: _Verb, sign: str, digits: str, *, zeros: bool) -> str:
    missing = max(verb.width - len(sign) - len(digits), 0)
    if zeros:
        return sign + "0" * missing + digits
    return sign + digits + " " * missing if "-" in verb.flags else " " * missing + sign + digits


def _in_base(value: int, base: int) -> str:
    if base == 10:
        return str(value)
    return format(value, {2: "b", 8: "o", 16: "x"}[base])


def _refuse_untyped(values: Sequence[Value]) -> None:
    """go-cty tells no value of a format where one of the values is a null without a type."""
    if any(isinstance(one, Null) and one.type == DYNAMIC for one in values):
        raise Undecided("null without a type in a format")


def _format(run: Interpreter, arguments: Sequence[Value]) -> Value:
    _refuse_untyped(arguments)
    return text(formatted(run, string(arguments[0]), arguments[1:]))


def _formatlist(run: Interpreter, arguments: Sequence[Value]) -> Value:
    _refuse_untyped(arguments)
    pattern, values = string(arguments[0]), arguments[1:]
    if not values:
        return list_value([text(formatted(run, pattern, ()))], STRING)
    lengths = {len(one.items) for one in values if isinstance(one, Sequence_)}
    if len(lengths) > 1:
        raise Refused("lists of different lengths")
    rounds = lengths.pop() if lengths else 1
    rows = ([one.items[at] if isinstance(one, Sequence_) else one for one in values] for at in range(rounds))
    return list_value([text(formatted(run, pattern, row)) for row in rows], STRING)


FORMATS: Mapping[str, Function] = {
    "format": Function(_format, (STRING,), DYNAMIC, STRING, takes_null=True),
    "formatlist": Function(_formatlist, (STRING,), DYNAMIC, list_of(STRING), takes_null=True),
}
"""By name."""
