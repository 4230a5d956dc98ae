"""What an expression of a template comes to without running Packer: its value, or why there is none.

Every value that is told is Packer's. What only the build knows, or what can't be told here, is UNKNOWN, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from reconciler.desired.packer.functions import table
from reconciler.desired.packer.functions.paths import CHECKOUT, Files, NoFiles, path_functions
from reconciler.desired.packer.functions.signature import Function
from reconciler.desired.packer.language.interpreter import Interpreter, TooDeep
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.rules import Names
from reconciler.desired.packer.language.types import DYNAMIC, STRING
from reconciler.desired.packer.language.values import (
    Mapping_,
    Null,
    Sequence_,
    Unknown,
    Value,
    from_plain,
    is_known,
    leaves,
    object_value,
    tuple_value,
    unknown_list,
)
from reconciler.desired.packer.syntax import Call, Expression, Listing, Pairs
from reconciler.desired.packer.value import UNKNOWN

__all__ = ["CHECKOUT", "Scope", "evaluate", "plain", "value_of", "why_unknown"]

_OF_THE_BUILD = frozenset({"build", "data", "packer", "source"})
_AMAZON_TEXTS = frozenset({
    "arn", "creation_date", "id", "name", "owner", "owner_name", "secret_string", "value", "version", "version_id",
})  # fmt: skip
"""Attributes of the amazon plugin's data sources, all texts."""


@dataclass
class Scope:
    """What names stand for: variables by value, locals by expression, the two paths that Packer offers, and files."""

    variables: Mapping[str, object]
    """Values of Python's or of HCL's, or UNKNOWN."""
    locals: Mapping[str, Expression]
    path_root: str
    path_cwd: str
    files: Files = field(default_factory=NoFiles)

    @cached_property
    def interpreter(self) -> Interpreter:
        """The one that evaluates all expressions of the template, within one budget."""
        return Interpreter(_World(self))


def evaluate(expression: Expression, scope: Scope) -> object:
    """The value of an expression: text, number (int or Decimal), truth, None, a list, a dict, or UNKNOWN.

    A list or dict may hold UNKNOWN members; text with an unknown part is UNKNOWN as a whole.
    """
    return plain(value_of(expression, scope))


def value_of(expression: Expression, scope: Scope) -> Value:
    """The same as a value of HCL's, with its type; Unknown, with a reason, also where Packer would refuse it.

    Of a list or an object that is written out each member is known or not by itself, so that the files are seen that
    one of them names.
    """
    return _by_itself(expression, scope.interpreter)


def _by_itself(expression: Expression, run: Interpreter) -> Value:
    is_refused = False
    try:
        return run.value(expression)
    except Refused as error:
        reason, is_refused = f"Packer refuses it: {error}", True
    except Undecided as error:
        reason = str(error)
    try:
        match expression:
            case Listing(items):
                return tuple_value(_by_itself(one, run) for one in items)
            case Pairs(members):
                keys = [run.value(key) for key, _ in members]
                if all(isinstance(key, str) for key in keys) and len({*keys}) == len(keys):
                    values = (_by_itself(one, run) for _, one in members)
                    return object_value({str(key): one for key, one in zip(keys, values, strict=True)})
            case Call("concat" | "flatten", arguments) if not is_refused:
                found = [_by_itself(one, run) for one in arguments]
                return unknown_list(reason, (item for one in found for item in leaves(one) if is_known(item)))
            case _:
                pass
    except (Refused, Undecided):
        pass
    return Unknown(reason)


def why_unknown(expression: Expression, scope: Scope) -> str | None:
    """Why an expression has no value, in words; None if it has one."""
    found = value_of(expression, scope)
    return None if is_known(found) else table.reason_of(found)


def plain(value: Value) -> object:
    """A value of HCL's as one of Python's."""
    match value:
        case Number():
            whole = value.whole
            return Decimal(str(value)) if whole is None else whole
        case Null():
            return None
        case Unknown():
            return [*map(plain, value.holds), UNKNOWN] if value.holds else UNKNOWN
        case Sequence_():
            return [plain(one) for one in value.items]
        case Mapping_():
            return {name: plain(one) for name, one in value.items.items()}
        case _:
            return value


class _World:
    """The names and functions that a template's expressions know."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._variables: dict[str, Value] = {}
        self._locals: dict[str, Value] = {}
        self._under_way: set[str] = set()

    @cached_property
    def _files(self) -> Mapping[str, Function]:
        return path_functions(self._scope.files, root=self._scope.path_root, cwd=self._scope.path_cwd)

    def named(self, steps: tuple[str, ...], run: Interpreter) -> tuple[Value, int]:
        """The value that a path begins at, and how many steps that took."""
        match steps:
            case ("var", name, *_):
                return self._variable(name), 2
            case ("local", name, *_):
                return self._local(name, run), 2
            case ("path", "root" | "cwd" as which, *_):
                run.has_paths = True
                return (self._scope.path_root if which == "root" else self._scope.path_cwd), 2
            case ("data", kind, _, attribute) if kind.startswith("amazon-") and attribute in _AMAZON_TEXTS:
                return Unknown("a data source, which Packer reads", STRING), 4
            case (root, *_) if root in _OF_THE_BUILD:
                raise Later("known to Packer alone")
            case ("var" | "local" | "path", *_):
                raise Undecided("all of them at once")
            case _:
                raise Refused(f'there is nothing named "{steps[0]}"')

    def call(self, call: Call, names: Names, run: Interpreter) -> Value:
        """What a function returns."""
        return table.call(call, names, run, files=self._files)

    def _variable(self, name: str) -> Value:
        if name not in self._variables:
            self._variables[name] = _typed(self._scope.variables.get(name, UNKNOWN), name)
        return self._variables[name]

    def _local(self, name: str, run: Interpreter) -> Value:
        if name in self._locals:
            return self._locals[name]
        if name not in self._scope.locals or name in self._under_way:
            raise Undecided(f"local.{name} is made of itself, or not declared")
        self._under_way.add(name)
        try:
            found = run.run(self._scope.locals[name])
        except TooDeep:
            raise
        except (Refused, Undecided):
            found = _by_itself(self._scope.locals[name], run)
        finally:
            self._under_way.discard(name)
        self._locals[name] = found
        return found


def _typed(given: object, name: str) -> Value:
    if given is UNKNOWN:
        return Unknown(f"var.{name} has no value that is known", DYNAMIC)
    if isinstance(given, str | bool | Number | Null | Unknown | Sequence_ | Mapping_):
        return given
    try:
        return from_plain(given)
    except Undecided as error:
        return Unknown(f"var.{name}: {error}")
