"""Functions of points in time that are written out. What asks for the present has no value before the build."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence

from reconciler.desired.packer.functions.signature import Function, strings
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.types import STRING
from reconciler.desired.packer.language.values import Value, text

_TIMESTAMP = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})")
_TOKEN = re.compile(r"''|'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+")
_DURATION = re.compile(r"[+-]?(?:[0-9]{1,6}[hms])+")
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_Spell = Callable[[dt.datetime], str]


def _zone(at: dt.datetime) -> str:
    offset = at.strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


_VERBS: Mapping[str, _Spell] = {
    "YY": lambda at: f"{at.year % 100:02}",
    "YYYY": lambda at: f"{at.year:04}",
    "M": lambda at: str(at.month),
    "MM": lambda at: f"{at.month:02}",
    "MMM": lambda at: _MONTHS[at.month - 1][:3],
    "MMMM": lambda at: _MONTHS[at.month - 1],
    "D": lambda at: str(at.day),
    "DD": lambda at: f"{at.day:02}",
    "EEE": lambda at: _DAYS[at.weekday()][:3],
    "EEEE": lambda at: _DAYS[at.weekday()],
    "h": lambda at: str(at.hour),
    "hh": lambda at: f"{at.hour:02}",
    "H": lambda at: str(at.hour % 12 or 12),
    "HH": lambda at: f"{at.hour % 12 or 12:02}",
    "AA": lambda at: "PM" if at.hour >= 12 else "AM",
    "aa": lambda at: "pm" if at.hour >= 12 else "am",
    "m": lambda at: str(at.minute),
    "mm": lambda at: f"{at.minute:02}",
    "s": lambda at: str(at.second),
    "ss": lambda at: f"{at.second:02}",
    "Z": lambda at: "Z" if not at.utcoffset() else _zone(at),
    "ZZZ": lambda at: "UTC" if not at.utcoffset() else at.strftime("%z"),
    "ZZZZ": lambda at: at.strftime("%z"),
    "ZZZZZ": _zone,
}


def _parsed(written: str) -> dt.datetime:
    match = _TIMESTAMP.fullmatch(written)
    if match is None:
        raise Undecided("a point in time that is not written as it mostly is")
    try:
        return dt.datetime.fromisoformat(written)
    except ValueError as error:
        raise Refused("no such point in time") from error


def _formatdate(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    pattern, written = strings(arguments)
    at = _parsed(written)
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            raise Refused("a text that is not ended")
        parts.append(_spelled(token[0], at))
        position = token.end()
    return text("".join(parts))


def _spelled(token: str, at: dt.datetime) -> str:
    if token == "''":  # noqa: S105 - the token of a format
        return "'"
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if token[0].isascii() and token[0].isalpha():
        if token not in _VERBS:
            raise Refused("a verb that is none")
        return _VERBS[token](at)
    return token


def _timeadd(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    written, duration = strings(arguments)
    at = _parsed(written)
    if duration != "0" and _DURATION.fullmatch(duration) is None:
        raise Undecided("a duration that is not written as it mostly is")
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in re.findall(r"([0-9]+)([hms])", duration))
    try:
        later = at + dt.timedelta(seconds=-seconds if duration.startswith("-") else seconds)
    except OverflowError as error:
        raise Undecided("a point in time that is very far away") from error
    if later.year < 1000:
        raise Undecided("a point in time that is very far away")
    return later.strftime("%Y-%m-%dT%H:%M:%S") + ("Z" if not at.utcoffset() else _zone(at))


def _only_then(reason: str) -> Callable[[Interpreter, Sequence[Value]], Value]:
    def run(_run: Interpreter, _arguments: Sequence[Value]) -> Value:
        raise Later(reason)

    return run


_NOW = "the time of the build"
_CHANCE = "made up at the build"
_ELSEWHERE = "read by Packer from elsewhere"

DATES: Mapping[str, Function] = {
    "formatdate": Function(_formatdate, (STRING, STRING), returns=STRING),
    "timeadd": Function(_timeadd, (STRING, STRING), returns=STRING),
}
"""By name."""

LATER: Mapping[str, Function] = {
    "aws_secretsmanager": Function(_only_then(_ELSEWHERE), (STRING,), STRING, STRING),
    "aws_secretsmanager_raw": Function(_only_then(_ELSEWHERE), (STRING,), returns=STRING, is_newer=True),
    "bcrypt": Function(_only_then(_CHANCE), (STRING,), STRING, STRING),
    "consul_key": Function(_only_then(_ELSEWHERE), (STRING,), returns=STRING),
    "env": Function(_only_then("read by Packer from its environment"), (STRING,), returns=STRING),
    "isotime": Function(_only_then(_NOW), (), STRING, STRING),
    "legacy_isotime": Function(_only_then(_NOW), (), STRING, STRING, is_newer=True),
    "legacy_strftime": Function(_only_then(_NOW), (), STRING, STRING, is_newer=True),
    "timestamp": Function(_only_then(_NOW), returns=STRING),
    "uuidv4": Function(_only_then(_CHANCE), returns=STRING),
    "vault": Function(_only_then(_ELSEWHERE), (STRING, STRING), returns=STRING),
}
"""Functions whose value only the build has, by name: their type is known, and that they take texts."""
