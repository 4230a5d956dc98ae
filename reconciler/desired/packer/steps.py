"""What runs of a template: its provisioners and post-processors, `dynamic` ones too, and their programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from reconciler.desired.packer.builders import Build, Format, plain_name, runs_in
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate, value_of
from reconciler.desired.packer.language.numbers import whole
from reconciler.desired.packer.language.values import Mapping_, Sequence_, Value, object_value
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Block,
    Body,
    Bound,
    Constant,
    Expression,
    SourceFile,
    Traversal,
    as_text,
)
from reconciler.model.fleet import Program

# The provisioners and post-processors that run, without those that are meant for other builds of the template.

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
            plain_name(build.written, block, syntax=syntax): _short_name(build, syntax)
            for build in builds
            if build.within is block
        }
        for step in _steps(block.body, scope):
            running = [short for name, short in names.items() if runs_in(step.body, name, scope)]
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


def _short_name(build: Build, syntax: Format) -> str:
    """The name alone, without its type: what `override` goes by."""
    name = plain_name(build.written, build.within, syntax=syntax)
    return name.removeprefix(f"{build.builder.type}.") if syntax == "hcl2" else name


# The programs that what runs of a template needs on the machine that Packer is run on.
#
# Read in the sources of 1.6.6 and of the plugins amazon 1.8.1 and ansible 1.1.2; all of them look along PATH.

_COMMANDS: Mapping[str, tuple[tuple[str, str, str | None], ...]] = {
    "ansible": (("command", "ansible-playbook", None), ("galaxy_command", "ansible-galaxy", "galaxy_file")),
    "inspec": (("command", "inspec", None),),
}
"""The attribute that names the program, what it is without one, and what has to be set for it to be run at all."""
_SHELL = "shell-local"
_BY_SESSION_MANAGER = "session_manager"
_SESSION_MANAGER = "session-manager-plugin"


def read_programs(builds: Sequence[Build], steps: Sequence[Step], *, scope: Scope) -> Iterator[Program]:
    """Each program once. One whose name only Packer knows is none, and neither is one that lies in the repository."""
    told: set[str] = set()
    for program in (*_of_builds(builds, scope), *(one for step in steps for one in _of_step(step, scope))):
        if program.name not in told and _is_of_the_machine(program.name):
            told.add(program.name)
            yield program


def _of_builds(builds: Sequence[Build], scope: Scope) -> Iterator[Program]:
    for build in builds:
        for name in build.builder.programs:
            yield Program(name, f'builder "{build.builder.type}"', build.builder.place)
        interface = build.body.attributes.get("ssh_interface")
        if interface is not None and as_text(evaluate(interface.expression, scope)) == _BY_SESSION_MANAGER:
            yield Program(_SESSION_MANAGER, f'ssh_interface = "{_BY_SESSION_MANAGER}"', interface.place)


def _of_step(step: Step, scope: Scope) -> Iterator[Program]:
    for name in _shells(step, scope) if step.type == _SHELL else _commands(step, scope):
        yield Program(name, f'{step.block.type} "{step.type}"', step.block.place)


def _commands(step: Step, scope: Scope) -> Iterator[str]:
    for attribute, default, wanted_by in _COMMANDS.get(step.type, ()):
        if wanted_by is not None and as_text(_given(step, wanted_by, scope)) == "":
            continue
        value = _given(step, attribute, scope)
        name = as_text(value)
        if name is not None:
            yield name or default


def _shells(step: Step, scope: Scope) -> Iterator[str]:
    """What `shell-local` hands its script to, and what the script's first line names."""
    systems = _given(step, "only_on", scope)
    if systems and isinstance(systems, list) and UNKNOWN not in systems and "linux" not in systems:
        return
    command = _given(step, "execute_command", scope)
    first = as_text(command[0]) if command and isinstance(command, list) else ""
    if first:
        yield first
    words = (as_text(_given(step, "inline_shebang", scope)) or "").split()
    if words[:1] == ["/usr/bin/env"]:
        words = words[1:]
    if words and not words[0].startswith("-"):
        yield words[0]


def _given(step: Step, attribute: str, scope: Scope) -> object:
    """The value of a step's attribute, "" where it has none. What `override` says for a build goes first."""
    override = _value(step.body, "override", scope)
    ours = [override.get(build, {}) for build in sorted(step.builds)] if isinstance(override, Mapping) else [override]
    if UNKNOWN in ours:
        return UNKNOWN
    found: list[object] = [one[attribute] for one in ours if isinstance(one, Mapping) and attribute in one]
    return found[0] if found else _value(step.body, attribute, scope)


def _value(body: Body, attribute: str, scope: Scope) -> object:
    found = body.attributes.get(attribute)
    value = evaluate(found.expression, scope) if found is not None else None
    return "" if value is None else value


def _is_of_the_machine(program: str) -> bool:
    """Whether it is looked for along PATH, or by its whole path; else it is relative to where Packer runs."""
    if "{{" in program or program.startswith(CHECKOUT):
        return False
    return program.startswith("/") or "/" not in program


# `dynamic` blocks: blocks that a template makes of a list (hcl/ext/dynblock).

_DYNAMIC = "dynamic"
_MAX_BLOCKS = 1_000
"""More of one block are left unmade: no template has them."""

Names = Mapping[str, Value]


def expanded(files: Sequence[SourceFile], scope: Scope) -> list[SourceFile]:
    """The files with the blocks in the place of what makes them. Those whose list is not known stay as they are."""
    return [_expanded_file(file, scope) if _has_dynamic(file.body) else file for file in files]


def _expanded_file(file: SourceFile, scope: Scope) -> SourceFile:
    # In its own block Packer knows no `dynamic` one.
    made = ([one] if one.type == "packer" else _blocks(Body({}, (one,)), {}, scope) for one in file.body.blocks)
    body = Body(file.body.attributes, tuple(chain.from_iterable(made)))
    return SourceFile(file.path, body, file.calls_files, file.names)


def _has_dynamic(body: Body) -> bool:
    return any(block.type == _DYNAMIC or _has_dynamic(block.body) for block in body.blocks)


def _body(body: Body, names: Names, scope: Scope) -> Body:
    attributes = body.attributes
    if names:
        attributes = {name: _bound(one, names) for name, one in attributes.items()}
    return Body(attributes, tuple(_blocks(body, names, scope)))


def _blocks(body: Body, names: Names, scope: Scope) -> Iterator[Block]:
    for block in body.blocks:
        if block.type != _DYNAMIC:
            yield Block(block.type, block.labels, block.place, _body(block.body, names, scope))
        elif block.labels:
            yield from _expanded(block, block.labels[0], block.body, names, scope=scope)
        else:
            # In JSON, the label is a key.
            for inner in block.body.blocks:
                yield from _expanded(block, inner.type, inner.body, names, scope=scope)


def _expanded(dynamic: Block, kind: str, body: Body, names: Names, *, scope: Scope) -> Iterator[Block]:
    rounds = _rounds(kind, body, names, scope)
    contents = list(body.of_type("content"))
    if rounds is None or not contents:
        yield dynamic
        return
    for found in rounds:
        labels = _expanded_labels(body.attributes.get("labels"), found, scope)
        if labels is None:
            yield dynamic
            return
        yield Block(kind, labels, contents[0].place, _body(contents[0].body, found, scope))


def _rounds(kind: str, body: Body, names: Names, scope: Scope) -> list[Names] | None:
    """What the iterator stands for, in each round; None where that is not known."""
    for_each = body.attributes.get("for_each")
    over = value_of(Bound(for_each.expression, names), scope) if for_each is not None else None
    if not isinstance(over, Sequence_ | Mapping_) or len(over.items) > _MAX_BLOCKS:
        return None
    pairs: list[tuple[Value, Value]]
    if isinstance(over, Mapping_):
        pairs = list(over.items.items())
    elif over.type.kind == "set":
        pairs = [(one, one) for one in over.items]
    else:
        pairs = [(whole(at), one) for at, one in enumerate(over.items)]
    iterator = _iterator(body.attributes.get("iterator"), kind)
    return [{**names, iterator: object_value({"key": key, "value": value})} for key, value in pairs]


def _iterator(attribute: Attribute | None, kind: str) -> str:
    """The iterator's name: a word, in JSON a text; without one it is called as the blocks are."""
    match attribute.expression if attribute is not None else None:
        case Traversal((name,)) | Constant(str() as name):
            return name
        case _:
            return kind


def _expanded_labels(attribute: Attribute | None, names: Names, scope: Scope) -> tuple[str, ...] | None:
    if attribute is None:
        return ()
    found = value_of(Bound(attribute.expression, names), scope)
    if not isinstance(found, Sequence_) or not all(isinstance(one, str) for one in found.items):
        return None
    return tuple(str(one) for one in found.items)


def _bound(attribute: Attribute, names: Names) -> Attribute:
    return Attribute(attribute.name, attribute.place, partial(_with_names, attribute, names), attribute.spell)


def _with_names(attribute: Attribute, names: Names) -> Expression:
    return Bound(attribute.expression, names)
