"""What a template asks of Packer: versions, plugins, components that may be of a plugin, and the language it is in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Number

from reconciler.desired.packer.builders import Build, Format, types_named
from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.language.type_words import written_type
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Block,
    Call,
    Constant,
    Expression,
    Interpolation,
    Listing,
    Operation,
    Pairs,
    SourceFile,
    Traversal,
    as_text,
    calls,
    parts_of,
)
from reconciler.model.constraint import parse_constraint
from reconciler.model.errors import Place, UserError

_STEPS = ("provisioner", "error-cleanup-provisioner", "post-processor")


@dataclass(frozen=True)
class Asked:
    """One thing that is asked for. `text` is a constraint, for a plugin with the source before it."""

    text: str
    place: Place


# What it is written with.

_ANY = "any"


def constructs(files: Iterable[SourceFile]) -> dict[str, Place]:
    """What an HCL2 template is written with, of which some came to Packer in the course of time: where it is first.

    Blocks of the template and within a variable or a build are by their type, `data` or `build: hcp_packer_registry`,
    and what runs by its own, `provisioner "file"`. Its arguments are `provisioner: env` and `provisioner "file":
    content`; those of an `error-cleanup-provisioner` are called as a provisioner's. Functions are `regex()`, and the
    type of a variable that may be any, or has any in it, is `variable: any`.
    """
    found: dict[str, Place] = {}
    for block in (one for file in files for one in file.body.blocks):
        found.setdefault(block.type, block.place)
        for name, place in _in_block(block):
            found.setdefault(name, place)
        for attribute in block.body.walk():
            is_type = block.type == "variable" and attribute.name == "type"
            written = written_type(attribute.expression) if is_type else attribute.expression
            for call in calls(written):
                found.setdefault(f"{call.function}()", attribute.place)
            if is_type and _may_be_any(written):
                found.setdefault(f"{block.type}: {_ANY}", attribute.place)
    return found


def _in_block(block: Block) -> Iterator[tuple[str, Place]]:
    # In JSON a variable's default may look like a block.
    for inner in block.body.of_type("validation") if block.type == "variable" else ():
        yield f"{block.type}: {inner.type}", inner.place
    for inner in block.body.blocks if block.type == "build" else ():
        yield f"{block.type}: {inner.type}", inner.place
        for step in inner.body.of_type(*_STEPS) if inner.type == "post-processors" else (inner,):
            if step.type in _STEPS and step.labels:
                yield from _in_step(step)


def _in_step(step: Block) -> Iterator[tuple[str, Place]]:
    kind = step.type.removeprefix("error-cleanup-")
    yield f'{kind} "{step.labels[0]}"', step.place
    # In JSON a block is an attribute, too.
    given = {one.name: one.place for one in step.body.attributes.values()}
    for name, place in (*given.items(), *((one.type, one.place) for one in step.body.blocks)):
        yield f"{kind}: {name}", place
        yield f'{kind} "{step.labels[0]}": {name}', place


def _may_be_any(type_: Expression) -> bool:
    waiting = [type_]
    while waiting:
        one = waiting.pop()
        if one == Traversal((_ANY,)):
            return True
        waiting.extend(parts_of(one))
    return False


@dataclass(frozen=True)
class Requirements:
    """What one template asks for. Plugins are by their name in it; `components` are types, each once."""

    version: Asked | None
    plugins: dict[str, Asked]
    components: tuple[str, ...]
    problems: tuple[UserError, ...]
    """Constraints that are none, and entries that name no plugin: every Packer refuses the template for them."""


def read_requirements(
    blocks: Sequence[Block], builds: Sequence[Build], *, scope: Scope, syntax: Format
) -> Requirements:
    """Read what is asked for. Packer takes constants alone here, and knows nothing else in its own block."""
    packer = [block for block in blocks if block.type == "packer"]
    problems = [problem for block in packer for problem in _unexpected(block)]
    versions: list[Asked] = []
    for attribute in (block.body.attributes.get("required_version") for block in packer):
        if attribute is not None:
            text = _as_constraint(evaluate(attribute.expression, scope))
            wrong = [*_wrong_version(attribute, text, syntax=syntax)]
            problems += wrong
            versions += [Asked(text, attribute.place)] if text and not wrong else []
    plugins: dict[str, Asked] = {}
    for block in (inner for outer in packer for inner in outer.body.of_type("required_plugins")):
        for name, attribute in block.body.attributes.items():
            value = evaluate(attribute.expression, scope)
            problems += _wrong_plugin(name, value, attribute)
            if name in plugins:
                hint = f"leave one of them out: the other stands at {plugins[name].place}"
                what = f"{name} stands twice in required_plugins, and Packer takes a name once"
                problems.append(UserError(what, where=attribute.place, hint=hint))
            if isinstance(value, dict):
                source, constraint = as_text(value.get("source")), as_text(value.get("version"))
                plugins[name] = Asked(" ".join(part for part in (source, constraint) if part), attribute.place)
    return Requirements(
        version=Asked(", ".join(one.text for one in versions), versions[0].place) if versions else None,
        plugins=dict(sorted(plugins.items())),
        components=tuple(dict.fromkeys(_components(blocks, builds, syntax, scope))),
        problems=tuple(problems),
    )


def _unexpected(block: Block) -> Iterator[UserError]:
    """Say what is in Packer's own block that no Packer takes there (hcl2template/types.packer_config.go)."""
    inner = [*block.body.of_type("required_plugins")]
    for one in (block, *inner):
        if one.labels:
            yield UserError(f"{one.type} has a label, {one.labels[0]}", where=one.place, hint="leave it out")
    for name, attribute in block.body.attributes.items():
        if name == "required_plugins":
            hint = f"write it as in `{name} {{ {_example('amazon')} }}`"
            yield UserError(f"{name} is no block, and Packer takes nothing else", where=attribute.place, hint=hint)
        elif name != "required_version":
            yield _unknown_in_packer(name, attribute.place)
    yield from (_unknown_in_packer(one.type, one.place) for one in block.body.blocks if one not in inner)
    for entry in (one for plugins in inner for one in plugins.body.blocks):
        what = f"{entry.type} is a block, and Packer knows none of that name here"
        yield UserError(what, where=entry.place, hint=f"in required_plugins write it as in `{_example(entry.type)}`")


def _unknown_in_packer(name: str, place: Place) -> UserError:
    hint = "a packer block has required_version and required_plugins"
    return UserError(f"packer has {name}, which Packer does not know", where=place, hint=hint)


def _wrong_version(attribute: Attribute, text: str | None, *, syntax: Format) -> Iterator[UserError]:
    """Say what no Packer takes for the version of itself."""
    is_text = isinstance(attribute.expression, Constant) and isinstance(attribute.expression.value, str)
    if given := _given_by(attribute.expression):
        what = f"{attribute.name} is given by {given}, and Packer takes a constant alone here"
        yield UserError(what, where=attribute.place, hint='write it out, as in ">= 1.7.0, < 2"')
    elif isinstance(attribute.expression, (Listing, Pairs)) or (syntax == "json" and not is_text):
        yield UserError(f"{attribute.name} is no text", where=attribute.place, hint='write it as in ">= 1.7.0, < 2"')
    elif text is not None:
        yield from _wrong(text, attribute.place)


def _as_constraint(value: object) -> str | None:
    """A value as Packer compares its own version with it: `1.6`, a number, is what "1.6" is."""
    return str(value) if isinstance(value, Decimal) else as_text(value)


def _given_by(expression: object) -> str:
    """What an expression takes its value from: a variable or a function; empty for a constant."""
    match expression:
        case Traversal(steps):
            return ".".join(steps)
        case Call(function=function):
            return f"{function}()"
        case Listing(parts) | Interpolation(parts) | Operation(operands=parts):
            return next(filter(None, map(_given_by, parts)), "")
        case Pairs(members):
            return next(filter(None, (_given_by(value) for _, value in members)), "")
    return ""


def _wrong(constraint: str, place: Place) -> Iterator[UserError]:
    wrong = None if constraint.strip() else constraint
    try:
        parse_constraint(constraint)
    except ValueError as error:
        wrong = str(error)
    if wrong is not None:
        hint = 'write it as in ">= 1.7.0, < 2" or "~> 1.2"'
        yield UserError(f'"{wrong}" is no constraint on a version', where=place, hint=hint)


def _wrong_plugin(name: str, value: object, attribute: Attribute) -> Iterator[UserError]:
    """Say what no Packer takes of a plugin's entry.

    Source: hcl2template/types.required_plugins.go and addrs/plugin.go; seen: 1.16.0. Some versions take a source
    without a host, so it is left to them.
    """
    given = _given_by(attribute.expression)
    entry = value if isinstance(value, dict) else {"source": UNKNOWN, "version": UNKNOWN}
    if not _is_normal(name):
        what = "has no name that Packer takes: small letters and digits, and dashes between them"
    elif given:
        what = f"takes a value from {given}, and Packer takes constants alone here"
    elif value is None or isinstance(value, (str, Number, list)):
        what = "is no object"
    else:
        what = _lacks(entry)
    if what:
        hint = f"write it as in `{_example(name if _is_normal(name) else 'amazon')}`"
        yield UserError(f"{name} in required_plugins {what}", where=attribute.place, hint=hint)
    elif isinstance(version := entry.get("version"), str):
        yield from _wrong(version, attribute.place)


def _lacks(entry: Mapping[str, object]) -> str:
    """What an entry lacks, or has too much; empty for a whole one."""
    version, source = entry.get("version"), entry.get("source")
    if version is None or version == "":
        return "has no version"
    if isinstance(version, Number):
        return "has a version that is no text"
    if source is None:
        return "has no source"
    if isinstance(source, Number):
        return "has a source that is no text"
    if isinstance(source, str) and not _is_source(source):
        return f'has the source "{source}", which is none'
    others = sorted(entry.keys() - {"source", "version"})
    return f"has {others[0]}, and Packer knows source and version alone" if others else ""


def _example(name: str) -> str:
    return f'{name} = {{ source = "github.com/hashicorp/{name}", version = ">= 1.0.0, < 2" }}'


def _is_source(source: str) -> bool:
    """Whether it may be where a plugin is from: a host and a path, neither an address nor a repository's name."""
    name = source.rpartition("/")[2]
    plain = not any(one in source for one in ("?", "#", ":")) and _is_name(name)
    return plain and "/" in source and source[0] != "/" and not name.startswith("packer-")


def _is_normal(name: str) -> bool:
    """Whether it may be what a template calls a plugin by: a name in small letters."""
    return _is_name(name) and name == name.lower()


def _is_name(name: str) -> bool:
    """Whether Packer takes it for the name of a plugin: letters, digits, and dashes one by one between them.

    Of letters that are not ASCII, on which IDNA has rules by the thousand, it is left to Packer.
    """
    return re.fullmatch(r"(?:[A-Za-z0-9]|[^\x00-\x7f])+(?:-(?:[A-Za-z0-9]|[^\x00-\x7f])+)*", name) is not None


def _components(
    blocks: Sequence[Block], builds: Sequence[Build], syntax: Format, scope: Scope
) -> Iterator[str]:  # fmt: skip
    """Types that Packer has to know. Of HCL2 it looks at all of every build, of JSON at what runs."""
    yield from (build.builder.type for build in builds)
    yield from (block.labels[0] for block in blocks if block.type == "data" and block.labels)
    for build in (block for block in blocks if block.type == "build"):
        if syntax == "hcl2":
            yield from types_named(build, scope)
        sequences = [build, *build.body.of_type("post-processors")]
        for step in (step for sequence in sequences for step in sequence.body.of_type(*_STEPS)):
            selective = syntax == "json" and not step.body.attributes.keys().isdisjoint(("only", "except"))
            if step.labels and not selective:
                yield step.labels[0]
