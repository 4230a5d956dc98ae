"""What an expression may come to where that isn't known: the texts that it is put together of."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Call, Expression, Interpolation, Listing, Traversal
from reconciler.desired.packer.value import UNKNOWN, as_text
from reconciler.model.errors import Place

_VERB = re.compile(r"%[-+ #0]*[0-9.]*[a-zA-Z]")
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
    for field in dataclasses.fields(node):  # type: ignore[arg-type]  # every kind of expression is a dataclass
        waiting = [getattr(node, field.name)]
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
