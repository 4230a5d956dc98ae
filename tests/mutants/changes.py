"""Draw changes of the deciding modules: Cosmic Ray's operators, and three more for what decisions are made of.

Which changes are drawn depends on the seed, and on each line by itself: an edit elsewhere leaves the sample as it is.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

from reconciler.model.values import digest
from tests.mutants.reach import DECIDING

Span = tuple[tuple[int, int], tuple[int, int]]

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
"""The changes that no test can notice, each with its reason."""

# They want to be told the names of variables, and put random numbers in their place.
_NOT_OURS = {"VariableReplacer", "VariableInserter"}


class _Ours(Operator):  # type: ignore[misc] # Cosmic Ray has no types
    """An operator that has one way to change each of the nodes that it changes at all."""

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class RemoveStatement(_Ours):
    """Leave out a call whose result nobody takes, or a `yield`."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        if node.type == "simple_stmt" and node.children[0].type in {"atom_expr", "yield_expr", "await_expr"}:
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        node.children[0] = get_ast(f"{node.children[0].get_first_leaf().prefix}pass")
        return node


class RemoveOperand(_Ours):
    """Leave out one condition of several that `and` or `or` joins."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        if node.type in {"and_test", "or_test"}:
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        left = [one.get_code() for place, one in enumerate(node.children[::2]) if place != index]
        prefix = node.get_first_leaf().prefix or " "
        return get_ast(f"{prefix}({f' {node.children[1].value} '.join(left)})")


class NegateFilter(_Ours):
    """Turn the condition of a comprehension into its opposite."""

    def mutation_positions(self, node: Any) -> Iterator[Span]:
        if node.type == "comp_if":
            yield node.children[1].start_pos, node.children[1].end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        node.children[1] = get_ast(f" (not ({node.children[1].get_code()}))")
        return node


@dataclass(frozen=True)
class Change:
    """One change of one module."""

    module: str
    """Its path below the root."""
    line: int
    operator: str
    before: str
    """The lines that it touches, without what surrounds them."""
    after: str
    code: str
    """The module as it is with the change."""

    @property
    def told(self) -> str:
        """It as a report shows it."""
        return f"{self.module}:{self.line} ({self.operator})\n  - {self.before}\n  + {self.after}"

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is called by in the list of the equivalent ones."""
        return self.module, self.before, self.after


@dataclass(frozen=True)
class _Place:
    """A place in the code, and all that may be done to it there."""

    order: str
    module: str
    line: int
    ways: tuple[tuple[str, int], ...]


def drawn(root: Path, seed: int) -> Iterator[Change]:
    """All places of the deciding modules, in the order that the seed gives them; of each, one of its changes."""
    texts = {str(path.relative_to(root)): path.read_text() for pattern in DECIDING for path in root.glob(pattern)}
    places = [place for module, text in texts.items() for place in _places(module, text, seed)]
    for place in sorted(places, key=lambda place: place.order):
        operator, occurrence = place.ways[int(place.order[-8:], 16) % len(place.ways)]
        text = texts[place.module]
        code = mutate_code(text, _OPERATORS[operator](), occurrence)
        if code is not None and code != text and _is_python(code):
            yield _change(place, operator, text, code)


def equivalents(path: Path = EQUIVALENT) -> Mapping[tuple[str, str, str], str]:
    """The reasons for which changes can't be noticed, by what they are called."""
    listed = tomllib.loads(path.read_text()).get("equivalent", [])
    return {(one["module"], one["before"], one["after"]): one["reason"] for one in listed}


def reaching(change: Change, text: str, lines: Mapping[int, list[str]]) -> set[str]:
    """The tests that reach a change; those that reach its module, where it is of what an import runs."""
    statement = _statement(ast.parse(text), change.line)
    reached = {test for line in statement for test in lines.get(line, ())}
    return reached or {test for tests in lines.values() for test in tests}


def _statement(tree: ast.Module, line: int) -> range:
    """The lines of the innermost statement; of one that holds others, those of its head."""
    found = range(line, line + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if line <= max(last, node.lineno):
                found = range(node.lineno, max(last, node.lineno) + 1)
    return found


def _places(module: str, text: str, seed: int) -> Iterator[_Place]:
    lines = text.splitlines()
    unseen = list(_without_effect(ast.parse(text)))
    ways: dict[Span, list[tuple[str, int]]] = {}
    nodes = list(ast_nodes(get_ast(text)))
    for name, make in _OPERATORS.items():
        operator, occurrence = make(), 0
        for node in nodes:
            for span in operator.mutation_positions(node):
                ways.setdefault(span, []).append((name, occurrence))
                occurrence += 1
    twins: dict[str, int] = {}
    for (start, end), here in sorted(ways.items()):
        if any(first <= start and end <= last for first, last in unseen):
            continue
        known = digest([seed, module, lines[start[0] - 1].strip(), start[1], end[1]])
        twins[known] = twins.get(known, 0) + 1
        yield _Place(digest([known, twins[known]]), module, start[0], tuple(here))


def _without_effect(tree: ast.Module) -> Iterator[Span]:
    """Where no test can tell: annotations, and imports for types alone; and `frozen`, which mypy holds for us."""
    for node in ast.walk(tree):
        unseen = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            unseen.append(node.test)
        if isinstance(node, ast.keyword) and node.arg == "frozen":
            unseen.append(node.value)
        for one in unseen:
            if isinstance(one, ast.expr):
                yield (one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0)


def _is_python(code: str) -> bool:
    try:
        compile(code, "changed", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _change(place: _Place, operator: str, text: str, code: str) -> Change:
    before, after = text.splitlines(), code.splitlines()
    same = next(place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    grown = len(after) - len(before)
    end = next(
        (back for back in range(1, len(before) - same) if before[-back] != after[-back]), max(len(before) - same, 1)
    )
    last = len(before) - end + 1

    def joined(lines: list[str]) -> str:
        return " ".join(line.strip() for line in lines)

    return Change(
        module=place.module,
        line=place.line,
        operator=operator,
        before=joined(before[same:last]),
        after=joined(after[same : last + grown]),
        code=code,
    )


_OPERATORS: Mapping[str, Callable[[], Any]] = {
    **{name: OperatorProvider()[name] for name in OperatorProvider() if name not in _NOT_OURS},
    **{one.__name__: one for one in (RemoveStatement, RemoveOperand, NegateFilter)},
}
