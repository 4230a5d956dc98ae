"""Variables without a value, and values that don't fit their variable."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from reconciler.desired.located import shorten
from reconciler.desired.packer.builders import Build, Format
from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Block, SourceFile
from reconciler.desired.packer.value import as_text
from reconciler.desired.packer.variable_types import takes
from reconciler.desired.packer.variables import nothing
from reconciler.model.errors import Place, UserError
from reconciler.model.template import Variable


def without_value(
    blocks: Sequence[Block],
    builds: Sequence[Build],
    var_files: Sequence[SourceFile],
    *,
    given: Collection[str],
    declared: Mapping[str, object],
) -> dict[str, Place]:
    """The variables that have no default and that neither image.yaml, nor a var file, nor the reconciler gives.

    Args:
        blocks: Of the template.
        builds: Those that run.
        var_files: Those that Packer reads.
        given: What the reconciler gives.
        declared: In image.yaml.
    """
    required = {
        block.labels[0]: block.place
        for block in blocks
        if block.type == "variable" and block.labels and "default" not in block.body.attributes
    }
    if not required:
        return {}
    regions = {build.builder.region.variable for build in builds if build.builder.region is not None}
    known = {*given, *declared, *regions, *(name for file in var_files for name in file.body.attributes)}
    return {name: place for name, place in required.items() if name not in known}


def notes_on_unset(missing: Mapping[str, Place], *, syntax: Format) -> Iterator[str]:
    """A note for each variable whose value only the environment can give."""
    if syntax == "hcl2":
        for name, place in missing.items():
            yield f'{place}: variable "{name}" has no value: the build fails unless PKR_VAR_{name} is set where it runs'


def unfit(
    variables: Mapping[str, Variable], var_files: Sequence[SourceFile], *, missing: Mapping[str, Place], syntax: Format
) -> Iterator[UserError]:
    """Variables that nothing can give a value to, and defaults and var files that give the wrong one."""
    if syntax == "json":
        # Packer reads PKR_VAR_… for HCL2 alone (seen with 1.6.6).
        for name, place in missing.items():
            mend = "add it to packer.variables in image.yaml, or to a var file, or give it a default"
            yield UserError(f'variable "{name}" has no value', where=place, mend=mend)
    for variable in variables.values():
        yield from misfit(variable, variable.default, where=variable.place, what="its default")
    scope = nothing()
    for file in var_files:
        for name, attribute in file.body.attributes.items():
            if name in variables:
                yield from misfit(variables[name], evaluate(attribute.expression, scope), where=attribute.place)


def invalid(blocks: Sequence[Block], values: Mapping[str, object]) -> Iterator[UserError]:
    """Values that a variable's own `validation` refuses. What it says of others, or of what is not known, is open."""
    for block in blocks:
        if block.type != "variable" or not block.labels or block.labels[0] not in values:
            continue
        name = block.labels[0]
        for rule in block.body.of_type("validation"):
            condition = rule.body.attributes.get("condition")
            scope = Scope({name: values[name]}, {}, path_root="", path_cwd="")
            if condition is not None and evaluate(condition.expression, scope) is False:
                said = rule.body.attributes.get("error_message")
                message = as_text(evaluate(said.expression, scope)) if said is not None else None
                why = f": {shorten(message, limit=120)}" if message else ""
                yield UserError(
                    f'variable "{name}" has a value that its validation refuses{why}',
                    where=rule.place,
                    mend="mend the value: in packer.variables, in a var file, or its default",
                )


def misfit(variable: Variable, value: object, *, where: Place, what: str = "this value") -> Iterator[UserError]:
    """An error where a variable can't have a value. The value is not repeated: it may be a secret."""
    if not takes(variable.type, value):
        yield UserError(
            f'variable "{variable.name}" takes {variable.type}, and {what} is something else',
            where=where,
            mend="mend the value, or the variable's type",
        )
