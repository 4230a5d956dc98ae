"""The provisioners and post-processors that run, without those that are meant for other builds of the template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconciler.desired.packer.builders import Build, Format
from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Attribute, Block, Body
from reconciler.desired.packer.value import UNKNOWN, as_text

UNTOLD = ""
"""The type of a step of which only Packer knows the type."""
_KINDS = ("provisioner", "post-processor", "error-cleanup-provisioner")


@dataclass(frozen=True)
class Step:
    """One of them, with the names that `override` has for the builds in which it runs."""

    block: Block
    type: str
    builds: frozenset[str]

    @property
    def body(self) -> Body:
        """What is written in it."""
        return self.block.body


def steps_that_run(builds: Sequence[Build], *, scope: Scope, syntax: Format) -> Iterator[Step]:
    """Every step of the selected builds, in order of the template."""
    for block in {id(build.within): build.within for build in builds}.values():
        # What `only` and `except` call a build is its name as it is written: without the group's, without globs
        # (seen with 1.6.6 and 1.16.0; hcl2template/types.packer_config.go).
        names = {
            _name(build, scope, syntax): _short_name(build, scope, syntax) for build in builds if build.within is block
        }
        for step in _steps(block.body, scope):
            running = [short for name, short in names.items() if _runs_in(step.body, name, scope)]
            if running:
                yield Step(step, step.labels[0], frozenset(running))


def _steps(body: Body, scope: Scope) -> Iterator[Block]:
    """All of a body, also those in a `post-processors` sequence and those in a `dynamic` block."""
    for block in body.blocks:
        if block.type in _KINDS and block.labels:
            yield block
        elif block.type == "post-processors":
            yield from _steps(block.body, scope)
        elif block.type == "dynamic":
            yield from _made(block, scope)


def _made(dynamic: Block, scope: Scope) -> Iterator[Block]:
    made = dynamic.labels[0] if dynamic.labels else ""
    for content in dynamic.body.of_type("content"):
        if made == "post-processors":
            yield from _steps(content.body, scope)
        elif made in _KINDS:
            yield Block(made, _labels(dynamic.body, scope), content.place, content.body)


def _labels(dynamic: Body, scope: Scope) -> tuple[str, ...]:
    """The type of what a `dynamic` block makes; UNTOLD where that isn't known."""
    attribute = dynamic.attributes.get("labels")
    value = evaluate(attribute.expression, scope) if attribute else UNKNOWN
    return (as_text(value[0]) or UNTOLD,) if isinstance(value, list) and value else (UNTOLD,)


def _name(build: Build, scope: Scope, syntax: Format) -> str:
    """`amazon-ebs.web`; in JSON the builder's name."""
    group = build.within.body.attributes.get("name") if syntax == "hcl2" else None
    text = as_text(evaluate(group.expression, scope)) if group is not None else None
    return build.builder.name.removeprefix(f"{text}.") if text else build.builder.name


def _short_name(build: Build, scope: Scope, syntax: Format) -> str:
    """The name alone, without its type: what `override` goes by."""
    name = _name(build, scope, syntax)
    return name.removeprefix(f"{build.builder.type}.") if syntax == "hcl2" else name


def _runs_in(body: Body, name: str, scope: Scope) -> bool:
    """Whether a step runs in a build. `only` goes first; what is not known excludes nothing."""
    only, but = (_listed(body.attributes.get(key), scope) for key in ("only", "except"))
    if only:
        return name in only or UNKNOWN in only
    return name not in but


def _listed(attribute: Attribute | None, scope: Scope) -> list[object]:
    value = evaluate(attribute.expression, scope) if attribute is not None else []
    return value if isinstance(value, list) else [value]
