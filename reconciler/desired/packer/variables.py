"""A template's variables, and what they are worth once `image.yaml` and the var files have spoken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Block, Expression, SourceFile
from reconciler.desired.packer.value import UNKNOWN
from reconciler.model.template import Variable

GIVEN_BY_US = frozenset({"source_ami", "image_name", "build_id", "build_key", "run_id", "image_tags", "run_tags"})
"""Passed by the controller where the template declares them."""

_NOTHING = Scope({}, {}, path_root="", path_cwd="")


def read_variables(blocks: Iterable[Block]) -> dict[str, Variable]:
    """Read `variable "x" { … }` and the older `variables { x = … }`. A default that can't be known reads as None."""
    found: dict[str, Variable] = {}
    for block in blocks:
        if block.type == "variable" and block.labels:
            attributes = block.body.attributes
            type_ = attributes.get("type")
            default = attributes.get("default")
            sensitive = attributes.get("sensitive")
            found[block.labels[0]] = Variable(
                block.labels[0],
                type_.source_text if type_ else "",
                block.place,
                default=_value(default.expression) if default else None,
                sensitive=bool(sensitive) and sensitive is not None and _value(sensitive.expression) is True,
            )
        elif block.type == "variables":
            for name, attribute in block.body.attributes.items():
                found[name] = Variable(name, "", attribute.place, default=_value(attribute.expression))
    return found


def variable_values(
    blocks: Iterable[Block],
    var_files: Sequence[SourceFile],
    declared: Mapping[str, object],
) -> dict[str, object]:
    """What each variable is worth: declared in image.yaml, else by the last var file, else its default.

    What the controller passes at build time is UNKNOWN, but for `source_ami`: its default is a source of its own
    that the template names.
    """
    values: dict[str, object] = {}
    for block in blocks:
        if block.type == "variable" and block.labels and "default" in block.body.attributes:
            values[block.labels[0]] = evaluate(block.body.attributes["default"].expression, _NOTHING)
        elif block.type == "variables":
            values.update({name: evaluate(one.expression, _NOTHING) for name, one in block.body.attributes.items()})
    for file in var_files:
        values.update({name: evaluate(one.expression, _NOTHING) for name, one in file.body.attributes.items()})
    values.update(declared)
    return {
        name: UNKNOWN if name in GIVEN_BY_US and name != "source_ami" else value
        for name, value in values.items()
        if value is not None
    }


def _value(expression: Expression) -> object:
    """A value without anything unknown in it, else None."""
    value = evaluate(expression, _NOTHING)
    return None if _has_unknown(value) else value


def _has_unknown(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_unknown(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_unknown(one) for one in value)
    return value is UNKNOWN
