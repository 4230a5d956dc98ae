"""A kind is an adapter: the pure layers and the steps know none by name, and one of them is small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import registries

PACKAGE = Path(registries.__file__).parents[1]
ROOMS = ("model", "plan", "words", "ports", "steps")
OWN_WORDS = re.compile(r"(?:^|_)(?:amis?|regions?|ec2|snapshots?)(?:_|$)|Ami(?:[A-Z]|$)|Region|Ec2|Snapshot")
OF_AN_ANNOUNCER = {"model/receivers.py": {"region"}}  # of a bus of events, which is AWS's
MOST_LINES = 560


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module gives or uses."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.keyword(arg=str(name)):
                yield name


def words(tree: ast.AST) -> Iterator[str]:
    """Every text that a module compares or says, but for what it says of itself."""
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_of_a_pure_layer_or_a_step_is_one_kinds_own(room: str) -> None:
    for module in (PACKAGE / room).rglob("*.py"):
        path = module.relative_to(PACKAGE).as_posix()
        found = {name for name in names(ast.parse(module.read_text())) if OWN_WORDS.search(name)}
        assert found <= OF_AN_ANNOUNCER.get(path, set()), path


@pytest.mark.parametrize("room", ROOMS)
def test_no_text_in_them_is_the_name_of_a_kind(room: str) -> None:
    known = {*registries.KINDS, *(entry.folder for entry in registries.KINDS.values())} - {registries.OTHER}
    for module in (PACKAGE / room).rglob("*.py"):
        assert known.isdisjoint(words(ast.parse(module.read_text()))), module


def test_each_kind_of_the_table_says_that_it_is_it() -> None:
    assert {kind: registries.dialect_of(kind).kind.name for kind in registries.KINDS} == {
        kind: kind for kind in registries.KINDS
    }


def test_the_table_says_what_each_dialect_takes_for_a_source() -> None:
    for kind, entry in registries.KINDS.items():
        dialect = registries.dialect_of(kind)
        assert entry.sources == dialect.sources.keys() == dialect.kind.sources.keys()
        assert entry.ahead in ("", dialect.kind.key)


def test_no_builder_leaves_two_kinds() -> None:
    claimed = [builder for entry in registries.KINDS.values() for builder in entry.builders]
    assert sorted(claimed) == sorted(set(claimed))
    words_of_sources = [word for entry in registries.KINDS.values() for word in entry.sources]
    assert sorted(words_of_sources) == sorted(set(words_of_sources))


def test_what_no_kind_names_is_of_the_other() -> None:
    assert registries.dialect_for("nobody-knows").kind.name == registries.OTHER
    assert registries.dialect_for("qemu").kind.name == "disk"
    assert registries.dialect_for("qemu", ["shell-local", "amazon-import"]).kind.name == "ami"


_MORE = ("bench.py", "bucket.py", "formats.py", "conversions.py", "accelerator.py", "needs.py")


def test_a_kind_without_a_bench_is_a_small_folder() -> None:
    folder = PACKAGE / "registries/disk"
    modules = [one.read_text().splitlines() for one in folder.glob("*.py") if one.name not in _MORE]
    assert sum(bool(line.strip()) for module in modules for line in module) < MOST_LINES
