"""All facts of one template: its files are read as one, as Packer does with a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.desired.complaints import as_one
from reconciler.desired.packer.artifacts import check_for_amis
from reconciler.desired.packer.builders import Format, read_builds
from reconciler.desired.packer.dynamic import expanded
from reconciler.desired.packer.evaluate import CHECKOUT, Scope
from reconciler.desired.packer.file_references import Read, notes_on_references, read_references
from reconciler.desired.packer.functions.paths import Files, NoFiles
from reconciler.desired.packer.named_files import named_files
from reconciler.desired.packer.notes import notes_on_builds, notes_on_outputs
from reconciler.desired.packer.programs import read_programs
from reconciler.desired.packer.requirements import read_requirements
from reconciler.desired.packer.steps import steps_that_run
from reconciler.desired.packer.syntax import Block, SourceFile
from reconciler.desired.packer.top_level import (
    builders_named_twice,
    local_attributes,
    notes_on_locals,
    wrong_blocks,
)
from reconciler.desired.packer.undeclared import circular, undeclared
from reconciler.desired.packer.unfit import invalid, notes_on_unset, unfit, without_value
from reconciler.desired.packer.variables import given_to, notes_on_order, notes_on_own, read_variables, variable_values
from reconciler.model.declaration import SOURCE_AMI
from reconciler.model.errors import Place, UserError
from reconciler.model.template import GIVEN_TAGS, Reference, Template


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
    files: Files = field(default_factory=NoFiles)
    """What functions may read: the files of the repository at the commit in hand."""


@dataclass(frozen=True)
class ReadTemplate:
    """The facts, with what only this package needs of them."""

    template: Template
    reads: tuple[Read, ...]
    notes: tuple[str, ...]
    problems: tuple[UserError, ...] = ()
    """What Packer is sure to refuse, although all that is asked here of the template could be read."""


def read_template(files: Sequence[SourceFile], syntax: Format, *, setting: Setting) -> ReadTemplate:
    """Read the facts of a template.

    Raises:
        UserError: it builds no AMI, or contradicts itself; see `read_builds` and `wrong_blocks`.
    """
    blocks = tuple(block for file in files for block in file.body.blocks)
    _refuse_wrong_blocks(files, blocks, syntax)
    attributes = tuple(local_attributes(blocks))
    local_values = dict(attributes)
    variables = read_variables(blocks)
    ours = given_to(variables)
    root, cwd = _in_checkout(setting.folder), _in_checkout(setting.working_dir)
    # What source_ami is by itself is a source that the template names; in a build it is the pin.
    worth = partial(
        variable_values, blocks, setting.var_files, setting.variables, syntax=syntax, root=root, cwd=cwd
    )  # fmt: skip
    values = worth(unknown=ours - {SOURCE_AMI})
    scope = Scope(
        values,
        {name: attribute.expression for name, attribute in local_values.items()},
        path_root=root,
        path_cwd=cwd,
        files=setting.files,
    )
    files = expanded(files, scope)
    blocks = tuple(block for file in files for block in file.body.blocks)
    builds = read_builds(blocks, scope=scope, syntax=syntax, only=setting.only, template=Place(files[0].path))
    check_for_amis(builds, scope)
    steps = tuple(steps_that_run(builds, scope=scope, syntax=syntax))
    if SOURCE_AMI in ours:
        passed = worth(unknown=ours)
        named = tuple(named_files(files, builds, steps, scope=replace(scope, variables=passed)))
    else:
        named = tuple(named_files(files, builds, steps, scope=scope))
    reads = read_references(named)
    required = read_requirements(blocks, builds, scope=scope, syntax=syntax)
    template = Template(
        format=syntax,
        files=tuple(file.path for file in files),
        builders=tuple(build.builder for build in builds),
        variables=variables,
        references=tuple(Reference(one.path, one.place) for one in reads if one.weight != "mentioned"),
        plugins={name: asked.text for name, asked in required.plugins.items()},
        plugin_places={name: asked.place for name, asked in required.plugins.items()},
        required_version=required.version.text if required.version else "",
        required_version_place=required.version.place if required.version else None,
        components=required.components,
        programs=tuple(read_programs(builds, steps, scope=scope)),
    )
    if syntax == "json":
        ours -= GIVEN_TAGS  # Its variables are strings.
    missing = without_value(blocks, builds, setting.var_files, given=ours, declared=setting.variables)
    notes = (
        *notes_on_builds(builds, scope=scope, declares_run_tags=template.takes("run_tags")),
        *notes_on_references(named),
        *notes_on_outputs(steps, scope=scope),
        *notes_on_locals(attributes),
        *notes_on_unset(missing, syntax=syntax),
        *notes_on_own(variables),
        *notes_on_order(setting.var_files, variables.keys(), given=setting.variables, syntax=syntax),
    )
    problems = (
        *unfit(variables, setting.var_files, missing=missing, syntax=syntax),
        *invalid(blocks, values),
        *undeclared(files, builds, variables=variables.keys(), local_values=local_values),
        *circular(local_values),
        *required.problems,
    )
    return ReadTemplate(template, reads, notes, problems)


def _refuse_wrong_blocks(files: Sequence[SourceFile], blocks: Sequence[Block], syntax: Format) -> None:
    sources = (block for block in blocks if block.type == "source")
    wrong = tuple(wrong_blocks(files) if syntax == "hcl2" else builders_named_twice(sources))
    if wrong:
        raise as_one(wrong)


def _in_checkout(path: str) -> str:
    return CHECKOUT if path == "." else f"{CHECKOUT}/{path}"
