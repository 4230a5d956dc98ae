"""A template's blocks as a kind's dialect reads them: what is written, as far as it is known before the build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.desired.packer.evaluate import Scope, evaluate, why_unknown
from reconciler.desired.packer.syntax import (
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Interpolation,
    Pairs,
    Traversal,
    as_text,
)
from reconciler.model.errors import Place, UserError

DataSources = Mapping[tuple[str, ...], Block]
"""The template's `data` blocks by (type, name)."""

_MAX_HOPS = 32


@dataclass(frozen=True)
class TemplateValue:
    """An attribute: the `Value` of `ports/dialect.py`."""

    attribute: Attribute
    of: TemplateBlock

    @property
    def place(self) -> Place:
        """The place where the attribute is written."""
        return self.attribute.place

    @property
    def text(self) -> str | None:
        """The attribute as a text."""
        return as_text(self._value) or None

    @property
    def is_empty(self) -> bool:
        """Whether it is null or an empty text."""
        return self._value in ("", None)

    @property
    def texts(self) -> tuple[str, ...] | None:
        """The attribute as a list of texts."""
        return _texts(self._value)

    @property
    def listed(self) -> tuple[str | None, ...]:
        """The same, with None for each that is not known."""
        value = self._value
        return tuple(map(as_text, value if isinstance(value, list) else [] if value is None else [value]))

    @property
    def members(self) -> Mapping[str, tuple[str, ...] | None] | None:
        """The attribute as a mapping."""
        value = self._value
        return {str(name): _texts(one) for name, one in value.items()} if isinstance(value, dict) else None

    @property
    def named(self) -> Mapping[str, str | None]:
        """The members whose names are known."""
        return _named(self.attribute.expression, self.of.scope, hops=0)

    @property
    def why_unknown(self) -> str:
        """Why it is not known."""
        return why_unknown(self._alone, self.of.scope) or ""

    @property
    def variable(self) -> str | None:
        """The variable that it is."""
        match self._alone:
            case Traversal(("var", name)):
                return name
            case _:
                return None

    @property
    def data(self) -> TemplateBlock | None:
        """The data source that it is taken of."""
        match self._alone:
            case Traversal(("data", type_, name, _)):
                block = self.of.data_sources.get((type_, name))
                if block is None:
                    what = f'there is no data "{type_}" "{name}"'
                    raise UserError(what, where=self.place, hint="declare it, or fix the name")
                return replace(self.of, name=name, type=type_, place=block.place, body=block.body)
            case _:
                return None

    @property
    def _value(self) -> object:
        return evaluate(self.attribute.expression, self.of.scope)

    @property
    def _alone(self) -> Expression:
        """What an expression that only names a local, or is only `"${…}"`, comes down to."""
        expression = self.attribute.expression
        for _ in range(_MAX_HOPS):
            match expression:
                case Traversal(("local", name)) if name in self.of.scope.locals:
                    expression = self.of.scope.locals[name]
                case Interpolation((only,)):
                    expression = only
                case _:
                    break
        return expression


@dataclass(frozen=True)
class TemplateBlock:
    """A builder, a post-processor, a data source, or a block in one: the `Written` of `ports/dialect.py`."""

    name: str
    type: str
    place: Place
    body: Body
    scope: Scope
    data_sources: DataSources
    after: Sequence[TemplateBlock] = ()
    declares_run_tags: bool = False

    def get(self, attribute: str) -> TemplateValue | None:
        """An attribute."""
        found = self.body.attributes.get(attribute)
        return TemplateValue(found, self) if found is not None else None

    def blocks(self, *types: str) -> Sequence[TemplateBlock]:
        """The blocks in it."""
        found = self.body.of_type(*types) if types else self.body.blocks
        return [
            replace(self, name=one.labels[0] if one.labels else "", type=one.type, place=one.place, body=one.body)
            for one in found
        ]


def _texts(value: object) -> tuple[str, ...] | None:
    texts = [as_text(one) for one in (value if isinstance(value, list) else [value])]
    known = tuple(text for text in texts if text is not None)
    return known if len(known) == len(texts) else None


def _named(expression: Expression, scope: Scope, *, hops: int) -> Mapping[str, str | None]:
    value = evaluate(expression, scope)
    if isinstance(value, Mapping):
        return {str(name): as_text(one) for name, one in value.items()}
    if hops == _MAX_HOPS:
        return {}
    match expression:
        case Traversal(("local", name)) if name in scope.locals:
            return _named(scope.locals[name], scope, hops=hops + 1)
        case Call("merge", arguments):
            return {name: one for argument in arguments for name, one in _named(argument, scope, hops=hops + 1).items()}
        case Pairs(members):
            names = [(as_text(evaluate(name, scope)), one) for name, one in members]
            return {name: as_text(evaluate(one, scope)) for name, one in names if name is not None}
        case _:
            return {}
