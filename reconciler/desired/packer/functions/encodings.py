"""Functions that encode, decode and hash: JSON, YAML, CSV, base64, URLs."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import json
import re
import urllib.parse
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from reconciler.desired.packer.functions.signature import Function, reason_of, string, strings
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import Number, parse_number
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.values import (
    DYNAMIC,
    STRING,
    Mapping_,
    Null,
    Sequence_,
    Unknown,
    Value,
    is_known,
    list_value,
    object_of,
    object_value,
    text,
    tuple_value,
)

_ESCAPED_BY_GO = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*+={0,2}[\r\n]*+")
_NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS, "url": uuid.NAMESPACE_URL, "oid": uuid.NAMESPACE_OID, "x500": uuid.NAMESPACE_X500,
}  # fmt: skip
_MAX_NESTING = 30


def as_json(value: Value) -> str:
    """JSON as go-cty writes it: no spaces, and what HTML might take for its own escaped.

    Raises:
        Undecided: some of it is not known.
    """
    match value:
        case str():
            return json_string(value)
        case bool():
            return "true" if value else "false"
        case Number():
            return str(value)
        case Null():
            return "null"
        case Sequence_():
            return f"[{','.join(as_json(one) for one in value.items)}]"
        case Mapping_():
            return f"{{{','.join(f'{json_string(name)}:{as_json(one)}' for name, one in value.items.items())}}}"
        case _:
            raise Later(value.reason)


def json_string(of: str) -> str:
    """A text as a JSON string, as Go writes it.

    Raises:
        Undecided: it holds what later versions of Go write in another way.
    """
    if "\b" in of or "\f" in of:
        raise Undecided("a text with control characters as JSON")
    quoted = json.dumps(of, ensure_ascii=False)
    return "".join(_ESCAPED_BY_GO.get(one, one) for one in quoted) if not _is_plain(quoted) else quoted


def _is_plain(quoted: str) -> bool:
    return not any(one in quoted for one in _ESCAPED_BY_GO)


def _jsonencode(run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not is_known(arguments[0]):
        return Unknown(reason_of(arguments[0]), STRING)
    if isinstance(arguments[0], Null):
        raise Undecided("null as JSON, which Packer 1.6 refuses")
    return run.text([as_json(arguments[0])])


def _jsondecode(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = string(arguments[0])
    if _deepest(of) > _MAX_NESTING:
        raise Undecided("JSON that is nested very deeply")
    try:
        plain = json.loads(
            of, object_pairs_hook=_object, parse_int=_Written, parse_float=_Written, parse_constant=_no_json
        )
    except ValueError as error:
        raise Refused("not JSON") from error
    return _value(plain)


def _deepest(of: str) -> int:
    depth = deepest = 0
    for one in re.findall(r"[\[{\]}]", of):
        depth += 1 if one in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


class _Written(str):
    """A number as it is written."""

    __slots__ = ()


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = {text(name): one for name, one in pairs}
    if len(found) != len(pairs):
        raise Undecided("an object of JSON that has a key twice")
    return found


def _value(plain: object) -> Value:
    match plain:
        case None:
            return Null()
        case bool():
            return plain
        case _Written():
            return parse_number(str(plain))
        case str():
            if any("\ud800" <= one <= "\udfff" for one in plain):
                raise Undecided("half of a pair as a character")
            return text(plain)
        case list():
            return tuple_value(_value(one) for one in plain)
        case dict():
            return object_value({name: _value(one) for name, one in plain.items()})
        case _:
            raise Undecided("no value of JSON")


def _base64decode(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = string(arguments[0])
    try:
        if _BASE64.fullmatch(of) is None:
            raise Refused("not base64")
        return text(base64.b64decode(of, validate=False).decode())
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused("not base64 of a text") from error


def _hash(algorithm: str) -> Callable[[Interpreter, Sequence[Value]], Value]:
    def run(_run: Interpreter, arguments: Sequence[Value]) -> Value:
        return hashlib.new(algorithm, string(arguments[0]).encode(), usedforsecurity=False).hexdigest()

    return run


def _uuidv5(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    namespace, name = strings(arguments)
    if namespace not in _NAMESPACES and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", namespace):
        raise Undecided("a namespace that is not written as it mostly is")
    return str(uuid.uuid5(_NAMESPACES.get(namespace) or uuid.UUID(namespace), name))


def _csvdecode(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = string(arguments[0])
    if '"' in of or "\r" in of:
        raise Undecided("CSV with quotes")
    rows = [row for row in csv.reader(of.split("\n"), quoting=csv.QUOTE_NONE, strict=True) if row]
    if not rows:
        raise Refused("no line with names")
    header, *lines = rows
    if len(set(header)) != len(header):
        raise Refused("a column's name is there twice")
    if any(len(line) != len(header) for line in lines):
        raise Refused("a line has another number of columns")
    names = [text(name) for name in header]
    made = [object_value(dict(zip(names, map(text, line), strict=True))) for line in lines]
    return list_value(made, object_of(dict.fromkeys(sorted(names), STRING)))


def _yamlencode(run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not is_known(arguments[0]):
        return Unknown(reason_of(arguments[0]), STRING)
    lines: list[str] = []
    _yaml(lines, arguments[0], "", "")
    if isinstance(arguments[0], bool | Number):
        lines.append("...")
    return run.text([line + "\n" for line in lines])


def _yaml(lines: list[str], value: Value, first: str, indent: str) -> None:
    """Lines of block style with every key and text in quotes, as go-cty-yaml writes them."""
    match value:
        case Sequence_() if value.items:
            for at, one in enumerate(value.items):
                _yaml(lines, one, f"{first if at == 0 else indent}- ", f"{indent}  ")
        case Mapping_() if value.items:
            for at, (name, one) in enumerate(value.items.items()):
                key = f"{first if at == 0 else indent}{_yaml_string(name)}:"
                if isinstance(one, Mapping_) and one.items:
                    lines.append(key)
                    _yaml(lines, one, f"{indent}  ", f"{indent}  ")
                elif isinstance(one, Sequence_) and one.items:
                    lines.append(key)
                    _yaml(lines, one, indent, indent)
                else:
                    lines.append(f"{key} {_yaml_scalar(one)}")
        case _:
            lines.append(first + _yaml_scalar(value))


def _yaml_scalar(value: Value) -> str:
    match value:
        case str():
            return _yaml_string(value)
        case Sequence_():
            return "[]"
        case Mapping_():
            return "{}"
        case Number() if value.whole is None or abs(value.whole) >= 10**15:
            raise Undecided("such a number as YAML")
        case _:
            return as_json(value)


def _yaml_string(of: str) -> str:
    if not of.isascii() or not of.isprintable() or len(of) > 60:
        raise Undecided("such a text as YAML")
    escaped = of.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _yamldecode(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    import yaml  # noqa: PLC0415 - 10 ms, for the few templates that read YAML

    of = string(arguments[0])
    if "&" in of or "*" in of or "!" in of or "<<" in of or len(of) > 100_000:
        raise Undecided("YAML with anchors or tags")
    try:
        documents = list(yaml.compose_all(of, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise Undecided("YAML that is not read here") from error
    if len(documents) != 1:
        raise Undecided("YAML of no document or of several")
    return _of_node(documents[0])


def _of_node(node: Any) -> Value:
    if node.id == "sequence":
        return tuple_value(_of_node(one) for one in node.value)
    if node.id == "mapping":
        found = {_yaml_key(key): _of_node(value) for key, value in node.value}
        if len(found) != len(node.value):
            raise Undecided("a mapping of YAML that has a key twice")
        return object_value(found)
    if node.style is not None:
        return text(node.value)
    return _plain_scalar(node.value)


def _yaml_key(node: Any) -> str:
    key = _of_node(node)
    if not isinstance(key, str):
        raise Undecided("a key of YAML that is no text")
    return key


def _plain_scalar(of: str) -> Value:
    """What a word without quotes stands for, where all that read YAML agree."""
    if of in ("true", "false"):
        return of == "true"
    if of == "null":
        return Null()
    if re.fullmatch(r"0|-?[1-9][0-9]{0,14}|-?(?:0|[1-9][0-9]{0,5})\.[0-9]{0,4}[1-9]", of):
        return parse_number(of)
    if (
        re.fullmatch(r"[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_./-])?|/[A-Za-z0-9_./-]*", of)
        and of.lower() not in _WORDS
    ):
        return text(of)
    raise Undecided("a word of YAML that may be read in several ways")


_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})

ENCODINGS: Mapping[str, Function] = {
    "base64decode": Function(_base64decode, (STRING,), returns=STRING),
    "base64encode": Function(
        lambda _run, a: base64.b64encode(string(a[0]).encode()).decode(), (STRING,), returns=STRING
    ),
    "csvdecode": Function(_csvdecode, (STRING,)),
    "jsondecode": Function(_jsondecode, (STRING,)),
    "jsonencode": Function(_jsonencode, (DYNAMIC,), returns=STRING, takes_null=True, takes_unknown=True),
    "md5": Function(_hash("md5"), (STRING,), returns=STRING),
    "sha1": Function(_hash("sha1"), (STRING,), returns=STRING),
    "sha256": Function(_hash("sha256"), (STRING,), returns=STRING),
    "sha512": Function(_hash("sha512"), (STRING,), returns=STRING),
    "urlencode": Function(lambda _run, a: urllib.parse.quote_plus(string(a[0]), safe=""), (STRING,), returns=STRING),
    "uuidv5": Function(_uuidv5, (STRING, STRING), returns=STRING),
    "yamldecode": Function(_yamldecode, (STRING,)),
    "yamlencode": Function(_yamlencode, (DYNAMIC,), returns=STRING, takes_unknown=True),
}
"""By name."""
