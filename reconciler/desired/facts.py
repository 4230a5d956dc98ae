"""What the template of an image says, its files taken together, and whether it can be run as declared."""

from __future__ import annotations

from dataclasses import replace

from reconciler.desired.complaints import did_you_mean
from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.located import shorten
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.files import parse_template, parse_variables
from reconciler.desired.packer.names import folder_of, may_be_legacy
from reconciler.desired.packer.syntax import SourceFile
from reconciler.desired.packer.template import ReadTemplate, Setting, read_template
from reconciler.desired.packer.unfit import misfit
from reconciler.desired.packer.value import UNKNOWN
from reconciler.desired.templates import TemplateFiles
from reconciler.model.declaration import SOURCE_AMI
from reconciler.model.errors import UserError
from reconciler.model.template import GIVEN_TAGS, GIVEN_TEXTS


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
        region = _passed_region(declared, found)
        if region:
            found = read_template(template, syntax, setting=replace(setting, variables={**setting.variables, **region}))
    except UserError as error:
        return None, [error]
    return found, []


def _passed_region(declared: Declared, found: ReadTemplate) -> dict[str, object]:
    """The region that image.yaml names, by the template's variable for it, where that is worth something else so far.

    It is passed to the build, and whatever the template makes of it (a path, the source) is made of what is passed.
    """
    regions = [builder.region for builder in found.template.builders if builder.region is not None]
    first = declared.declaration.regions[:1]
    variables = {region.variable for region in regions}
    if not first or len(variables) != 1 or all(region.value == first[0] for region in regions):
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
    if source is not None and source.variable in (GIVEN_TEXTS | GIVEN_TAGS) - {SOURCE_AMI}:
        what = f"source.variable: {source.variable} is given something else by the reconciler"
        where = declared.place("source", "variable")
        problems.append(UserError(what, where=where, mend="name the variable that `source_ami` is taken from"))
    for name, value in declared.declaration.packer.variables.items():
        where = declared.place("packer", "variables", name)
        is_own = facts.template.declares(name) and not facts.template.takes(name)
        if name in _given_as(declared):
            what = f"packer.variables: {name} is given by the reconciler, as `source.variable` says"
            problems.append(UserError(what, where=where, mend="remove it here, or there"))
        elif name in GIVEN_TEXTS | GIVEN_TAGS and not is_own:
            mend = "declare `source:` instead" if name == "source_ami" else "remove it"
            problems.append(UserError(f"packer.variables: {name} is given by the reconciler", where=where, mend=mend))
        elif not facts.template.declares(name):
            mend = did_you_mean(name, facts.template.variables.keys(), none="the template declares none")
            problems.append(
                UserError(
                    f'packer.variables: the template declares no variable "{shorten(name)}"', where=where, mend=mend
                )
            )
        elif facts.template.format == "json" and isinstance(value, list | dict):
            problems.append(
                UserError(
                    f'packer.variables: "{shorten(name)}" is a list or a mapping, and the variables of a JSON template '
                    "are texts",
                    where=where,
                    mend="write one text, as the template takes it apart",
                )
            )
        else:
            problems += misfit(facts.template.variables[name], value, where=where)
    return problems


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
