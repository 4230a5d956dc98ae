"""Our evaluator beside Packer's consoles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.packer.evaluate import CHECKOUT, Scope, value_of
from reconciler.desired.packer.functions.encodings import as_json
from reconciler.desired.packer.functions.table import FUNCTIONS
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.language.outcome import Undecided
from reconciler.desired.packer.language.values import is_known, tuple_value
from reconciler.desired.packer.template import local_attributes
from reconciler.desired.packer.variables import variable_values
from tests.expressions import expression
from tests.soak.console import TEMPLATE, answers, lacks_functions

_NEWER = tuple(f"{name}(" for name, function in FUNCTIONS.items() if function.is_newer)
"""Calls that older Packers refuse, whatever they would come to."""


@dataclass(frozen=True)
class Outcome:
    """What came of comparing expressions."""

    differences: tuple[str, ...]
    """Of each expression of which we tell another value than a Packer does: it, ours, and theirs."""
    told: int
    """Of how many expressions we told a value."""
    could_be_told: int
    """Of how many all Packers that were asked tell the same value."""


def scope() -> Scope:
    """The names that TEMPLATE declares."""
    blocks = read_hcl(TEMPLATE.encode(), "all.pkr.hcl").body.blocks
    local_values = {name: one.expression for name, one in local_attributes(blocks)}
    return Scope(variable_values(blocks, (), {}), local_values, CHECKOUT, CHECKOUT)


def ours(text: str) -> str | None:
    """What our evaluator makes of an expression, as JSON of a list of it; None where it tells no value."""
    found = value_of(expression(text), scope())
    try:
        return as_json(tuple_value([found])) if is_known(found) else None
    except Undecided:
        return None  # A value that can't be shown is none that could be compared.


def compare(expressions: Sequence[str], packers: Mapping[str, str], *, folder: Path) -> Outcome:
    """Ask all of them for each expression."""
    theirs = {version: answers(path, expressions, folder=folder) for version, path in packers.items()}
    found = []
    told = could_be_told = 0
    for at, text in enumerate(expressions):
        mine = ours(text)
        told += mine is not None
        could_be_told += len({one[at] for one in theirs.values()}) == 1 and _is_value(next(iter(theirs.values()))[at])
        for version, all_of_them in theirs.items():
            answer = all_of_them[at]
            is_excused = lacks_functions(version) and not _is_value(answer) and any(name in text for name in _NEWER)
            if mine is not None and mine != answer and not is_excused:
                found.append(f"{text}\n    ours   {mine}\n    {version:6} {answer}")
    return Outcome(tuple(found), told, could_be_told)


def _is_value(answer: str | None) -> bool:
    return answer is not None and answer.startswith("[")
