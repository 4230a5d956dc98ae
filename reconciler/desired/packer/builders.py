"""Which builds `packer build` would run, and which kind of artifact each leaves."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.desired.linear import LONGEST
from reconciler.desired.packer.evaluate import Scope, evaluate, why_unknown
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Interpolation,
    Listing,
    Pairs,
    Traversal,
    as_text,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder
from reconciler.model.text import shorten
from reconciler.ports.dialect import Dialect
from reconciler.registries import dialect_for

NULL = "null"
"""Packer's builder that leaves nothing."""
Format = Literal["hcl2", "json"]
RUN_TAGS = "run_tags"


@dataclass(frozen=True)
class Build:
    """A builder with the body that it was read from: what the source says, refined by the build."""

    builder: Builder
    body: Body
    within: Block
    """The `build` block that runs it."""
    written: TemplateBlock
    """The builder as its kind's dialect reads it."""
    dialect: Dialect | None
    """That of what it leaves; None where it leaves nothing."""


def read_builds(
    blocks: Sequence[Block], *, scope: Scope, syntax: Format, only: Mapping[str, Place], template: Place
) -> list[Build]:
    """The builds that run, selected by `only` where it is given.

    Raises:
        UserError: nothing is built, an entry of `only` (pattern to its place) matches nothing, a source is not
            declared, or what is written of a source AMI can't be right.
    """
    sources: dict[tuple[str, ...], Block] = {
        block.labels: block for block in blocks if block.type == "source" and len(block.labels) == 2
    }
    # Not by name: Packer runs each of those that are called the same (seen with 1.6.6 and 1.16.0).
    found = [
        (*source, build)
        for build in blocks
        if build.type == "build"
        for source in _sources_of(build, sources, scope=scope, syntax=syntax)
    ]
    if not found:
        hint = 'add build { sources = ["source.…"] }' if syntax == "hcl2" else 'add one to "builders"'
        raise UserError("the template builds nothing", where=template, hint=hint)
    data = _data_sources(blocks)
    selected = _selected([name for name, *_ in found], only, syntax=syntax)
    declares = any(block.type in ("variable", "variables") and _declares_run_tags(block) for block in blocks)
    return [
        _build(TemplateBlock(name, type_, place, body, scope, data, declares_run_tags=declares), within, syntax=syntax)
        for name, type_, place, body, within in found
        if name in selected
    ]


def _declares_run_tags(block: Block) -> bool:
    return RUN_TAGS in block.labels or RUN_TAGS in block.body.attributes


def _build(written: TemplateBlock, within: Block, *, syntax: Format) -> Build:
    if written.type == NULL:
        return Build(Builder(written.name, written.type, written.place), written.body, within, written, None)
    name = plain_name(written, within, syntax=syntax)
    written = replace(written, after=tuple(_after(written, within.body, name)))
    dialect = dialect_for(written.type, (one.type for one in written.after))
    return Build(replace(dialect.builder(written), kind=dialect.kind), written.body, within, written, dialect)


def plain_name(written: TemplateBlock, within: Block, *, syntax: Format) -> str:
    """The name that `only` and `except` of a step have for a builder: `amazon-ebs.web`; in JSON its own."""
    return written.name.removeprefix(_group(within, scope=written.scope, syntax=syntax))


def _group(build: Block, *, scope: Scope, syntax: Format) -> str:
    """The beginning of its builders' names that a build block's own name is: `web.`; empty where it has none."""
    name = _text(build.body, "name", scope) if syntax == "hcl2" else None
    return f"{name}." if name else ""


def runs_in(body: Body, name: str, scope: Scope) -> bool:
    """Tell whether a step runs in a build. `only` goes first; what is not known excludes nothing."""
    only, but = (_listed(body.attributes.get(key), scope) for key in ("only", "except"))
    if only:
        return name in only or UNKNOWN in only
    return name not in but


def _listed(attribute: Attribute | None, scope: Scope) -> list[object]:
    value = evaluate(attribute.expression, scope) if attribute is not None else []
    return value if isinstance(value, list) else [value]


def _after(builder: TemplateBlock, body: Body, name: str) -> Iterator[TemplateBlock]:
    """The post-processors that run on what a builder leaves, also those in a sequence of them."""
    for block in body.of_type("post-processor", "post-processors"):
        if block.type == "post-processors":
            yield from _after(builder, block.body, name)
        elif block.labels and runs_in(block.body, name, builder.scope):
            yield replace(builder, name=block.labels[-1], type=block.labels[0], place=block.place, body=block.body)


def refuse_nothing_made(builds: Sequence[Build]) -> None:
    """Raise UserError where none of the builds that run leaves an artifact."""
    if all(build.dialect is None for build in builds):
        first = builds[0].builder
        raise UserError(
            f"{first.name} leaves nothing, and nothing else that runs does",
            where=first.place,
            hint="take a builder that makes an image, or choose another with packer.only",
        )


def _text(body: Body, name: str, scope: Scope) -> str | None:
    """The value of an attribute as text; None where it is absent, or cannot be known."""
    attribute = body.attributes.get(name)
    return as_text(evaluate(attribute.expression, scope)) or None if attribute is not None else None


def _sources_of(
    build: Block, sources: Mapping[tuple[str, ...], Block], *, scope: Scope, syntax: Format
) -> Iterator[tuple[str, str, Place, Body]]:
    """Name, type, place and body of each source that a build block runs."""
    group = _group(build, scope=scope, syntax=syntax)
    for reference in _references(build.body.attributes.get("sources"), scope):
        source = _find(reference, sources, place=build.body.attributes["sources"].place)
        type_, name = source.labels
        if syntax == "json":
            # Packer renders the name: {{user `flavour`}} in it counts by its value.
            name = _text(source.body, "name", scope) or name
            yield name, type_, source.place, source.body
        else:
            yield f"{group}{type_}.{name}", type_, source.place, source.body
    for nested in build.body.of_type("source"):
        source = _find(".".join(nested.labels), sources, place=nested.place)
        _refuse_set_twice(nested, source)
        renamed = nested.body.attributes.get("name")
        name = (as_text(evaluate(renamed.expression, scope)) if renamed else None) or source.labels[1]
        yield f"{group}{source.labels[0]}.{name}", source.labels[0], nested.place, nested.body.over(source.body)


def _refuse_set_twice(nested: Block, source: Block) -> None:
    """Packer lays the two over each other, and takes no argument that both have; blocks of one type may be in both."""
    for name, attribute in nested.body.attributes.items():
        first = source.body.attributes.get(name)
        if first is not None and not any(nested.body.of_type(name)):
            what = f"{name} is set here, and by the source itself at {first.place}: Packer takes it from one of them"
            raise UserError(what, where=attribute.place, hint="leave it out in the source, and set it in each build")


def types_named(build: Block, scope: Scope) -> Iterator[str]:
    """The types of all sources that a build names, `docker`, whichever run: Packer has to know each."""
    nested = (".".join(one.labels) for one in build.body.of_type("source"))
    for reference in (*_references(build.body.attributes.get("sources"), scope), *nested):
        kind, _, rest = reference.partition(".")
        yield rest.partition(".")[0] if kind in ("source", "sources") else kind


def _references(attribute: Attribute | None, scope: Scope) -> Iterator[str]:
    if attribute is None:
        return
    expression = attribute.expression
    for item in expression.items if isinstance(expression, Listing) else (expression,):
        if isinstance(item, Traversal) and item.steps[0] in ("source", "sources"):
            what = f"{'.'.join(item.steps)} is no text, and Packer takes the names of sources as texts"
            raise UserError(what, where=attribute.place, hint=f'write it in quotes: "{".".join(item.steps)}"')
        value = evaluate(item, scope)
        for text in map(as_text, value if isinstance(value, list) else [value]):
            if text is None:
                raise UserError(
                    f"it can't be known which sources are built ({why_unknown(item, scope) or 'one is no text'})",
                    where=attribute.place,
                    hint='name them: sources = ["source.amazon-ebs.…"]',
                )
            yield text


def _find(reference: str, sources: Mapping[tuple[str, ...], Block], *, place: Place) -> Block:
    # Packer drops the first of three parts, whatever it is (hcl2template/types.source.go, sourceRefFromString); the
    # name of a legacy builder may hold dots of its own.
    parts = reference.removeprefix("sources.").removeprefix("source.").split(".", maxsplit=1)
    source = sources.get(tuple(parts))
    if source is None:
        known = ", ".join(".".join(labels) for labels in sources)
        hint = f"declared are: {known}" if known else f'add source "{parts[0]}" "{parts[-1]}" {{ … }}'
        raise UserError(f'there is no source "{".".join(parts)}"', where=place, hint=hint)
    return source


def _selected(every: Sequence[str], only: Mapping[str, Place], *, syntax: Format) -> list[str]:
    """The names that `-only` selects, each once: globs in HCL2, exact names in JSON templates."""
    names = list(dict.fromkeys(every))
    if not only:
        return names
    for pattern, place in only.items():
        if not any(is_selected(name, pattern, syntax=syntax) for name in names):
            # Packer before 1.8.5 ends with 0 here, having built nothing.
            raise UserError(
                f'packer.only: "{shorten(pattern)}" matches no build',
                where=place,
                hint=f"there are: {', '.join(names)}",
            )
    return [name for name in names if any(is_selected(name, pattern, syntax=syntax) for pattern in only)]


def is_selected(name: str, pattern: str, *, syntax: Format) -> bool:
    """Whether `-only` with one name or glob selects a build."""
    if syntax == "json":
        return name == pattern
    if len(pattern) > LONGEST:
        return False
    return any(fnmatch.fnmatchcase(name, one) for one in _alternatives(pattern))


def _alternatives(pattern: str) -> list[str]:
    """Spell out one `{a,b}`, which Packer's globs have and Python's don't."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    return [pattern[: braces.start()] + one + pattern[braces.end() :] for one in braces[1].split(",")]


def _data_sources(blocks: Sequence[Block]) -> DataSources:
    return {block.labels: block for block in blocks if block.type == "data" and len(block.labels) == 2}


# A template's blocks as a kind's dialect reads them: what is written, as far as it is known before the build.

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
