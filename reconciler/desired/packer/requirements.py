"""What a template asks of Packer: its version, its plugins, and components that may be a plugin's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.desired.packer.builders import Build, Format
from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Attribute, Block
from reconciler.desired.packer.value import as_text
from reconciler.model.constraint import parse_constraint
from reconciler.model.errors import Place, UserError

_STEPS = ("provisioner", "error-cleanup-provisioner", "post-processor")


@dataclass(frozen=True)
class Asked:
    """One thing that is asked for. `text` is a constraint, for a plugin with the source before it."""

    text: str
    place: Place


@dataclass(frozen=True)
class Requirements:
    """What one template asks for. Plugins are by their name in it; `components` are types, each once."""

    version: Asked | None
    plugins: dict[str, Asked]
    components: tuple[str, ...]
    problems: tuple[UserError, ...]
    """Constraints that are none; Packer refuses the template."""


def read_requirements(
    blocks: Sequence[Block], builds: Sequence[Build], *, scope: Scope, syntax: Format
) -> Requirements:
    """Read what is asked for. What can't be known is not asked for: Packer takes constants alone here."""
    packer = [block for block in blocks if block.type == "packer"]
    versions = [one for block in packer for one in _asked(block.body.attributes.get("required_version"), scope)]
    plugins: dict[str, Asked] = {}
    problems = [problem for one in versions for problem in _wrong(one.text, one.place)]
    for block in (inner for outer in packer for inner in outer.body.of_type("required_plugins")):
        for name, attribute in block.body.attributes.items():
            value = evaluate(attribute.expression, scope)
            if isinstance(value, dict):
                source, constraint = as_text(value.get("source")), as_text(value.get("version"))
                problems += _wrong(constraint or "", attribute.place)
                plugins[name] = Asked(" ".join(part for part in (source, constraint) if part), attribute.place)
    return Requirements(
        version=Asked(", ".join(one.text for one in versions), versions[0].place) if versions else None,
        plugins=dict(sorted(plugins.items())),
        components=tuple(dict.fromkeys(_components(blocks, builds, syntax))),
        problems=tuple(problems),
    )


def _asked(attribute: Attribute | None, scope: Scope) -> Iterator[Asked]:
    text = as_text(evaluate(attribute.expression, scope)) if attribute is not None else None
    if attribute is not None and text:
        yield Asked(text, attribute.place)


def _wrong(constraint: str, place: Place) -> Iterator[UserError]:
    try:
        parse_constraint(constraint)
    except ValueError as error:
        yield UserError(
            f'"{error}" is no constraint on a version', where=place, mend='write it as in ">= 1.7.0, < 2" or "~> 1.2"'
        )


def _components(blocks: Sequence[Block], builds: Sequence[Build], syntax: Format) -> Iterator[str]:
    """Types that Packer has to know. Of HCL2 it looks at every step of every build, of JSON at those that run."""
    yield from (build.builder.type for build in builds)
    yield from (block.labels[0] for block in blocks if block.type == "data" and block.labels)
    for build in (block for block in blocks if block.type == "build"):
        sequences = [build, *build.body.of_type("post-processors")]
        for step in (step for sequence in sequences for step in sequence.body.of_type(*_STEPS)):
            selective = syntax == "json" and not step.body.attributes.keys().isdisjoint(("only", "except"))
            if step.labels and not selective:
                yield step.labels[0]
