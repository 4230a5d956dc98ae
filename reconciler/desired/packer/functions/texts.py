"""Functions of texts: strings, regular expressions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.desired.packer.functions.signature import Function, integer, members_of, number, string, strings
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.template_text import SPACES
from reconciler.desired.packer.language.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Null,
    Unknown,
    Value,
    is_known,
    list_of,
    list_value,
    object_of,
    object_value,
    text,
    tuple_of,
    tuple_value,
)

_LETTERS = 0x250
_DOTTED_CAPITAL_I = "\u0130"
_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_READ_DIFFERENTLY = re.compile(r"\(\?<|\\C|\\p\{?[^LN]|\[\[:word")


def clusters(of: str) -> list[str]:
    """The characters that a reader sees, of texts in which each is one by itself, but for a line's end of two.

    Raises:
        Undecided: there may be others, such as letters with accents of their own or joined pictures.
    """
    if not of.isascii() and any(not _stands_alone(one) for one in of):
        raise Undecided("how many characters a text has")
    return re.findall(r"\r\n|.", of, re.DOTALL)


def _stands_alone(character: str) -> bool:
    code = ord(character)
    return code < 0x300 or 0x2010 <= code < 0x2028 or 0x4E00 <= code < 0xA000 or 0x3041 <= code < 0x3097


def _case(of: str, *, upper: bool) -> str:
    """Each letter by itself, as Go does: `ß` has no capital of its own, and stays."""
    if of.isascii():
        return of.upper() if upper else of.lower()
    found = []
    for one in of:
        changed = one.upper() if upper else one.lower()
        is_letter = unicodedata.category(one) in ("Lu", "Ll", "Lt", "Lm", "Nl", "So", "Mn")
        if one == _DOTTED_CAPITAL_I or (ord(one) >= _LETTERS and is_letter and (one.upper() != one.lower())):
            raise Undecided("the case of a rare letter")
        found.append(changed if len(changed) == 1 else one)
    return "".join(found)


def _title(run: Interpreter, arguments: Sequence[Value]) -> Value:
    """Capitals for what follows what is no letter, digit or underscore."""
    made: list[str] = []
    before = " "
    for one in string(arguments[0]):
        if ord(one) >= _LETTERS or one.title() != one.upper():  # such as those of two letters, of which one is large
            raise Undecided("the case of a rare letter")
        begins = not (before.isalnum() or before == "_") if before.isascii() else before in SPACES
        made.append(_case(one, upper=True) if begins else one)
        before = one
    return run.text(made)


def _join(run: Interpreter, arguments: Sequence[Value]) -> Value:
    separator, *lists = arguments
    if not lists:
        raise Refused("at least one list is required")
    items = [one for found in lists for one in (members_of(found) if not isinstance(found, Unknown) else [found])]
    if any(isinstance(one, Null) for one in items):
        raise Refused("an element is null")
    parts: list[str] = []
    for one in items:
        if not is_known(one):
            raise Undecided("what a list that is joined holds")
        parts += [string(separator), string(one)]
    return run.text(parts[1:])


def _split(run: Interpreter, arguments: Sequence[Value]) -> Value:
    separator, of = strings(arguments)
    if not separator:
        parts = list(of)
    elif len(of) // len(separator) > 100_000:
        raise Undecided("a very long list")
    else:
        parts = of.split(separator)
    run.spend(len(parts))
    return list_value([text(one) for one in parts], STRING)


def _substr(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of, offset, length = clusters(string(arguments[0])), integer(arguments[1]), integer(arguments[2])
    if offset < 0:
        offset += len(of)
    elif length == 0:
        return ""
    rest = of[offset:] if offset > 0 else of
    # Go counts to the length from one, and never meets zero.
    return text("".join(rest if length <= 0 else rest[:length]))


def _replaced(run: Interpreter, arguments: Sequence[Value]) -> Value:
    of, old, new = strings(arguments)
    grows = (of.count(old) if old else len(of) + 1) * len(new)
    run.text([" " * min(len(of) + grows, 1 << 20)])
    return text(of.replace(old, new))


def _indent(run: Interpreter, arguments: Sequence[Value]) -> Value:
    spaces, of = integer(arguments[0]), string(arguments[1])
    if spaces < 0:
        raise Refused("a negative number of spaces")
    run.text([" " * min(len(of) + of.count("\n") * spaces, 1 << 20)])
    return text(of.replace("\n", "\n" + " " * min(spaces, 1 << 20)))


def _trim(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of, cut = strings(arguments)
    return text(of.strip(cut) if cut else of)


def _sort(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    items = members_of(arguments[0])
    if any(isinstance(one, Null) for one in items):
        raise Refused("an element is null")
    return list_value(sorted(strings(items)), STRING)


def _compact(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    kept = [one for one in members_of(arguments[0]) if not isinstance(one, Null) and one != ""]
    return list_value(kept, STRING)


def _pattern(written: str) -> Any:
    """Compile a regular expression in Google's library, whose syntax and matches are those of Go's.

    Raises:
        Refused: it is none.
        Undecided: the two differ about it.
    """
    import re2  # noqa: PLC0415 - 5 ms, for the few templates that match something

    if _READ_DIFFERENTLY.search(written):
        raise Undecided("a regular expression that versions read differently")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(written, options)
    except re2.error as error:
        if "too large" in str(error) or "repetition" in str(error):
            raise Undecided("a regular expression that is too large") from error
        raise Refused("not a regular expression") from error


def _matches(pattern: Any, of: str) -> Iterator[Any]:
    """All matches, as Go's FindAll finds them: none of nothing right after another."""
    at, last = 0, -1
    while at <= len(of):
        match = pattern.search(of, at)
        if match is None:
            return
        is_empty_here = match.end() == at
        if not (is_empty_here and match.start() == last):
            yield match
        at = at + 1 if is_empty_here else match.end()
        last = match.end()


def _captured(pattern: Any, match: Any) -> Value:
    names = {number: name for name, number in pattern.groupindex.items()}
    if not pattern.groups:
        return text(match.group(0))
    groups: list[Value] = [Null(STRING) if one is None else text(one) for one in match.groups()]
    if not names:
        return tuple_value(groups)
    if len(names) < pattern.groups:
        raise Refused("named and unnamed groups in one pattern")
    return object_value({names[at + 1]: one for at, one in enumerate(groups)})


def _regex(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    written, of = strings(arguments)
    pattern = _pattern(written)
    match = pattern.search(of)
    if match is None:
        raise Refused("the pattern does not match")
    return _captured(pattern, match)


def _regexall(run: Interpreter, arguments: Sequence[Value]) -> Value:
    written, of = strings(arguments)
    pattern = _pattern(written)
    found: list[Value] = []
    for match in _matches(pattern, of):
        run.spend(1 + len(of) // 64)
        found.append(_captured(pattern, match))
    if not pattern.groups:
        return list_value(found, STRING)
    names = sorted(pattern.groupindex)
    if names and len(names) < pattern.groups:
        raise Refused("named and unnamed groups in one pattern")
    strings_ = [STRING] * pattern.groups
    return list_value(found, object_of(dict.fromkeys(names, STRING)) if names else tuple_of(strings_))


def _regex_replace(run: Interpreter, arguments: Sequence[Value]) -> Value:
    of, written, template = strings(arguments)
    pattern = _pattern(written)
    parts: list[str] = []
    at, last = 0, 0
    while at <= len(of):
        run.spend(1 + len(of) // 64)
        match = pattern.search(of, at)
        if match is None:
            break
        parts.append(of[last : match.start()])
        if match.end() > last or match.start() == 0:
            parts.append(_expanded(template, match))
        last = match.end()
        at = max(at + 1, match.end())
    return run.text([*parts, of[last:]])


def _expanded(template: str, match: Any) -> str:
    """Fill `$1`, `${1}`, `$name` and `$$` in; what is no group is nothing."""
    if not template.isascii() and "$" in template:
        raise Undecided("a replacement with names that are not ASCII")

    def one(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdigit():
            return match.group(int(name)) or "" if int(name) <= match.re.groups else ""
        return match.group(name) or "" if name in match.re.groupindex else ""

    return _REFERENCE.sub(one, template)


def _parseint(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not isinstance(arguments[0], str):
        raise Refused("the first argument is no string")
    base = integer(arguments[1])
    if not 2 <= base <= 62:
        raise Refused("the base is not between 2 and 62")
    written = arguments[0]
    if len(written) > 300:
        raise Undecided("a number with very many digits")
    digits = written[1:] if written[:1] in ("+", "-") else written
    value = 0
    for one in digits:
        digit = _digit(one, base)
        if digit is None or digit >= base:
            raise Refused("not a number in this base")
        value = value * base + digit
    if not digits:
        raise Refused("not a number in this base")
    if written[0] == "-" and value == 0:
        return Number(number(arguments[1]).value * 0, 64)
    signed = -value if written[0] == "-" else value
    return Number(number(arguments[1]).value * 0 + signed, max(64, value.bit_length()))


def _digit(character: str, base: int) -> int | None:
    if not character.isascii() or not character.isalnum():
        return None
    if character.isdigit():
        return int(character)
    small = ord(character.lower()) - ord("a") + 10
    return small + 26 if base > 36 and character.isupper() else small


TEXTS: Mapping[str, Function] = {
    "chomp": Function(lambda _run, a: text(string(a[0]).rstrip("\r\n")), (STRING,), returns=STRING),
    "compact": Function(_compact, (list_of(STRING),), returns=list_of(STRING)),
    "endswith": Function(
        lambda _run, a: string(a[0]).endswith(string(a[1])), (STRING, STRING), returns=BOOL, is_newer=True
    ),
    "indent": Function(_indent, (NUMBER, STRING), returns=STRING),
    "join": Function(_join, (STRING,), list_of(STRING), STRING, takes_unknown=True),
    "lower": Function(lambda _run, a: text(_case(string(a[0]), upper=False)), (STRING,), returns=STRING),
    "parseint": Function(_parseint, (DYNAMIC, NUMBER), returns=NUMBER),
    "regex": Function(_regex, (STRING, STRING), is_newer=True),
    "regex_replace": Function(_regex_replace, (STRING, STRING, STRING), returns=STRING),
    "regexall": Function(_regexall, (STRING, STRING), is_newer=True),
    "replace": Function(_replaced, (STRING, STRING, STRING), returns=STRING),
    "sort": Function(_sort, (list_of(STRING),), returns=list_of(STRING)),
    "split": Function(_split, (STRING, STRING), returns=list_of(STRING)),
    "startswith": Function(
        lambda _run, a: string(a[0]).startswith(string(a[1])), (STRING, STRING), returns=BOOL, is_newer=True
    ),
    "strcontains": Function(
        lambda _run, a: string(a[1]) in string(a[0]), (STRING, STRING), returns=BOOL, is_newer=True
    ),
    "strrev": Function(lambda _run, a: text("".join(reversed(clusters(string(a[0]))))), (STRING,), returns=STRING),
    "substr": Function(_substr, (STRING, NUMBER, NUMBER), returns=STRING),
    "title": Function(_title, (STRING,), returns=STRING),
    "trim": Function(_trim, (STRING, STRING), returns=STRING),
    "trimprefix": Function(
        lambda _run, a: text(string(a[0]).removeprefix(string(a[1]))), (STRING, STRING), returns=STRING
    ),
    "trimspace": Function(lambda _run, a: text(string(a[0]).strip(SPACES)), (STRING,), returns=STRING),
    "trimsuffix": Function(
        lambda _run, a: text(string(a[0]).removesuffix(string(a[1]))), (STRING, STRING), returns=STRING
    ),
    "upper": Function(lambda _run, a: text(_case(string(a[0]), upper=True)), (STRING,), returns=STRING),
}
"""By name."""
