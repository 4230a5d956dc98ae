"""The programs that what runs of a template needs on the machine that Packer is run on.

Read in the sources of 1.6.6 and of the plugins amazon 1.8.1 and ansible 1.1.2; all of them look along PATH.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reconciler.desired.packer.builders import Build
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.steps import Step
from reconciler.desired.packer.syntax import Body
from reconciler.desired.packer.value import UNKNOWN, as_text
from reconciler.model.template import Program

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
