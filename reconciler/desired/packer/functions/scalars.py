"""Functions of numbers, of points in time, and of networks."""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from reconciler.desired.packer.functions.signature import Function, integer, number, string, strings
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import FLOAT_BITS, Number, significant_bits, whole
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.values import NUMBER, STRING, Value, list_of, list_value, text

# Functions of numbers (go-cty's stdlib/number.go).

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


# Functions of points in time that are written out. What asks for the present has no value before the build.

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


# Functions of networks, by Python's own `ipaddress`.

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_CIDR = re.compile(r"[0-9a-fA-F.:]+/(?:0|[1-9][0-9]?|1[0-2][0-9])")
_MAX_EXTENSION = 32


def _network(value: Value) -> _Network:
    written = string(value)
    if _CIDR.fullmatch(written) is None:
        if "/" not in written:
            raise Refused("not a network")
        raise Undecided("a network that is not written as it mostly is")
    try:
        found = ipaddress.ip_network(written, strict=False)
    except ValueError as error:
        raise Refused("not a network") from error
    if found.version == 6 and "." in written:
        raise Undecided("an IPv4 address within IPv6")
    return found


def _address(address: int, network: _Network) -> str:
    if network.version == 4:
        return str(ipaddress.IPv4Address(address))
    found = ipaddress.IPv6Address(address)
    if found.ipv4_mapped is not None:
        raise Undecided("an IPv4 address within IPv6")
    return str(found)


def _host(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network, at = _network(arguments[0]), integer(arguments[1])
    room = network.num_addresses
    if not -room <= at < room:
        raise Refused("the network has no such host")
    return _address(int(network.network_address) + (at if at >= 0 else room + at), network)


def _netmask(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network = _network(arguments[0])
    return _address(int(network.netmask), network)


def _subnet(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network, further, at = _network(arguments[0]), integer(arguments[1]), integer(arguments[2])
    if further < 0:
        raise Undecided("a wider network")
    if further > _MAX_EXTENSION or network.prefixlen + further > network.max_prefixlen or not 0 <= at < 2**further:
        raise Refused("the network has no such part")
    return _part(network, network.prefixlen + further, at)


def _part(network: _Network, prefix: int, at: int) -> str:
    address = int(network.network_address) + at * 2 ** (network.max_prefixlen - prefix)
    return f"{_address(address, network)}/{prefix}"


def _subnets(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    network = _network(arguments[0])
    following = int(network.network_address)
    found: list[Value] = []
    for one in arguments[1:]:
        further = integer(one)
        prefix = network.prefixlen + further
        if not 1 <= further <= _MAX_EXTENSION or prefix > network.max_prefixlen:
            raise Refused("the network has no such part")
        size = 2 ** (network.max_prefixlen - prefix)
        following = -(-following // size) * size
        if following + size > int(network.network_address) + network.num_addresses:
            raise Refused("the network has no room for another part")
        found.append(f"{_address(following, network)}/{prefix}")
        following += size
    return list_value(found, STRING)


NETWORKS: Mapping[str, Function] = {
    "cidrhost": Function(_host, (STRING, NUMBER), returns=STRING),
    "cidrnetmask": Function(_netmask, (STRING,), returns=STRING),
    "cidrsubnet": Function(_subnet, (STRING, NUMBER, NUMBER), returns=STRING),
    "cidrsubnets": Function(_subnets, (STRING,), NUMBER, list_of(STRING)),
}
"""By name."""
