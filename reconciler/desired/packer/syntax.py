"""What a template is made of, in whichever syntax it was written, and what its expressions come to."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.desired.packer.language.numbers import Number
from reconciler.model.errors import Place, UserError

if TYPE_CHECKING:
    from reconciler.desired.packer.language.values import Value


# What a template is made of, in whichever syntax it was written: bodies of attributes and blocks.


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: text, a number, true, false or null."""

    value: str | int | float | bool | Number | None


@dataclass(frozen=True, slots=True)
class Traversal:
    """A path to a named thing: `var.region` is ("var", "region")."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interpolation:
    """Text with expressions in it: `"${path.root}/setup.sh"`. One part alone is itself, of whatever type."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list written out."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """An object written out. Keys are expressions too; a bare word is a Constant."""

    members: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function call. With `spread`, the members of the last argument are arguments: `merge(maps...)`."""

    function: str
    arguments: tuple[Expression, ...]
    place: Place
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """`a + b`, or with one operand `-a` or `!a`."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? yes : no`, also as a directive of a text."""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Index:
    """`base[key]`."""

    base: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`, of anything but a path to a named thing."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Splat:
    """`base[*].name` and `base.*.name`: `each` is what is made of every ITEM."""

    base: Expression
    each: Expression


@dataclass(frozen=True, slots=True)
class Item:
    """What stands for one member within a splat."""


@dataclass(frozen=True, slots=True)
class For:
    """`[for k, v in c : value if condition]`, with a `key` `{for … : key => value}`, with `groups` `value...`."""

    names: tuple[str, ...]
    collection: Expression
    value: Expression
    key: Expression | None = None
    condition: Expression | None = None
    groups: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """The members of a list as one text: `%{for}` in a text."""

    parts: Expression


@dataclass(frozen=True, slots=True)
class Bound:
    """An expression of a `dynamic` block's content, with what its iterators stand for."""

    expression: Expression
    names: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything that is not evaluated here; `parts` are kept, as they may call functions that read files."""

    parts: tuple[Expression, ...] = ()
    wrong: str = ""
    """Why no Packer renders it, of an action in a text of a JSON template."""


Expression: TypeAlias = (
    "Constant | Traversal | Interpolation | Listing | Pairs | Call | Operation | Conditional | Index | Member | Splat "
    "| Item | For | Joined | Bound | Opaque"
)
EXPRESSIONS = (
    Constant, Traversal, Interpolation, Listing, Pairs, Call, Operation, Conditional, Index, Member, Splat, Item, For,
    Joined, Bound, Opaque,
)  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """`name = expression`. The expression is converted when first asked for: most of a template never is."""

    name: str
    place: Place
    convert: Callable[[], Expression] = field(repr=False, compare=False)
    spell: Callable[[], str] = field(default=str, repr=False, compare=False)

    @cached_property
    def expression(self) -> Expression:
        """The right-hand side."""
        return self.convert()

    @property
    def source_text(self) -> str:
        """The right-hand side as it is written in HCL; empty in JSON."""
        return self.spell()


@dataclass(frozen=True)
class Body:
    """What stands between braces, or a whole file."""

    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()

    def of_type(self, *types: str) -> Iterator[Block]:
        """The blocks of these types, in order of the file."""
        return (block for block in self.blocks if block.type in types)

    def walk(self) -> Iterator[Attribute]:
        """Every attribute at any depth."""
        yield from self.attributes.values()
        for block in self.blocks:
            yield from block.body.walk()

    def over(self, under: Body) -> Body:
        """This body laid over another, as a build's `source` block refines the source that it names."""
        return Body({**under.attributes, **self.attributes}, (*under.blocks, *self.blocks))


@dataclass(frozen=True)
class Block:
    """`type "label" "label" { … }`."""

    type: str
    labels: tuple[str, ...]
    place: Place
    body: Body


@dataclass(frozen=True)
class SourceFile:
    """One parsed file of a template."""

    path: str
    body: Body
    calls_files: bool
    """Whether a function that reads files may be called in it; decided on its text, to spare the walk."""
    names: frozenset[tuple[str, str]] = frozenset()
    """What its text may use of variables and locals, as ("var", "region"); comments and constants count too."""
    twice: tuple[UserError, ...] = ()
    """Of a file of variables in JSON: keys that stand there before, which HCL2 refuses, and JSON templates don't."""


def calls(expression: Expression) -> Iterator[Call]:
    """Every function call within an expression, outermost first."""
    waiting = [expression]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Call):
            yield one
        waiting.extend(parts_of(one))


def parts_of(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that an expression is made of directly."""
    parts: tuple[Expression | None, ...] = ()
    match expression:
        case Interpolation(inner) | Opaque(inner) | Listing(inner):
            parts = inner
        case Pairs(members):
            parts = tuple(one for member in members for one in member)
        case Call():
            parts = expression.arguments
        case Operation():
            parts = expression.operands
        case Conditional(condition, yes, no):
            parts = (condition, yes, no)
        case Index(base, key):
            parts = (base, key)
        case Member(base) | Joined(base) | Bound(base):
            parts = (base,)
        case Splat(base, each):
            parts = (base, each)
        case For():
            parts = (expression.collection, expression.value, expression.key, expression.condition)
        case _:
            pass
    return tuple(part for part in parts if part is not None)


# What an expression comes to: text, a number, truth, None, a list, a dict, or UNKNOWN.


def member_of(base: Expression, name: str) -> Expression:
    """The member of a value by its name: one more step, where that is a path so far."""
    return Traversal((*base.steps, name)) if isinstance(base, Traversal) else Member(base, name)


def element_of(base: Expression, key: str) -> Expression:
    """The element of a value by its key, likewise."""
    return Traversal((*base.steps, key)) if isinstance(base, Traversal) else Index(base, Constant(key))


class Unknown(enum.Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "not known"


UNKNOWN: Final = Unknown.UNKNOWN
MAX_TEXT = 64 * 1024
"""Longer text is not known: a template must not make gigabytes of a few doublings."""


def as_text(value: object) -> str | None:
    """Text as HCL would make of a value, or None if that isn't known."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case _:
            return None


def joined(separator: str, values: Iterable[object]) -> str | Unknown:
    """The values as one text; UNKNOWN if one of them is, or if it is too long."""
    texts = []
    length = 0
    for value in values:
        text = as_text(value)
        length += len(text or "") + len(separator)
        if text is None or length > MAX_TEXT:
            return UNKNOWN
        texts.append(text)
    return separator.join(texts)
