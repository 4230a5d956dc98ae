"""One image: declaration, template, inputs and suite brought together, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared, TemplateFiles
from reconciler.desired.drawn import files_to_read
from reconciler.desired.inputs import (
    Inputs,
    all_inputs,
    all_shown_alike,
    declared_inputs,
    input_files,
    notes_on_submodules,
    template_inputs,
)
from reconciler.desired.located import known_here
from reconciler.desired.origin import (
    copies_elsewhere,
    locations_of,
    notes_on_boot,
    notes_on_formats,
    notes_on_locations,
    notes_on_origin,
    one_artifact,
    source_of,
    with_converter,
    wrong_formats,
    wrong_locations,
)
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.json_file import folder_of, may_be_legacy
from reconciler.desired.packer.syntax import UNKNOWN, SourceFile
from reconciler.desired.packer.template import ReadTemplate, Setting, parse_template, parse_variables, read_template
from reconciler.desired.packer.variables import misfit
from reconciler.desired.paths import Paths
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import GIVEN_TAGS, GIVEN_TEXTS, Image, Template
from reconciler.model.kind import Kind
from reconciler.model.text import shorten
from reconciler.model.tree import REGULAR_MODES
from reconciler.registries import dialect_of

# What the template of an image says, its files taken together, and whether it can be run as declared.


def read(declared: Declared, files: TemplateFiles, contents: Contents) -> tuple[ReadTemplate | None, list[UserError]]:
    """Read the template of an image. Its files have to be loaded.

    Returns:
        The facts, or None and every problem; facts and problems where it can be read but not run as declared.
    """
    facts, problems = _parse(declared, files, contents)
    return (None, problems) if facts is None else (facts, [*facts.problems, *_wrong_values(declared, facts)])


def _parse(declared: Declared, files: TemplateFiles, contents: Contents) -> tuple[ReadTemplate | None, list[UserError]]:
    packer = declared.declaration.packer
    problems: list[UserError] = []
    template = _parsed(files.template, contents, problems, variables=False)
    variables = _parsed((*files.auto_variables, *files.var_files), contents, problems, variables=True)
    if problems:
        return None, problems
    setting = Setting(
        folder=folder_of(files.template[0]),
        working_dir=files.working_dir,
        only={pattern: declared.place("packer", "only", index) for index, pattern in enumerate(packer.only)},
        variables={**packer.variables, **_given_as(declared)},
        var_files=tuple(variables),
        files=contents,
    )
    syntax: Format = "json" if may_be_legacy(files.template[0]) else "hcl2"
    try:
        found = read_template(template, syntax, setting=setting)
        location = _passed_location(declared, found)
        if location:
            found = read_template(
                template, syntax, setting=replace(setting, variables={**setting.variables, **location})
            )
    except UserError as error:
        return None, [error]
    return found, []


def _passed_location(declared: Declared, found: ReadTemplate) -> dict[str, object]:
    """The location that image.yaml names, by the template's variable for it, where that is worth something else so far.

    It is passed to the build, and whatever the template makes of it (a path, the source) is made of what is passed.
    """
    written = [builder.location for builder in found.template.builders if builder.location is not None]
    first = declared.declaration.locations[:1]
    variables = {location.variable for location in written}
    if not first or len(variables) != 1 or all(location.value == first[0] for location in written):
        return {}
    return {name: first[0] for name in variables if name and name not in declared.declaration.packer.variables}


def _given_as(declared: Declared) -> dict[str, object]:
    """The variable that image.yaml names for the source: its value is ours to give, when the source is pinned."""
    source = declared.declaration.source
    return {source.variable: UNKNOWN} if source is not None and source.variable is not None else {}


def _wrong_values(declared: Declared, facts: ReadTemplate) -> list[UserError]:
    """Packer refuses a value for a variable that the template does not declare; and some are ours to give."""
    problems = []
    source = declared.declaration.source
    own = kind_of(facts.template).source_variable
    given = GIVEN_TEXTS | GIVEN_TAGS | {own}
    if source is not None and source.variable in given - {own}:
        what = f"source.variable: {source.variable} is given something else by the reconciler"
        where = declared.place("source", "variable")
        problems.append(UserError(what, where=where, hint="name the variable that the source is taken from"))
    for name, value in declared.declaration.packer.variables.items():
        where = declared.place("packer", "variables", name)
        is_own = facts.template.declares(name) and not facts.template.takes(name)
        if name in _given_as(declared):
            what = f"packer.variables: {name} is given by the reconciler, as `source.variable` says"
            problems.append(UserError(what, where=where, hint="remove it here, or there"))
        elif name in given and not is_own:
            hint = "declare `source:` instead" if name == own else "remove it"
            problems.append(UserError(f"packer.variables: {name} is given by the reconciler", where=where, hint=hint))
        elif not facts.template.declares(name) and name not in facts.template.undeclared:
            known = {*facts.template.variables, *facts.template.undeclared}
            hint = known_here(name, known, none="the template declares none")
            problems.append(
                UserError(
                    f'packer.variables: the template declares no variable "{shorten(name)}"', where=where, hint=hint
                )
            )
        elif facts.template.format == "json" and isinstance(value, list | dict):
            problems.append(
                UserError(
                    f'packer.variables: "{shorten(name)}" is a list or a mapping, and the variables of a JSON template '
                    "are texts",
                    where=where,
                    hint="write one text, as the template takes it apart",
                )
            )
        elif name in facts.template.variables:
            problems += misfit(facts.template.variables[name], value, where=where)
    return problems


def kind_of(template: Template) -> Kind:
    """The kind of what a template leaves. There always is one: a template that leaves nothing is refused."""
    return next(builder.kind for builder in template.makers if builder.kind is not None)


def _parsed(
    paths: tuple[str, ...], contents: Contents, problems: list[UserError], *, variables: bool
) -> list[SourceFile]:
    found = []
    for path in paths:
        try:
            found.append(contents.parsed(path, parse_variables if variables else parse_template))
        except UserError as error:
            problems.append(error)
    return found


# The suite of tests that an image declares.

_TESTS = ("test_*.py", "*_test.py")
"""What pytest looks for in a folder (its default for `python_files`)."""


def wrong_suite(declared: Declared, paths: Paths) -> UserError | None:
    """What is wrong with `smoke_test.suite`, or None. That its tests can be read is found out by running them."""
    written = declared.declaration.smoke_test.suite
    if written is None:
        return None
    where = declared.place("smoke_test", "suite")
    path = paths.resolve(written, declared.folder.path)
    if path is None:
        return UserError(
            f'smoke_test.suite: "{shorten(written)}" leads out of the repository',
            where=where,
            hint="commit the tests to this repository",
        )
    entry = paths.entries.get(path)
    if entry is not None:
        # Behind a link or a submodule may be a folder.
        return _no_tests(written, where) if entry.mode in REGULAR_MODES and not path.endswith(".py") else None
    files = paths.under(path)
    if not files:
        return UserError(
            f'smoke_test.suite: "{shorten(written)}" is nothing that is committed',
            where=where,
            hint=f"it was looked for at {path} from the repository's root",
        )
    if not any(fnmatchcase(file.rpartition("/")[2], pattern) for file in files for pattern in _TESTS):
        return UserError(
            f'smoke_test.suite: the folder "{shorten(written)}" holds no tests',
            where=where,
            hint=f"pytest runs files named {' or '.join(_TESTS)}",
        )
    return next(iter(all_shown_alike(files, paths)), None)


def _no_tests(written: str, where: Place) -> UserError:
    return UserError(
        f'smoke_test.suite: "{shorten(written)}" is no file of Python, and pytest reads no other',
        where=where,
        hint="name a file such as smoke/test_web.py, or a folder of them",
    )


# One image: its declaration, its template and its inputs brought together, or everything that is wrong with it.

_T = TypeVar("_T")


@dataclass(frozen=True)
class Facts:
    """What an image's template says, before the files are read that it names."""

    declared: Declared
    files: TemplateFiles
    read: ReadTemplate | None
    problems: tuple[UserError, ...]

    @property
    def reads_next(self) -> tuple[str, ...]:
        """The named files that may name others in their turn. Those of many images are best loaded in one call."""
        return tuple(files_to_read(self.read.reads, working_dir=self.files.working_dir)) if self.read else ()


def read_facts(declared: Declared, files: TemplateFiles, contents: Contents) -> Facts:
    """Read the template of an image, whose files have to be loaded."""
    try:
        found, problems = read(declared, files, contents)
    except RecursionError:
        found, problems = None, [_too_deep(files)]
    return Facts(declared, files, found, tuple(problems))


def as_image(
    facts: Facts, contents: Contents, *, has_parent: bool = True
) -> tuple[Image | None, tuple[UserError, ...]]:
    """One image, by what its template says.

    `has_parent` is False for an image whose parent can't be one: that it is not built on it is no second problem.

    Returns:
        The image and nothing, or None and every problem that can be told apart from the others.
    """
    try:
        return _as_image(facts, contents, has_parent=has_parent)
    except RecursionError:
        return None, (_too_deep(facts.files),)


def _too_deep(files: TemplateFiles) -> UserError:
    """The error for a template that is nested in a way that nothing counted: it is this image's alone."""
    return UserError(
        "the template, or what it names, is nested too deeply to be read",
        where=Place(files.template[0]),
        hint="take it apart: let locals, or files, hold parts of it",
    )


def _as_image(facts: Facts, contents: Contents, *, has_parent: bool) -> tuple[Image | None, tuple[UserError, ...]]:
    declared = facts.declared
    folder = declared.folder
    inputs = _inputs(facts, contents)
    suite = wrong_suite(declared, contents.paths)
    problems = [*inputs.problems, *([suite] if suite else []), *facts.problems]
    if facts.read is None:
        return None, tuple(problems)
    template = facts.read.template
    several = one_artifact(declared, template)
    if several is not None:
        # Where they build and on what is for each of them to say, once it is an image.
        return None, (*problems, several)
    dialect = dialect_of(kind_of(template).name)
    kind = dialect.kind
    problems += wrong_locations(declared, dialect)
    problems += wrong_formats(declared, template, kind)
    source = _try(lambda: source_of(declared, template, kind), problems) if has_parent else None
    locations = _try(lambda: locations_of(declared, template, kind), problems)
    if problems:
        return None, tuple(problems)
    image = Image(
        name=folder.name,
        folder=folder.path,
        declaration=declared.declaration,
        template=with_converter(declared, template),
        kind=kind,
        source=source,
        locations=locations or (),
        copied_elsewhere=copies_elsewhere(template),
        ruled_at=declared.rulings(),
        inputs=input_files(inputs.paths, contents.paths, folder=folder.path),
        notes=(
            *facts.read.notes,
            *inputs.notes,
            *notes_on_submodules(inputs.paths, contents.paths),
            *notes_on_origin(declared, template, source, kind),
            *notes_on_locations(declared, template, kind),
            *notes_on_boot(declared, template),
            *notes_on_formats(declared, template),
            *declared.unacted(kind),
            *declared.at_odds(),
        ),
    )
    return image, ()


def read_alone(
    declared: Declared, files: TemplateFiles, contents: Contents
) -> tuple[Image | None, tuple[UserError, ...]]:
    """Read one image alone; the files of its template have to be loaded. Returns what `as_image` does."""
    facts = read_facts(declared, files, contents)
    contents.load(facts.reads_next)
    return as_image(facts, contents)


def _inputs(facts: Facts, contents: Contents) -> Inputs:
    inputs = declared_inputs(facts.declared, facts.files, contents)
    if facts.read is None:
        return inputs
    where, template = facts.files.working_dir, folder_of(facts.files.template[0])
    named = template_inputs(facts.declared, facts.read.reads, contents, working_dir=where, template=template)
    return all_inputs(inputs, named)


def _try(read: Callable[[], _T], problems: list[UserError]) -> _T | None:
    """What `read` returns, or None and its error among the problems, so that the next check is made as well."""
    try:
        return read()
    except UserError as error:
        problems.append(error)
        return None
