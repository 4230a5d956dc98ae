"""Which builds `packer build` would run, what each is built on, and what it leaves with which tags."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.desired.packer.evaluate import Scope, evaluate, why_unknown
from reconciler.desired.packer.source_request import DataSources, read_copies, read_region, read_source
from reconciler.desired.packer.syntax import (
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Listing,
    Pairs,
    Traversal,
    as_text,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Builder
from reconciler.model.text import shorten

# The tags that a builder of the amazon plugin puts on what it makes, as far as their names can be known.

Tags = Mapping[str, str | None]
"""Values by name; None for one that only the build knows."""

_MAX_HOPS = 32


def read_tags(body: Body, attribute: str, block: str, scope: Scope) -> Tags:
    """What an attribute such as `tags` sets, and blocks such as `tag { key = "…" value = "…" }`, one a tag."""
    found: dict[str, str | None] = {}
    if attribute in body.attributes:
        found |= _known(body.attributes[attribute].expression, scope, hops=0)
    for one in body.of_type(block):
        key, value = (one.body.attributes.get(name) for name in ("key", "value"))
        name = as_text(evaluate(key.expression, scope)) if key is not None else None
        if name is not None:
            found[name] = as_text(evaluate(value.expression, scope)) if value is not None else None
    return found


def _known(expression: Expression, scope: Scope, *, hops: int) -> Tags:
    """The members of a map whose names are known, whatever else it is merged of."""
    value = evaluate(expression, scope)
    if isinstance(value, Mapping):
        return {str(name): as_text(one) for name, one in value.items()}
    if hops == _MAX_HOPS:
        return {}
    match expression:
        case Traversal(("local", name)) if name in scope.locals:
            return _known(scope.locals[name], scope, hops=hops + 1)
        case Call("merge", arguments):
            return {name: one for argument in arguments for name, one in _known(argument, scope, hops=hops + 1).items()}
        case Pairs(members):
            names = [(as_text(evaluate(name, scope)), one) for name, one in members]
            return {name: as_text(evaluate(one, scope)) for name, one in names if name is not None}
        case _:
            return {}


# Which builds `packer build` would run for a template, and where each one builds on what.

AMI_TYPES = frozenset({"amazon-ebs", "amazon-ebssurrogate", "amazon-chroot", "amazon-instance"})
AMAZON_TYPES = AMI_TYPES | {"amazon-ebsvolume"}
Format = Literal["hcl2", "json"]


@dataclass(frozen=True)
class Build:
    """A builder with the body that it was read from: what the source says, refined by the build."""

    builder: Builder
    body: Body
    within: Block
    """The `build` block that runs it."""


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
    return [
        Build(_builder(name, type_, place, body, scope=scope, data=data), body, within)
        for name, type_, place, body, within in found
        if name in selected
    ]


def _builder(name: str, type_: str, place: Place, body: Body, *, scope: Scope, data: DataSources) -> Builder:
    if type_ not in AMAZON_TYPES:
        return Builder(name, type_, place)
    source = read_source(name, body, scope=scope, data=data, place=place)
    return Builder(
        name, type_, place, read_region(body, scope=scope), source.request, source.place, source.unpinned,
        ssh_username=_text(body, "ssh_username", scope), communicator=_text(body, "communicator", scope) or "ssh",
        clears_keys=_text(body, "ssh_clear_authorized_keys", scope) == "true",
        tags=read_tags(body, "tags", "tag", scope),
        snapshot_tags=read_tags(body, "snapshot_tags", "snapshot_tag", scope),
        copies=read_copies(body, scope=scope),
    )  # fmt: skip


def _text(body: Body, name: str, scope: Scope) -> str | None:
    """The value of an attribute as text; None where it is absent, or cannot be known."""
    attribute = body.attributes.get(name)
    return as_text(evaluate(attribute.expression, scope)) or None if attribute is not None else None


def _sources_of(
    build: Block, sources: Mapping[tuple[str, ...], Block], *, scope: Scope, syntax: Format
) -> Iterator[tuple[str, str, Place, Body]]:
    """Name, type, place and body of each source that a build block runs."""
    group = ""
    if "name" in build.body.attributes and syntax == "hcl2":
        text = as_text(evaluate(build.body.attributes["name"].expression, scope))
        group = f"{text}." if text else ""
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
        renamed = nested.body.attributes.get("name")
        name = (as_text(evaluate(renamed.expression, scope)) if renamed else None) or source.labels[1]
        yield f"{group}{source.labels[0]}.{name}", source.labels[0], nested.place, nested.body.over(source.body)


def _references(attribute: Attribute | None, scope: Scope) -> Iterator[str]:
    if attribute is None:
        return
    expression = attribute.expression
    for item in expression.items if isinstance(expression, Listing) else (expression,):
        if isinstance(item, Traversal) and item.steps[0] in ("source", "sources"):
            yield ".".join(item.steps)
            continue
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
        if not any(_matches(name, pattern, syntax=syntax) for name in names):
            # Packer before 1.8.5 ends with 0 here, having built nothing.
            raise UserError(
                f'packer.only: "{shorten(pattern)}" matches no build',
                where=place,
                hint=f"there are: {', '.join(names)}",
            )
    return [name for name in names if any(_matches(name, pattern, syntax=syntax) for pattern in only)]


def _matches(name: str, pattern: str, *, syntax: Format) -> bool:
    if syntax == "json":
        return name == pattern
    return any(fnmatch.fnmatchcase(name, one) for one in _alternatives(pattern))


def _alternatives(pattern: str) -> list[str]:
    """Spell out one `{a,b}`, which Packer's globs have and Python's don't."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    return [pattern[: braces.start()] + one + pattern[braces.end() :] for one in braces[1].split(",")]


def _data_sources(blocks: Sequence[Block]) -> DataSources:
    return {block.labels: block for block in blocks if block.type == "data" and len(block.labels) == 2}


# Whether what a template makes is an AMI.

_IMPORT = "amazon-import"
"""The post-processor that makes an AMI of what another builder left."""


def check_for_amis(builds: Sequence[Build], scope: Scope) -> None:
    """See that one of the builds that run leaves an AMI.

    Raises:
        UserError: none does, so that there would be nothing to keep.
    """
    for build in builds:
        skips = build.body.attributes.get("skip_create_ami")
        if skips is not None and as_text(evaluate(skips.expression, scope)) == "true":
            raise UserError(
                f"{build.builder.name} leaves no AMI after the whole build: skip_create_ami is true",
                where=skips.place,
                hint="remove the line, or choose another builder with packer.only",
            )
    if any(build.builder.type in AMI_TYPES or _imports(build.within.body) for build in builds):
        return
    first = builds[0].builder
    raise UserError(
        f"{first.name} builds no AMI, and nothing else that runs does",
        where=first.place,
        hint=f"take one of {', '.join(sorted(AMI_TYPES))}, or the post-processor {_IMPORT}",
    )


def _imports(body: Body) -> bool:
    """Whether a body has that post-processor, also in a sequence of them."""
    return any(_IMPORT in block.labels or _imports(block.body) for block in body.blocks)
