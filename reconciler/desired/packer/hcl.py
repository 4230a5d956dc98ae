"""HCL2: the files of a template as bodies of attributes and blocks, with exact positions and Packer's errors."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from reconciler.desired.located import decode
from reconciler.desired.packer.language import template_text
from reconciler.desired.packer.language.outcome import Wrong
from reconciler.desired.packer.language.parser import Parser
from reconciler.desired.packer.language.values import text as normalized
from reconciler.desired.packer.syntax import Attribute, Block, Body, Constant, Expression, Opaque, SourceFile, Traversal
from reconciler.model.errors import Place, UserError

# Words for HCL that can't be read, taken from HashiCorp's own parser so that they are those of Packer.

# `invalid HCL: tmp.hcl:2,7-3,1: Invalid expression; Expected the start of …`, further ones after a comma.
_REPORT = re.compile(r"tmp\.hcl:(\d+),(\d+)-[\d,]+: (.*?)(?=, tmp\.hcl:\d|\Z)", re.DOTALL)
# HashiCorp's parser recurses, and Go ends the whole process when its stack is full: not for us to risk.
_MAX_OPENERS = 5_000
# It looks through the rest anew from each `/*` and `$`: for 100 kB of them it took 100 s, and it can't be interrupted.
_MAX_LENGTH = 16_384


def syntax_error(text: str, error: Wrong, place: Place) -> UserError:
    """The error for a file that could not be read: the first that HashiCorp's parser reports.

    Where that one reads the file, our own is given.
    """
    # It is asked about what leads up to the mistake alone: what follows may be nested without end.
    end = text.find("\n", error.at) + 1 or len(text)
    if error.too_deep:
        return UserError(error.what, where=place, hint="take it apart: let locals, or files, hold parts of it")
    return _by_pygohcl(text[:end], place.path) or UserError(
        f"not valid HCL: {error.what}", where=place, hint="run `packer fmt` on it"
    )


def _by_pygohcl(text: str, path: str) -> UserError | None:
    if len(text) > _MAX_LENGTH or sum(map(text.count, "([{")) > _MAX_OPENERS or "\0" in text:
        return None
    import pygohcl  # noqa: PLC0415 - 15 MB of Go, wanted only when there is an error to word

    try:
        pygohcl.loads(text)
    except pygohcl.HCLParseError as error:
        report = _REPORT.search(str(error))
        if report is None:
            return UserError(f"not valid HCL: {error}", where=Place(path), hint="run `packer fmt` on it")
        title, _, rest = report[3].partition("; ")
        line, column = int(report[1]), int(report[2])
        return UserError(f"not valid HCL: {title}", where=Place(path, line, column), hint=rest or "fix the line")
    except (ValueError, pygohcl.HCLInternalError):
        return None
    return None


# HCL2: the files of a template as bodies of attributes and blocks, with exact positions.
#
# Its own parser, for want of one to be had. `pygohcl`, HashiCorp's in a Python package, flattens expressions and has no
# positions (it words the errors, see `hcl_error`); `python-hcl2` takes 15 ms a template, and 3 s for the first;
# `tree-sitter-hcl`, used here before, refuses what is HCL (`1e3`), takes what is none, loses the spaces that a
# heredoc's indentation and `~` need, and takes twice as long.

# These begin with a constant, which `re` looks for ten times as fast as for a word's beginning. That they find
# `myfile(` and `myvar.x`, too, does no harm.
READS_FILES = re.compile(r"file[a-z0-9]{0,32}\s*\(")
_NAMES = {kind: re.compile(rf"{kind}\.([A-Za-z_][\w-]*)") for kind in ("var", "local")}
MAX_DEPTH = 64

_NOTHING = re.compile(r"(?:[ \t\n]|\r\n|#[^\n]*|//[^\n]*|/\*[\s\S]*?\*/)*+")
# The forms that most lines of a template have, each read at once.
_ATTRIBUTE = re.compile(
    r'([A-Za-z_][A-Za-z0-9_-]*)[ \t]*=[ \t]*(?:"([^"\\$%\n\r]*)"|(true|false|null)|([0-9]{1,18})'
    r"|([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*))[ \t]*(?=\r?\n|#|//)"
)
_BLOCK = re.compile(r'([A-Za-z_][A-Za-z0-9_-]*)((?:[ \t]+"[^"\\$%\n\r]*")*)[ \t]*\{[ \t]*(?=\r?\n|#|//)')
_LINE_ENDS = re.compile(r"[ \t]*(?=\r?\n|\Z)")
_LABEL = re.compile(r'"([^"]*)"')
_WORDS = {"true": Constant(True), "false": Constant(False), "null": Constant(None)}


def read_hcl(content: bytes, path: str) -> SourceFile:
    """Parse one HCL2 file.

    Raises:
        UserError: it is not text, not HCL (with line and column), or nested beyond reason.
    """
    try:
        text = decode(content, path)
    except UserError:
        # A comment may be in whatever encoding, for Packer (1.6.6, 1.16.0). What reads the same whatever stands for its
        # bytes has them nowhere else.
        one, other = (_read(decode(content, path, foreign=stand_in), path) for stand_in in "xy")
        said, otherwise = ([each.expression for each in file.body.walk()] for file in (one, other))
        if (one.body, said) != (other.body, otherwise):
            raise
        return one
    return _read(text, path)


def _read(text: str, path: str) -> SourceFile:
    reader = _Reader(text, _Positions(text, path))
    try:
        body = reader.body(depth=0)
    except Wrong as error:
        raise syntax_error(text, error, reader.where.place(error.at)) from error
    return SourceFile(path, body, READS_FILES.search(text) is not None, names_in(text))


def names_in(text: str) -> frozenset[tuple[str, str]]:
    """Whatever looks like a variable or a local in the text of a template, in either syntax."""
    return frozenset((kind, name) for kind, pattern in _NAMES.items() for name in pattern.findall(text))


def read_template(text: str, place: Place) -> Expression:
    """Parse a text with expressions in it that has no quotes around it. Opaque if it has a mistake."""
    try:
        return template_text.assembled(template_text.bare(Parser(text, lambda _at: place)))
    except (Wrong, ValueError):
        return Opaque()


@dataclass
class _Positions:
    """From offsets in a text to places."""

    text: str
    path: str
    lines: list[int] = field(default_factory=list)

    def place(self, at: int) -> Place:
        if not self.lines:
            self.lines = [0, *(match.end() for match in re.finditer("\n", self.text))]
        line = bisect_right(self.lines, at)
        return Place(self.path, line, at - self.lines[line - 1] + 1)


class _Reader:
    """Reads bodies; what takes more than a look at a line is the expression parser's."""

    def __init__(self, text: str, where: _Positions) -> None:
        self.text = text
        self.where = where
        self.at = 0

    def body(self, *, depth: int) -> Body:
        """What stands up to the closing brace, which is stepped over; at the top, up to the end."""
        text = self.text
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        while True:
            self._skip(_NOTHING)
            start = self.at
            if start >= len(text):
                if depth:
                    raise Wrong(start, "a block is not closed")
                return Body(attributes, tuple(blocks))
            if text[start] == "}" and depth:
                self.at += 1
                return Body(attributes, tuple(blocks))
            if match := _ATTRIBUTE.match(text, start):
                self.at = match.end()
                self._add(attributes, match[1], start, _plain(match), match.end(1))
            elif match := _BLOCK.match(text, start):
                self.at = match.end()
                labels = tuple(normalized(label) for label in _LABEL.findall(match[2])) if match[2] else ()
                blocks.append(self._block(match[1], labels, start, depth=depth))
            else:
                self._other(attributes, blocks, depth=depth)

    def _other(self, attributes: dict[str, Attribute], blocks: list[Block], *, depth: int) -> None:
        """Read an attribute or block of any other form."""
        start = self.at
        parser = self._parser()
        name = parser.word()
        if parser.peek() == "=":
            self._attribute(attributes, name, parser, start)
            self._end_line(parser)
            return
        labels = []
        while (symbol := parser.peek()) in ('"', "a"):
            labels.append(_label(parser) if symbol == '"' else parser.word())
        parser.take("{")
        if parser.peek() in ("\n", "}"):
            self.at = parser.at
            blocks.append(self._block(name, tuple(labels), start, depth=depth))
            return
        inner: dict[str, Attribute] = {}
        at = parser.at
        self._attribute(inner, parser.word(), parser, at)
        parser.take("}")
        self._end_line(parser)
        blocks.append(Block(name, tuple(labels), self.where.place(start), Body(inner)))

    def _block(self, kind: str, labels: tuple[str, ...], start: int, *, depth: int) -> Block:
        place = self.where.place(start)
        if depth > MAX_DEPTH:
            raise UserError(f"more than {MAX_DEPTH} levels of blocks", where=place, hint="flatten the template")
        body = self.body(depth=depth + 1)
        if match := _LINE_ENDS.match(self.text, self.at):
            self.at = match.end()
        else:
            self._end_line(self._parser())
        return Block(kind, labels, place, body)

    def _attribute(self, into: dict[str, Attribute], name: str, parser: Parser, start: int) -> None:
        parser.take("=")
        begins = parser.at
        expression = parser.expression()
        self.at = parser.at
        self._add(into, name, start, expression, begins)

    def _add(self, into: dict[str, Attribute], name: str, start: int, expression: Expression, after_name: int) -> None:
        place = self.where.place(start)
        if name in into:
            raise UserError(
                f'"{name}" is set a second time; the first is on line {into[name].place.line}',
                where=place,
                hint="keep one of them",
            )
        into[name] = Attribute(name, place, _given(expression), partial(self._written, after_name, self.at))

    def _written(self, start: int, end: int) -> str:
        return self.text[start:end].strip(" \t=")

    def _parser(self) -> Parser:
        return Parser(self.text, self.where.place, at=self.at)

    def _end_line(self, parser: Parser) -> None:
        if parser.peek() not in ("\n", ""):
            raise Wrong(parser.at, "expected the end of the line")
        self.at = parser.at

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at


def _label(parser: Parser) -> str:
    found = parser.expression()
    if not isinstance(found, Constant) or not isinstance(found.value, str):
        raise Wrong(parser.at, "a label is a text without expressions")
    return found.value


def _plain(match: re.Match[str]) -> Expression:
    """The value of an attribute that `_ATTRIBUTE` found."""
    if match[2] is not None:
        return Constant(normalized(match[2]))
    if match[3]:
        return _WORDS[match[3]]
    return Constant(int(match[4])) if match[4] else Traversal(tuple(match[5].split(".")))


def _given(expression: Expression) -> Callable[[], Expression]:
    return lambda: expression
