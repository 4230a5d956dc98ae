"""What Packer takes as constants alone: what a variable is declared with, and the values in files of variables.

Seen with 1.6.6 and 1.16.0: both refuse names and functions there, whatever these would come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.desired.located import known_here
from reconciler.desired.packer.evaluate import evaluate
from reconciler.desired.packer.expressions import surely
from reconciler.desired.packer.json_file import COMMENT
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.type_words import read_type
from reconciler.desired.packer.syntax import Attribute, Block, Call, Constant, Expression, SourceFile, Traversal
from reconciler.desired.packer.variables import nothing, takes
from reconciler.model.errors import UserError
from reconciler.model.fleet import Variable
from reconciler.model.text import shorten

_ENV = "env"
_OF_A_VARIABLE = frozenset({"default", "type", "description", "sensitive"})
_OF_ELEMENTS = frozenset({"list", "set", "map", "object", "tuple"})


def wrong_variables(files: Iterable[SourceFile]) -> Iterator[UserError]:
    """An error for what Terraform takes of a variable and Packer does not: another argument, or a type of old.

    Seen: 1.6.6, 1.16.0. HCL's JSON has no way to write a type but as a text, and to tell a comment from an argument.
    """
    for block in (one for file in files if not file.path.endswith(".json") for one in file.body.of_type("variable")):
        for name, attribute in block.body.attributes.items():
            if name not in _OF_A_VARIABLE:
                hint = known_here(name, _OF_A_VARIABLE, none="remove it")
                yield UserError(f"a variable has no {name} in Packer", where=attribute.place, hint=hint)
        type_ = block.body.attributes.get("type")
        match type_.expression if type_ is not None else None:
            case Constant(value=str(written)) if type_ is not None:
                what = f'the type "{shorten(written)}" is a text, and Packer takes none in quotes'
                yield UserError(what, where=type_.place, hint=f"write it without: type = {written}")
            case Traversal(steps=(word,)) if type_ is not None and word in _OF_ELEMENTS:
                what = f"the type {word} does not say of what, and Packer takes none that doesn't"
                yield UserError(what, where=type_.place, hint=f"write it as in {word}(string)")


def wrong_declarations(files: Iterable[SourceFile]) -> Iterator[UserError]:
    """An error for each variable whose default, type, description or sensitivity no Packer takes.

    HCL's JSON writes types as texts, so that there the defaults alone are looked at.
    """
    for file in files:
        for block in file.body.of_type("variable", "variables"):
            yield from _of_declaration(block, is_json=file.path.endswith(".json"))


def _of_declaration(block: Block, *, is_json: bool) -> Iterator[UserError]:
    for name, attribute in block.body.attributes.items():
        if name == COMMENT:
            continue
        if block.type == "variables" or name == "default":
            yield from _not_constant(attribute, "a variable's default", may_be_env=True)
        elif name in ("description", "sensitive") and not is_json:
            wrong = [*_not_constant(attribute, f"a variable's {name}")]
            yield from wrong or _of_another_type(attribute)
        elif name == "type" and not is_json:
            yield from _no_type(attribute)


def _is_env(call: Call) -> bool:
    return call.function == _ENV and (len(call.arguments) == 1 or call.spread)


def _not_constant(attribute: Attribute, what: str, *, may_be_env: bool = False) -> Iterator[UserError]:
    """The error for the first name or function in an expression that has to be a constant, or a call of `env`."""
    for one in surely(attribute.expression):
        match one:
            case Traversal(steps):
                hint = 'write the value out, a text in quotes ("…"); what is made of others is a local: locals { … }'
                yield UserError(
                    f"{what} is a constant in Packer, and {'.'.join(steps)} is none", where=attribute.place, hint=hint
                )
                return
            case Call(function) if not (may_be_env and _is_env(one)):
                takes = f"{_ENV} alone, with one name" if may_be_env else "no function"
                hint = "write the value out; what a function makes is a local: locals { … }"
                yield UserError(f"{what} calls {function}(), and Packer takes {takes}", where=one.place, hint=hint)
                return
            case _:
                pass


def _of_another_type(attribute: Attribute) -> Iterator[UserError]:
    value, name = evaluate(attribute.expression, nothing()), attribute.name
    is_list = isinstance(value, list | dict)
    if name == "description" and (value is None or is_list):
        yield UserError("a variable's description is no text", where=attribute.place, hint='write it in quotes: "…"')
    if name == "sensitive" and (value is None or is_list or (not isinstance(value, bool) and _is_no_truth(value))):
        yield UserError("a variable is sensitive or not, and this is neither", where=attribute.place, hint="write true")


def _is_no_truth(value: object) -> bool:
    if isinstance(value, str):
        return value not in ("true", "false", "1", "0")
    return isinstance(value, int)


def _no_type(attribute: Attribute) -> Iterator[UserError]:
    """The error for what is no type; a text, and one that lacks what it is of, are told of elsewhere."""
    match attribute.expression:
        case Traversal((word,)) if word in _OF_ELEMENTS:
            return
        case Traversal() | Call():
            pass
        case _:
            return
    try:
        read_type(attribute.expression)
    except Refused:
        hint = "write string, number, bool, or as in list(string), map(string), object({ name = string })"
        yield UserError("the type of the variable is none that Packer knows", where=attribute.place, hint=hint)
    except Undecided:
        pass


def wrong_files(files: Iterable[SourceFile], variables: Mapping[str, Variable]) -> Iterator[UserError]:
    """An error for each value in the var files of an HCL2 template that is no constant, and for each block in one.

    What the template does not declare Packer passes over. In JSON every text is a constant.
    """
    for file in files:
        yield from file.twice
        if file.path.endswith(".json"):
            continue
        for block in file.body.blocks:
            what = f"there is a block in a file of variables: {block.type}"
            yield UserError(what, where=block.place, hint="write it as in name = { … }, or move it into the template")
        for name, attribute in file.body.attributes.items():
            if name in variables:
                yield from _not_constant(attribute, "a value in a file of variables")


def unlike_default(variables: Iterable[Block], files: Iterable[SourceFile]) -> Iterator[UserError]:
    """An error for each value in a var file that the type of a default refuses, where the variable has none itself."""
    defaults: dict[str, Expression] = {}
    for block in variables:
        attributes = block.body.attributes
        if block.type == "variables":
            defaults |= {name: one.expression for name, one in attributes.items()}
        elif block.type == "variable" and block.labels and "type" not in attributes and "default" in attributes:
            defaults[block.labels[0]] = attributes["default"].expression
    for file in files:
        for name, attribute in file.body.attributes.items():
            default = defaults.get(name)
            kind = _kind(default.value) if isinstance(default, Constant) else None
            if kind is not None and not takes(kind, evaluate(attribute.expression, nothing())):
                yield UserError(
                    f'variable "{name}" has no type, so that it is a {kind} as its default is, and this value is none',
                    where=attribute.place,
                    hint="fix the value, or give the variable its type",
                )


def _kind(default: object) -> str | None:
    if isinstance(default, str | bool):
        return "string" if isinstance(default, str) else "bool"
    return None if default is None else "number"
