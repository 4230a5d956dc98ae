"""All facts of one template: its files are read as one, as Packer does with a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.desired.packer.builders import Format, read_builds
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.file_references import Read, notes_on_references, read_references
from reconciler.desired.packer.named_files import named_files
from reconciler.desired.packer.notes import notes_on_builds
from reconciler.desired.packer.syntax import Block, Expression, SourceFile
from reconciler.desired.packer.value import as_text
from reconciler.desired.packer.variables import read_variables, variable_values
from reconciler.model.errors import Place
from reconciler.model.template import Reference, Template


@dataclass(frozen=True)
class Setting:
    """How Packer is run on a template: all that decides what its expressions come to. Paths are from the root."""

    folder: str
    working_dir: str
    only: Mapping[str, Place] = field(default_factory=dict)
    """Patterns of `-only` with the place where each was written."""
    variables: Mapping[str, object] = field(default_factory=dict)
    var_files: tuple[SourceFile, ...] = ()
    """In the order in which Packer reads them; the last one counts."""


@dataclass(frozen=True)
class ReadTemplate:
    """The facts, with what only this package needs of them."""

    template: Template
    reads: tuple[Read, ...]
    notes: tuple[str, ...]


def read_template(files: Sequence[SourceFile], syntax: Format, *, setting: Setting) -> ReadTemplate:
    """Read the facts of a template.

    Raises:
        UserError: it builds nothing, or contradicts itself; see `read_builds`.
    """
    blocks = tuple(block for file in files for block in file.body.blocks)
    scope = Scope(
        variable_values(blocks, setting.var_files, setting.variables),
        _locals(blocks),
        path_root=_in_checkout(setting.folder),
        path_cwd=_in_checkout(setting.working_dir),
    )
    builds = read_builds(blocks, scope=scope, syntax=syntax, only=setting.only, template=Place(files[0].path))
    named = tuple(named_files(files, builds, scope=scope))
    reads = read_references(named)
    variables = read_variables(blocks)
    template = Template(
        format=syntax,
        files=tuple(file.path for file in files),
        builders=tuple(build.builder for build in builds),
        variables=variables,
        references=tuple(Reference(one.path, one.place) for one in reads),
        plugins=_plugins(blocks, scope),
        required_version=_required_version(blocks, scope),
    )
    notes = notes_on_builds(builds, scope=scope, declares_run_tags="run_tags" in variables)
    return ReadTemplate(template, reads, (*notes, *notes_on_references(named)))


def _in_checkout(path: str) -> str:
    return CHECKOUT if path == "." else f"{CHECKOUT}/{path}"


def _locals(blocks: Sequence[Block]) -> dict[str, Expression]:
    found: dict[str, Expression] = {}
    for block in blocks:
        if block.type == "locals":
            found |= {name: one.expression for name, one in block.body.attributes.items()}
        elif block.type == "local" and block.labels and "expression" in block.body.attributes:
            found[block.labels[0]] = block.body.attributes["expression"].expression
    return found


def _plugins(blocks: Sequence[Block], scope: Scope) -> dict[str, str]:
    """Required plugins: name to `source constraint`."""
    found: dict[str, str] = {}
    for block in (inner for outer in blocks if outer.type == "packer" for inner in outer.body.blocks):
        if block.type != "required_plugins":
            continue
        for name, attribute in block.body.attributes.items():
            value = evaluate(attribute.expression, scope)
            if isinstance(value, dict):
                parts = (as_text(value.get("source")), as_text(value.get("version")))
                found[name] = " ".join(part for part in parts if part)
    return dict(sorted(found.items()))


def _required_version(blocks: Sequence[Block], scope: Scope) -> str:
    wanted = [block.body.attributes.get("required_version") for block in blocks if block.type == "packer"]
    texts = [as_text(evaluate(one.expression, scope)) for one in wanted if one is not None]
    return ", ".join(text for text in texts if text)
