"""All facts of one template: its files are parsed and read as one, as Packer does with a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.desired.located import Located, as_one, known_here
from reconciler.desired.packer.block_shapes import wrong_labels, wrong_settings, wrong_texts
from reconciler.desired.packer.builders import Format, read_builds, refuse_nothing_made
from reconciler.desired.packer.checks import (
    circular,
    notes_on_builds,
    notes_on_outputs,
    undeclared,
    unknown_to_packer,
)
from reconciler.desired.packer.constants import unlike_default, wrong_declarations, wrong_files, wrong_variables
from reconciler.desired.packer.evaluate import CHECKOUT, Scope
from reconciler.desired.packer.file_references import Read, notes_on_references, read_references
from reconciler.desired.packer.functions.paths import Files, NoFiles
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.json_file import equal_keys, read_json
from reconciler.desired.packer.json_templates import body_of, read_hcl_json, read_legacy_json
from reconciler.desired.packer.named_files import named_files
from reconciler.desired.packer.requirements import constructs, read_requirements
from reconciler.desired.packer.steps import expanded, read_programs, steps_that_run
from reconciler.desired.packer.syntax import Attribute, Block, Constant, SourceFile
from reconciler.desired.packer.variables import (
    given_to,
    invalid,
    notes_on_order,
    notes_on_own,
    notes_on_unset,
    read_variables,
    variable_values,
    without_value,
    wrong_rules,
    wrong_value_type,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import GIVEN_TAGS, Template, Variable
from reconciler.registries import dialect_for

# The files of a template and of its variables, each parsed by the suffix that Packer goes by.


def parse_template(content: bytes, path: str) -> SourceFile:
    """Parse one file of a template, by the suffix that Packer goes by.

    Raises:
        UserError: it can't be read, with line and column.
    """
    if path.endswith(".pkr.json"):
        return read_hcl_json(content, path)
    return read_hcl(content, path) if path.endswith(".hcl") else read_legacy_json(content, path)


def parse_variables(content: bytes, path: str) -> SourceFile:
    """Parse a file of variables, HCL or JSON.

    Raises:
        UserError: it can't be read, with line and column.
    """
    if not path.endswith(".json"):
        return read_hcl(content, path)
    root: Located = read_json(content, path)
    if not isinstance(root.value, dict):
        raise UserError(f"a file of variables is an object, found {root.kind()}", where=root.place, hint="write { … }")
    body = body_of(root, lambda text, _place: Constant(text))
    return SourceFile(path, body, calls_files=False, twice=tuple(equal_keys(content, path)))


# The blocks at the top of a template: those that no Packer knows, and those that are there twice.

# Packer 1.16, hcl2template/parser.go (configSchema). Older ones know fewer; which one builds is not known here.
_KNOWN = frozenset(
    {
        "build", "communicator", "data", "hcp_packer_registry", "local", "locals", "packer", "source", "variable",
        "variables",
    }
)  # fmt: skip
_UNIQUE = frozenset({"variable", "source", "data"})

Declared = tuple[tuple[str, ...], Place]
"""What is declared, by type and labels, and where."""


def wrong_blocks(files: Sequence[SourceFile]) -> Iterator[UserError]:
    """What Packer refuses of an HCL2 template before it looks into any block."""
    for file in files:
        for attribute in file.body.attributes.values():
            yield UserError(
                f'"{attribute.name}" is set outside of any block', where=attribute.place, hint="move it into its block"
            )
        for block in file.body.blocks:
            if block.type not in _KNOWN:
                yield UserError(
                    f'there is no block "{block.type}" at the top of a template',
                    where=block.place,
                    hint=known_here(block.type, _KNOWN, none="remove it"),
                )
    for (kind, *labels), place, first in _twice(_declared(block for file in files for block in file.body.blocks)):
        name = " ".join([kind, *(f'"{label}"' for label in labels)])
        yield UserError(f"{name} is declared a second time; the first is {first}", where=place, hint="keep one of them")


def builders_named_twice(sources: Iterable[Block]) -> Iterator[UserError]:
    """The same of a JSON template from before HCL2, where the names of all builders are different."""
    for (name,), place, first in _twice(((block.labels[1],), block.place) for block in sources):
        yield UserError(
            f'a builder before is called "{name}", too ({first})', where=place, hint='give it a "name" of its own'
        )


def local_attributes(blocks: Iterable[Block]) -> Iterator[tuple[str, Attribute]]:
    """Every local by name, of `locals { x = … }` and `local "x" { expression = … }`."""
    for block in blocks:
        if block.type == "locals":
            yield from block.body.attributes.items()
        elif block.type == "local" and block.labels and "expression" in block.body.attributes:
            yield block.labels[0], block.body.attributes["expression"]


def notes_on_locals(attributes: Iterable[tuple[str, Attribute]]) -> Iterator[str]:
    """A note for each local that is there twice: Packer 1.6 takes one of them, later ones refuse the template."""
    for (name,), place, first in _twice(((name,), attribute.place) for name, attribute in attributes):
        yield (
            f"{place}: local.{name} is set a second time; the first is {first}. Packer 1.6 takes one of them, "
            "later ones refuse it"
        )


def _declared(blocks: Iterable[Block]) -> Iterator[Declared]:
    for block in blocks:
        if block.type in _UNIQUE and block.labels:
            yield (block.type, *block.labels), block.place
        elif block.type == "variables":
            yield from ((("variable", name), one.place) for name, one in block.body.attributes.items())


def _twice(declared: Iterable[Declared]) -> Iterator[tuple[tuple[str, ...], Place, Place]]:
    """What was declared before, where it is again, and where it was first."""
    first: dict[tuple[str, ...], Place] = {}
    for name, place in declared:
        if name in first:
            yield name, place, first[name]
        else:
            first[name] = place


# All facts of one template: its files are read as one, as Packer does with a folder.


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
    sources = source_variables(blocks)
    ours = given_to(variables, sources=sources)
    root, cwd = _in_checkout(setting.folder), _in_checkout(setting.working_dir)
    # What its variable is by itself is a source that the template names; in a build it is the pin.
    worth = partial(
        variable_values, blocks, setting.var_files, setting.variables, syntax=syntax, root=root, cwd=cwd
    )  # fmt: skip
    values = worth(unknown=ours - sources)
    scope = Scope(
        values,
        {name: attribute.expression for name, attribute in local_values.items()},
        path_root=root,
        path_cwd=cwd,
        files=setting.files,
    )
    written = constructs(files) if syntax == "hcl2" else {}
    files = expanded(files, scope)
    blocks = tuple(block for file in files for block in file.body.blocks)
    builds = read_builds(blocks, scope=scope, syntax=syntax, only=setting.only, template=Place(files[0].path))
    refuse_nothing_made(builds)
    steps = tuple(steps_that_run(builds, scope=scope, syntax=syntax))
    if not sources.isdisjoint(ours):
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
        plugins={name: asked.text for name, asked in required.plugins.items()},
        plugin_places={name: asked.place for name, asked in required.plugins.items()},
        required_version=required.version.text if required.version else "",
        required_version_place=required.version.place if required.version else None,
        components=required.components,
        constructs=written,
        programs=tuple(read_programs(builds, steps, scope=scope)),
        undeclared=frozenset(name for file in files for _, name in file.names if syntax == "json") - variables.keys(),
    )
    if syntax == "json":
        ours -= GIVEN_TAGS  # Its variables are strings.
    missing = without_value(blocks, builds, setting.var_files, given=ours, declared=setting.variables)
    notes = (
        *notes_on_builds(builds),
        *notes_on_references(named),
        *notes_on_outputs(steps, scope=scope),
        *notes_on_locals(attributes),
        *notes_on_unset(missing, syntax=syntax),
        *notes_on_own(variables, sources=sources),
        *notes_on_order(setting.var_files, variables.keys(), given=setting.variables, syntax=syntax),
    )
    problems = (
        *wrong_value_type(variables, setting.var_files, missing=missing, syntax=syntax),
        *wrong_rules(blocks),
        *(_of_hcl2(files, blocks, variables, setting.var_files, scope=scope) if syntax == "hcl2" else ()),
        *invalid(blocks, values),
        *(undeclared(files, builds, variables=variables.keys(), local_values=local_values) if syntax == "hcl2" else ()),
        *(unknown_to_packer(files, builds, local_values=local_values) if syntax == "hcl2" else ()),
        *(wrong_texts(blocks, _given(setting)) if syntax == "json" else ()),
        *circular(local_values),
        *required.problems,
    )
    return ReadTemplate(template, reads, notes, problems)


def _given(setting: Setting) -> frozenset[str]:
    return frozenset([*setting.variables, *(name for file in setting.var_files for name in file.body.attributes)])


def _of_hcl2(
    files: Sequence[SourceFile],
    blocks: Sequence[Block],
    variables: Mapping[str, Variable],
    var_files: Sequence[SourceFile],
    *,
    scope: Scope,
) -> Iterator[UserError]:
    """What every Packer refuses of HCL2 by its form."""
    yield from wrong_labels(files)
    yield from wrong_settings(files, scope)
    yield from wrong_variables(files)
    yield from wrong_declarations(files)
    yield from wrong_files(var_files, variables)
    yield from unlike_default(blocks, var_files)


def source_variables(blocks: Iterable[Block]) -> frozenset[str]:
    """The variables that a template's builders take a source from, by the kinds of what they leave."""
    builders = {block.labels[0] for block in blocks if block.type == "source" and block.labels}
    return frozenset(filter(None, (dialect_for(builder).kind.source_variable for builder in builders)))


def _refuse_wrong_blocks(files: Sequence[SourceFile], blocks: Sequence[Block], syntax: Format) -> None:
    sources = (block for block in blocks if block.type == "source")
    wrong = tuple(wrong_blocks(files) if syntax == "hcl2" else builders_named_twice(sources))
    if wrong:
        raise as_one(wrong)


def _in_checkout(path: str) -> str:
    return CHECKOUT if path == "." else f"{CHECKOUT}/{path}"
