"""What an expression of a template comes to without running Packer, or may come to, or why there is no value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
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
from reconciler.desired.packer.language.values import (
    DYNAMIC,
    STRING,
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
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Call,
    Expression,
    Interpolation,
    Listing,
    Pairs,
    Traversal,
    as_text,
)
from reconciler.model.errors import Place

# What an expression of a template comes to without running Packer: its value, or why there is none.
#
# Every value that is told is Packer's. What only the build knows, or what can't be told here, is UNKNOWN, never
# guessed.

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


# What an expression may come to where that isn't known: the texts that it is put together of.

_VERB = re.compile(r"%[-+ #0]*+[0-9.]*+[a-zA-Z]")
COMPUTED = "${…}"
"""Stands for an unknown part of a text; `mentioned` reads it as a shell's variable."""


def possible_texts(expression: Expression, scope: Scope, *, told: set[str] | None = None) -> Iterator[str]:
    """The texts that an expression comes to, or, where that isn't known, those that it is put together of.

    Of a conditional these are both branches, of a local those of what it is. What functions read is left out: these
    are no texts of the template. `told` are the locals of which that is told already.
    """
    told = set() if told is None else told
    if isinstance(expression, Call) and reads_files(expression):
        return
    value = evaluate(expression, scope)
    if isinstance(expression, Interpolation) and value is UNKNOWN:
        known = [(part, as_text(evaluate(part, scope))) for part in expression.parts]
        yield "".join(COMPUTED if text is None else text for _, text in known)
        yield from (one for part, text in known if text is None for one in possible_texts(part, scope, told=told))
    elif holds_unknown(value):
        yield from _with_gaps(expression, scope)
        parts = list(_made_of(expression, scope, told))
        yield from (text for part in parts for text in possible_texts(part, scope, told=told))
        yield from _texts(value) if isinstance(expression, Traversal) and not parts else ()
    else:
        yield from _texts(value)


def _with_gaps(expression: Expression, scope: Scope) -> Iterator[str]:
    """What `format` and `join` make of what is known, as an interpolation of the same would have it."""
    match expression:
        case Call("format", (pattern, *_)):
            text = as_text(evaluate(pattern, scope))
            yield from [_VERB.sub(lambda _: COMPUTED, text)] if text else []
        case Call("join", (between, Listing(items))):
            separator = as_text(evaluate(between, scope))
            texts = (as_text(evaluate(item, scope)) for item in items)
            yield from [separator.join(COMPUTED if text is None else text for text in texts)] if separator else []
        case _:
            pass


def _made_of(expression: Expression, scope: Scope, told: set[str]) -> Iterator[Expression]:
    """What an expression is made of; of one that names a local what that is."""
    match expression:
        case Traversal(("local", name, *_)) if name in scope.locals and name not in told:
            told.add(name)
            yield scope.locals[name]
        case Traversal():
            pass
        case _:
            yield from parts_of(expression)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (text for one in value.values() for text in _texts(one))
    elif isinstance(value, list):
        yield from (text for one in value for text in _texts(one))
    elif isinstance(value, str):
        yield value


def parts_of(node: object) -> Iterator[Expression]:
    """The expressions that an expression is made of, whichever kind it is."""
    for member in dataclasses.fields(node):  # type: ignore[arg-type]  # every kind of expression is a dataclass
        waiting = [getattr(node, member.name)]
        while waiting:
            one = waiting.pop(0)
            if isinstance(one, tuple):
                waiting[:0] = one
            elif dataclasses.is_dataclass(one) and not isinstance(one, type | Place):
                yield one  # type: ignore[misc]  # what else a syntax tree holds are names, places and tuples


def holds_unknown(value: object) -> bool:
    """Whether a value, or a member of it, is not known."""
    if isinstance(value, Mapping):
        return any(holds_unknown(one) for one in value.values())
    return value is UNKNOWN or (isinstance(value, list) and any(holds_unknown(one) for one in value))


def reads_files(call: Call) -> bool:
    """Whether a function reads files, or looks for them: `file`, `fileset`, `templatefile` and the like."""
    return call.function.startswith("file") or call.function == "templatefile"
