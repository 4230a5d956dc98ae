"""Expressions and templates of HCL2, from text to a tree, as HashiCorp's parser reads them (hclsyntax/parser.go).

There are no tokens between: what a character means depends on where it stands (in a text, between brackets, at the
end of a line), and the parser is what knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from reconciler.desired.packer.language import template_text
from reconciler.desired.packer.language.numbers import literal_at, parse_number
from reconciler.desired.packer.language.outcome import Refused, Undecided, Wrong
from reconciler.desired.packer.language.template_text import Directive, Part
from reconciler.desired.packer.language.values import text as normalized
from reconciler.desired.packer.syntax import (
    Call,
    Conditional,
    Constant,
    Expression,
    For,
    Index,
    Item,
    Listing,
    Member,
    Opaque,
    Operation,
    Pairs,
    Splat,
    Traversal,
    element_of,
    member_of,
)
from reconciler.model.errors import Place

MAX_DEPTH = 60
"""Brackets within each other. Deeper ones are no mistake, but nobody's template either, and Python's stack ends."""

MAX_CHAIN = 150
"""Operators, or steps to a member, in a row. What goes on for longer is read, and not evaluated."""

_COMMENT = r"(?>/\*[\s\S]*?\*/)"
_SYMBOLS = r"==|!=|>=|<=|&&|\|\||\.\.\.|=>|::|~\}|<<-?|[\[\](){}.,*/%+\-=<>!?:\"]"
# What comes next, after blanks: the end of a line or of the text, a symbol, a word, or a number's first digit.
_NEXT = {
    True: re.compile(rf"(?:[ \t]|{_COMMENT})*+(?:(\r?\n|#|//|\Z)|({_SYMBOLS})|([^\W\d][\w-]*)|([0-9]))"),
    False: re.compile(rf"(?:[ \t\n]|\r\n|#[^\n]*|//[^\n]*|{_COMMENT})*+(?:(\Z)|({_SYMBOLS})|([^\W\d][\w-]*)|([0-9]))"),
}
_WORDS = {"true": True, "false": False, "null": None}
_STRENGTH = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, ">": 4, ">=": 4, "<": 4, "<=": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6,
}  # fmt: skip


class Parser:
    """A text, and where in it the parser stands. `place` says where an offset is for a reader."""

    def __init__(self, text: str, place: Callable[[int], Place], *, at: int = 0) -> None:
        self.text = text
        self.at = at
        self.place = place
        self.lines_count = True
        """Whether the end of a line ends an expression; not between brackets."""
        self._depth = 0
        self._open = 0
        self._seen = (-1, True)
        self._symbol = self._word = ""

    def expression(self) -> Expression:
        """The expression that begins here.

        Raises:
            Wrong: there is none, or it has a mistake.
        """
        self._enter()
        found = self._operation(1)
        if self.peek() == "?":
            self.take("?")
            yes = self.expression()
            self.take(":")
            found = Conditional(found, yes, self.expression())
        self._depth -= 1
        return found

    def _enter(self) -> None:
        if self._depth >= MAX_DEPTH:
            raise Wrong(self.at, f"more than {MAX_DEPTH} levels of nesting", too_deep=True)
        self._depth += 1

    def peek(self) -> str:
        """The symbol that comes next; `a` for a word, `0` for a number, a line's end, or the empty text at the end."""
        if self._seen == (self.at, self.lines_count):
            return self._symbol
        match = _NEXT[self.lines_count].match(self.text, self.at)
        if match is None or match.lastindex is None:
            raise Wrong(self.at, "something here is not used in HCL")
        self.at = match.start(match.lastindex)
        match match.lastindex:
            case 1:
                self._symbol = "\n" if self.at < len(self.text) else ""
            case 2:
                self._symbol = match[2]
            case 3:
                self._symbol, self._word = "a", match[3]
            case _:
                self._symbol = "0"
        self._seen = (self.at, self.lines_count)
        return self._symbol

    def take(self, symbol: str) -> None:
        """Step over a symbol that has to be next."""
        if self.peek() != symbol:
            raise Wrong(self.at, f'expected "{symbol}"')
        self.at += len(symbol)

    def word(self) -> str:
        """Step over a word that has to be next."""
        if self.peek() != "a":
            raise Wrong(self.at, "expected a name")
        self.at += len(self._word)
        return self._word

    def within(self, lines_count: bool, read: Callable[[], Expression]) -> Expression:  # noqa: FBT001 - the one thing that it sets
        """Read with lines counting or not, and then as before."""
        before, self.lines_count = self.lines_count, lines_count
        found = read()
        self.lines_count = before
        return found

    def _operation(self, weakest: int) -> Expression:
        left = self._operand()
        further: list[Expression] = []
        count = 0
        while (strength := _STRENGTH.get(operator := self.peek(), 0)) >= weakest:
            self.take(operator)
            right = self._operation(strength + 1)
            count += 1
            if count > MAX_CHAIN:
                further.append(right)
            else:
                left = Operation(operator, (left, right))
        return Opaque((left, *further)) if further else left

    def _operand(self) -> Expression:
        symbol = self.peek()
        if symbol in ("-", "!"):
            self.take(symbol)
            self._enter()
            operand = self._operand()
            self._depth -= 1
            return Operation(symbol, (operand,))
        return self._steps(self._term(symbol))

    def _term(self, symbol: str) -> Expression:
        read = self._TERMS.get(symbol)
        if read is None:
            raise Wrong(self.at, "expected the start of an expression")
        return self.within(False, lambda: read(self)) if symbol in ("(", "[") else read(self)

    def _quoted(self) -> Expression:
        self.take('"')
        return self._template(template_text.quoted)

    def _heredoc(self) -> Expression:
        return self._template(template_text.heredoc)

    def _named(self) -> Expression:
        start = self.at
        name = self.word()
        if self.peek() in ("(", "::"):
            while self.peek() == "::":
                self.take("::")
                name += f"::{self.word()}"
            self.take("(")
            return self.within(False, lambda: self._call(name, self.place(start)))
        return Constant(_WORDS[name]) if name in _WORDS else Traversal((name,))

    def _call(self, name: str, place: Place) -> Expression:
        arguments: list[Expression] = []
        spread = False
        while self.peek() != ")":
            arguments.append(self.expression())
            if self.peek() == "...":
                self.take("...")
                spread = True
                break
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        return Call(name, tuple(arguments), place, spread)

    def _number(self) -> Expression:
        start = self.at
        try:
            self.at, written = literal_at(self.text, start)
            return Constant(int(written) if written.isdigit() and len(written) < 100 else parse_number(written))
        except Refused as error:
            raise Wrong(start, "not a number") from error
        except Undecided:
            return Opaque()

    def _parenthesized(self) -> Expression:
        self.take("(")
        found = self.expression()
        self.take(")")
        return found

    def _list(self) -> Expression:
        self.take("[")
        if self._is_for():
            return self._for("]")
        items: list[Expression] = []
        while self.peek() != "]":
            items.append(self.expression())
            if self.peek() != "]":
                self.take(",")
        self.take("]")
        return Listing(tuple(items))

    def _object(self) -> Expression:
        self.take("{")
        self._next_line()
        if self._is_for():
            return self.within(False, lambda: self._for("}"))
        return self.within(True, self._pairs)

    def _pairs(self) -> Expression:
        members: list[tuple[Expression, Expression]] = []
        while self._next_line() != "}":
            members.append(self._pair())
            symbol = self.peek()
            if symbol == ",":
                self.take(",")
            elif symbol not in ("\n", "}"):
                raise Wrong(self.at, "expected a comma or the end of the line")
        self.take("}")
        return Pairs(tuple(members))

    def _pair(self) -> tuple[Expression, Expression]:
        is_computed = self.peek() == "("
        key = self.expression()
        if not is_computed:
            key = _key(key)
        separator = self.peek()
        if separator not in ("=", ":"):
            raise Wrong(self.at, 'expected "="')
        self.take(separator)
        return key, self.expression()

    def _is_for(self) -> bool:
        return self.peek() == "a" and self._word == "for"

    def _for(self, closer: str) -> Expression:
        names = self.loop_names()
        collection = self.expression()
        self.take(":")
        key, value = None, self.expression()
        if self.peek() == "=>":
            self.take("=>")
            key, value = value, self.expression()
        groups = self.peek() == "..."
        if groups:
            self.take("...")
        condition = None
        if self.peek() == "a":
            self._keyword("if")
            condition = self.expression()
        if (key is None) != (closer == "]") or (groups and key is None):
            raise Wrong(self.at, "a list has no keys, and an object has")
        self.take(closer)
        return For(names, collection, value, key, condition, groups)

    def loop_names(self) -> tuple[str, ...]:
        """Read `for k, v in`."""
        self._keyword("for")
        names = [self.word()]
        if self.peek() == ",":
            self.take(",")
            names.append(self.word())
        self._keyword("in")
        return tuple(names)

    def _keyword(self, wanted: str) -> None:
        if self.word() != wanted:
            raise Wrong(self.at - len(self._word), f'expected "{wanted}"')

    def _steps(self, found: Expression) -> Expression:
        count = 0
        while (symbol := self.peek()) in (".", "["):
            step = self._dotted if symbol == "." else self._indexed
            made = step(found if count < MAX_CHAIN else Opaque())
            found = made if count < MAX_CHAIN else Opaque((found,)) if count == MAX_CHAIN else found
            count += 1
        return found

    def _dotted(self, base: Expression) -> Expression:
        self.take(".")
        match self.peek():
            case "a":
                return member_of(base, self.word())
            case "0":
                return Index(base, self._legacy_index())
            case "*":
                self.take("*")
                each: Expression = Item()
                count = 0
                while self.peek() == ".":
                    self.take(".")
                    step = Index(each, self._legacy_index()) if self.peek() == "0" else member_of(each, self.word())
                    each = step if count < MAX_CHAIN else Opaque()
                    count += 1
                return Splat(base, each)
            case _:
                raise Wrong(self.at, "expected a name after the dot")

    def _legacy_index(self) -> Expression:
        start = self.at
        number = self._number()
        if "." in self.text[start : self.at]:
            raise Wrong(start, "write [0][1] for one index after another")
        return number

    def _indexed(self, base: Expression) -> Expression:
        self.take("[")
        if self.peek() == "*":
            self.take("*")
            self.take("]")
            self._enter()
            each = self._steps(Item())
            self._depth -= 1
            return Splat(base, each)
        key = self.within(False, self._index)
        if isinstance(key, Constant) and isinstance(key.value, str):
            return element_of(base, key.value)
        return Index(base, key)

    def _index(self) -> Expression:
        key = self.expression()
        self.take("]")
        return key

    def _template(self, read: Callable[[Parser], list[Part]]) -> Expression:
        around, self._open = self._open, 0
        parts = read(self)
        self._depth -= self._open  # what is not closed is said below
        self._open = around
        try:
            return template_text.assembled(parts)
        except ValueError as error:
            raise Wrong(self.at, str(error)) from error

    def directive(self) -> Part:
        """Read what stands in `%{ … }`, up to its end. What follows an `if` or a `for` is within it until that ends."""
        match self.peek() == "a" and self._word:
            case "if":
                self.word()
                return self._opening(Directive("if", self.expression()))
            case "for":
                names = self.loop_names()
                return self._opening(Directive("for", self.expression(), names))
            case "else" | "endif" | "endfor" as kind:
                self.word()
                if kind != "else" and self._open:
                    self._open -= 1
                    self._depth -= 1
                return Directive(kind)
            case _:
                raise Wrong(self.at, "expected if, else, endif, for or endfor")

    def _opening(self, directive: Directive) -> Directive:
        self._enter()
        self._open += 1
        return directive

    def _next_line(self) -> str:
        """The symbol that comes next, on whichever line."""
        before, self.lines_count = self.lines_count, False
        self.peek()
        self.lines_count = before
        return self.peek()

    _TERMS: ClassVar[Mapping[str, Callable[[Parser], Expression]]] = {
        "a": _named, "0": _number, '"': _quoted, "<<": _heredoc, "<<-": _heredoc, "(": _parenthesized, "[": _list,
        "{": _object,
    }  # fmt: skip


def _key(key: Expression) -> Expression:
    """A bare word as a key is its own name; only parentheses make it a variable."""
    match key:
        case Traversal((name,)):
            return Constant(normalized(name))
        case Traversal() | Member() | Index():
            return Opaque()
        case Constant(bool() | None as word):
            return Constant({True: "true", False: "false", None: "null"}[word])
        case _:
            return key
