"""Texts with expressions in them: quoted, as heredocs, and whole files (hclsyntax/parser_template.go)."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from reconciler.desired.packer.language.outcome import Wrong
from reconciler.desired.packer.language.values import text as normalized
from reconciler.desired.packer.syntax import Conditional, Constant, Expression, For, Interpolation, Joined

if TYPE_CHECKING:
    from reconciler.desired.packer.language.parser import Parser

_QUOTED = re.compile(r'(?:[^\\$%"\n\r]|\\[^\n\r])+')
_BARE = re.compile(r"[^$%\n]+\n?|\n")
_MARKER = re.compile(r"<<(-?)([^\W\d][\w-]*)\r?\n")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
# What Go's unicode.IsSpace takes for a space.
_INLINE = "\t\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
SPACES = f"\n{_INLINE}"


@dataclass(slots=True)
class Directive:
    """`%{ if … }` and its like; `else`, `endif` and `endfor` have no expression."""

    kind: str
    expression: Expression | None = None
    names: tuple[str, ...] = ()


Part: TypeAlias = "str | Expression | Directive"


def quoted(parser: Parser) -> list[Part]:
    """The parts of a text in quotes, from after the first to after the last."""
    parts: list[Part] = []
    trims = False
    while not parser.text.startswith('"', parser.at):
        literal = _QUOTED.match(parser.text, parser.at)
        if literal:
            parts.append(_trimmed(_unescaped(literal[0], parser), trims=trims))
            parser.at, trims = literal.end(), False
        elif (sign := _sign(parser)) is not None:
            parts.append(sign)
            trims = False
        elif parser.text[parser.at : parser.at + 2] in ("${", "%{"):
            trims = _sequence(parser, parts)
        else:
            raise _wrong(parser, "the text has no closing quote on its line")
    parser.at += 1
    return parts


def heredoc(parser: Parser) -> list[Part]:
    """The parts of a heredoc, from its `<<` to before the end of the line with its closing marker."""
    opening = _MARKER.match(parser.text, parser.at)
    if opening is None:
        raise _wrong(parser, "expected a heredoc's marker and the end of the line")
    parser.at = opening.end()
    closing = re.compile(rf"[{_INLINE}]*{re.escape(opening[2])}[{_INLINE}]*?(?=\r?\n)")
    parts: list[Part] = []
    trims, line_begins = False, True
    while not (line_begins and (end := closing.match(parser.text, parser.at))):
        if parser.at >= len(parser.text):
            raise _wrong(parser, f'the heredoc is not closed by a line "{opening[2]}"')
        line_begins, trims = _bare_part(parser, parts, trims=trims)
    parser.at = end.end()
    return _flushed(parts) if opening[1] else parts


def bare(parser: Parser) -> list[Part]:
    """The parts of a text that ends where the file does."""
    parts: list[Part] = []
    trims = False
    while parser.at < len(parser.text):
        _, trims = _bare_part(parser, parts, trims=trims)
    return parts


def assembled(parts: list[Part]) -> Expression:
    """One expression of all parts.

    Raises:
        ValueError: directives don't match each other.
    """
    melded: list[Part] = []
    for _, run in itertools.groupby(parts, lambda part: isinstance(part, str)):
        pieces = list(run)
        # Joined at once: one piece after another would copy a long text for each of its lines.
        melded += ["".join(map(str, pieces))] if isinstance(pieces[0], str) else pieces
    match melded:
        case []:
            return Constant("")
        case [str() as only]:
            return Constant(normalized(only))
        case _:
            return Interpolation(tuple(_Assembly(melded).sequence()))


def _bare_part(parser: Parser, parts: list[Part], *, trims: bool) -> tuple[bool, bool]:
    """Read on by one part. Returns whether a line begins after it, and whether what follows is to be trimmed."""
    literal = _BARE.match(parser.text, parser.at)
    if literal:
        parts.append(_trimmed(literal[0], trims=trims))
        parser.at = literal.end()
        return literal[0].endswith("\n"), False
    if (sign := _sign(parser)) is not None:
        parts.append(sign)
        return False, False
    return False, _sequence(parser, parts)


def _sign(parser: Parser) -> str | None:
    """Step over a `$` or `%` that begins no expression, or over one that is doubled so that it doesn't."""
    here = parser.text[parser.at : parser.at + 3]
    if here in ("$${", "%%{"):
        parser.at += 3
        return here[1:]
    if here[:1] in ("$", "%") and here[1:2] != "{":
        parser.at += 1
        return here[0]
    return None


def _sequence(parser: Parser, parts: list[Part]) -> bool:
    """Read `${ … }` or `%{ … }`. Returns whether it trims what follows."""
    is_directive = parser.text[parser.at] == "%"
    parser.at += 2
    if parser.text.startswith("~", parser.at):
        parser.at += 1
        if parts and isinstance(parts[-1], str):
            parts[-1] = parts[-1].rstrip(SPACES)
    before, parser.lines_count = parser.lines_count, False
    parts.append(parser.directive() if is_directive else parser.expression())
    trims = parser.peek() == "~}"
    parser.take("~}" if trims else "}")
    parser.lines_count = before
    return trims


def _trimmed(literal: str, *, trims: bool) -> str:
    return literal.lstrip(SPACES) if trims else literal


def _unescaped(literal: str, parser: Parser) -> str:
    if "\\" not in literal:
        return literal

    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code:
            number = int(code, 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise _wrong(parser, f"U+{number:04x} is no character")
            return chr(number)
        if match[3] not in _ESCAPED:
            raise _wrong(parser, f'"\\{match[3]}" is no escape')
        return _ESCAPED[match[3]]

    return _ESCAPE.sub(one, literal)


def _wrong(parser: Parser, what: str) -> Wrong:
    return Wrong(parser.at, what)


def _flushed(parts: list[Part]) -> list[Part]:
    """Take from each line as many spaces as the line with the fewest begins with (`<<-`)."""
    least: int | None = None
    first: list[int] = []
    begins = True
    for index, part in enumerate(parts):
        if begins:
            begins = False
            if not isinstance(part, str):
                least = 0
            elif part.strip(SPACES) or not part.endswith("\n"):
                spaces = len(part) - len(part.lstrip(SPACES))
                least = spaces if least is None else min(least, spaces)
                first.append(index)
        if isinstance(part, str) and part.endswith("\n"):
            begins = True
    for index in first:
        line = parts[index]
        parts[index] = line[least or 0 :] if isinstance(line, str) else line
    return parts


class _Assembly:
    """Parts on their way to expressions. `ended_by` is the directive that the last sequence ended with."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = iter(parts)
        self.ended_by = ""

    def sequence(self, *ends: str) -> list[Expression]:
        """The parts up to one of the directives that end them; without any, all that are left."""
        found: list[Expression] = []
        for part in self._parts:
            if isinstance(part, str):
                found.append(Constant(part))
            elif not isinstance(part, Directive):
                found.append(part)
            elif part.kind in ends:
                self.ended_by = part.kind
                return found
            else:
                found += [Constant(""), self._directive(part)]
        if ends:
            raise ValueError(f"the directive {ends[-1]} is missing")
        return found

    def _directive(self, directive: Directive) -> Expression:
        if directive.expression is None:
            raise ValueError(f"the directive {directive.kind} is out of place")
        if directive.kind == "for":
            return Joined(For(directive.names, directive.expression, self._text("endfor")))
        yes = self._text("else", "endif")
        no = self._text("endif") if self.ended_by == "else" else Constant("")
        return Conditional(directive.expression, yes, no)

    def _text(self, *ends: str) -> Expression:
        """What stands before a directive: always a text, whatever it is made of."""
        return Interpolation((Constant(""), *self.sequence(*ends)))
