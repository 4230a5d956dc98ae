"""What a template is made of, in whichever syntax it was written: bodies of attributes and blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from reconciler.model.errors import Place


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: text, a number, true, false or null."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Traversal:
    """A path to a named thing: `var.region` is ("var", "region")."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interpolation:
    """Text with expressions in it: `"${path.root}/setup.sh"`."""

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
    """A function call."""

    function: str
    arguments: tuple[Expression, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything that is not evaluated here; `parts` are kept, as they may call functions that read files."""

    parts: tuple[Expression, ...] = ()


Expression: TypeAlias = "Constant | Traversal | Interpolation | Listing | Pairs | Call | Opaque"


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
