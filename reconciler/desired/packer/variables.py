"""A template's variables, and what they are worth once `image.yaml` and the var files have spoken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.desired.packer.evaluate import Scope, evaluate, value_of
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.type_words import read_type
from reconciler.desired.packer.language.types import DYNAMIC, Type, object_of, tuple_of
from reconciler.desired.packer.language.values import Unknown, Value, from_plain, type_of
from reconciler.desired.packer.syntax import EXPRESSIONS, Block, Expression, SourceFile
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

    Each is converted to the variable's type, as Packer does. What the controller passes at build time is UNKNOWN, but
    for `source_ami`: its default is a source of its own that the template names.
    """
    defaults: dict[str, tuple[Expression | None, Expression | None]] = {}
    for block in blocks:
        if block.type == "variable" and block.labels:
            attributes = block.body.attributes
            type_, default = attributes.get("type"), attributes.get("default")
            defaults[block.labels[0]] = (type_.expression if type_ else None, default.expression if default else None)
        elif block.type == "variables":
            defaults.update({name: (None, one.expression) for name, one in block.body.attributes.items()})
    given: dict[str, Expression | object] = {}
    for file in var_files:
        given.update({name: one.expression for name, one in file.body.attributes.items()})
    given.update(declared)
    return {
        name: UNKNOWN if name in GIVEN_BY_US and name != "source_ami" else _worth(type_, default, given.get(name))
        for name, (type_, default) in defaults.items()
        if default is not None or name in given
    }


def _worth(type_: Expression | None, default: Expression | None, given: object) -> Value:
    """The value of a variable; Unknown where it can't be had, or does not fit."""
    try:
        found = _given(default) if given is None else _given(given)
        wanted = read_type(type_) if type_ is not None else _type_of_default(default)
        return convert(found, wanted)
    except (Refused, Undecided) as error:
        return Unknown(str(error))


def _given(value: object) -> Value:
    if isinstance(value, EXPRESSIONS):
        return value_of(value, _NOTHING)
    return from_plain(value)


def _type_of_default(default: Expression | None) -> Type:
    """What a variable without a type takes: the type of its default, unless that is null or empty."""
    if default is None:
        return DYNAMIC
    found = type_of(_given(default))
    return DYNAMIC if found.has_dynamic or found in (tuple_of(()), object_of({})) else found


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
