"""A small evaluator: what can be known of an expression without running Packer. The rest is UNKNOWN, never guessed."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.desired.packer.list_functions import LIST_FUNCTIONS
from reconciler.desired.packer.syntax import (
    Call,
    Constant,
    Expression,
    Interpolation,
    Listing,
    Pairs,
    Traversal,
)
from reconciler.desired.packer.value import UNKNOWN, as_text, joined

CHECKOUT = "/<checkout>"
"""Where the repository's root stands in evaluated paths. No real path begins so."""

_MAX_CHAIN = 32


def _abspath(path: str, scope: Scope) -> str:
    return posixpath.normpath(posixpath.join(scope.path_cwd, path))


_FUNCTIONS: dict[str, Callable[[str, Scope], str]] = {
    "abspath": _abspath,
    "basename": lambda path, _scope: posixpath.basename(path),
    "dirname": lambda path, _scope: posixpath.dirname(path) or ".",
    "lower": lambda text, _scope: text.lower(),
    "upper": lambda text, _scope: text.upper(),
}


@dataclass(frozen=True)
class Scope:
    """What names stand for: variables by value, locals by expression, and the two paths that Packer offers."""

    variables: Mapping[str, object]
    locals: Mapping[str, Expression]
    path_root: str
    path_cwd: str
    known: dict[str, object] = field(default_factory=dict, compare=False)
    """Locals that were evaluated already."""


def evaluate(expression: Expression, scope: Scope) -> object:
    """The value of an expression: text, number, truth, None, a list, a dict, or UNKNOWN.

    A list or dict may hold UNKNOWN members; text with an unknown part is UNKNOWN as a whole.
    """
    return _evaluate(expression, scope, ())


def _evaluate(expression: Expression, scope: Scope, chain: tuple[str, ...]) -> object:
    value: object = UNKNOWN
    match expression:
        case Constant(constant):
            value = constant
        case Traversal(steps):
            value = _traverse(steps, scope, chain)
        case Interpolation(parts):
            value = _join([_evaluate(part, scope, chain) for part in parts])
        case Listing(items):
            value = [_evaluate(item, scope, chain) for item in items]
        case Pairs(members):
            pairs = {as_text(_evaluate(key, scope, chain)): _evaluate(one, scope, chain) for key, one in members}
            # One key that is not known makes the whole unknown: it may be any of those looked for.
            value = UNKNOWN if None in pairs else pairs
        case Call(function, (only,)) if function in _FUNCTIONS:
            argument = _evaluate(only, scope, chain)
            value = _FUNCTIONS[function](argument, scope) if isinstance(argument, str) else UNKNOWN
        case Call(function, arguments) if function in LIST_FUNCTIONS:
            value = LIST_FUNCTIONS[function]([_evaluate(one, scope, chain) for one in arguments])
        case _:
            pass
    return value


def _traverse(steps: tuple[str, ...], scope: Scope, chain: tuple[str, ...]) -> object:
    match steps:
        case ("path", "root"):
            return scope.path_root
        case ("path", "cwd"):
            return scope.path_cwd
        case ("var", name, *rest):
            return _descend(scope.variables.get(name, UNKNOWN), rest)
        case ("local", name, *rest):
            return _descend(_local(name, scope, chain), rest)
        case _:
            return UNKNOWN


def _local(name: str, scope: Scope, chain: tuple[str, ...]) -> object:
    if name in scope.known:
        return scope.known[name]
    if name not in scope.locals or name in chain or len(chain) > _MAX_CHAIN:
        return UNKNOWN
    value = _evaluate(scope.locals[name], scope, (*chain, name))
    scope.known[name] = value
    return value


def _descend(value: object, steps: list[str]) -> object:
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return UNKNOWN
        value = value[step]
    return value


def _join(values: list[object]) -> object:
    if len(values) == 1:
        return values[0]  # "${x}" alone is x itself, of whatever type
    return joined("", values)
