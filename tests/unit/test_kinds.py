"""A kind is an adapter: the pure layers and the steps know none by name, and the table says what each has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from reconciler import registries

PACKAGE = Path(registries.__file__).parents[1]
ROOMS = ("model", "plan", "words", "ports", "steps")
OWN_WORDS = re.compile(
    r"(?<![a-z])(?:amis?|ec2|regions?|snapshots?|imds\w*|oci|vsphere|vcenters?|vmware|esxi?|docker|podman|qemu|s3"
    r"|aws|iam|arns?|autoscaling|ssm|sns|eventbridge)(?![a-z])",
    re.IGNORECASE,
)
"""What kinds call theirs, but for words that mean other things as well: a machine has a disk, too."""
PUBLIC = {
    "model/collection.py": {"snapshot", "ami"},
    # The key `aws:`, with the role in it, and those of `share_with`, which takes ARNs.
    "model/declaration.py": {"regions", "aws", "iam", "arn"},
    "model/lockfile.py": {"region", "snapshots", "sns", "eventbridge"},
    "model/publish.py": {"regions", "ami", "ssm"},
    "model/receivers.py": {"region", "aws", "arn", "sns", "eventbridge"},
    "plan/history.py": {"region"},
    "plan/presence.py": {"region"},
    # What a registry that is not listed as soon as it is written is given: `aws.visibility_grace`.
    "plan/planning.py": {"aws"},
    # The key `publish.ssm`.
    "plan/publishing.py": {"ssm"},
}
"""What stands in formats that others rely on: a reason's code, the keys and the descriptions of what is recorded, the
settings of AWS and of receivers, and where these are read."""
FACTS = {
    "model/care.py": {"ec2"},
    "model/declaration.py": {"ec2"},
    "model/observation.py": {"ec2"},
    "model/publish.py": {"ec2", "oci", "arn"},
    "model/rights.py": {"aws"},
    "plan/care.py": {"ec2"},
    "plan/key.py": {"aws"},
    "plan/roots.py": {"ec2"},
    "steps/consumers.py": {"ssm"},
}
"""Whose behaviour is told of in comments and docstrings, as the source of a bound that has no kind's name."""


def own_words(text: str) -> set[str]:
    """The kinds' own words in a text, also within names: `region_of`, `AmiRequest`, `isVsphere`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", " ", text)
    return {word.lower() for word in OWN_WORDS.findall(apart)}


@cache
def done(text: str) -> ast.Module:
    """All that a module does: its names and its texts, without what it says of itself."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [one for one in node.body if not _is_a_remark(one)] or [ast.Pass()]
    return tree


def _is_a_remark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def modules() -> Iterator[tuple[str, str]]:
    """The path and the text of every module of a pure layer, or of the steps."""
    for room in ROOMS:
        for module in sorted((PACKAGE / room).rglob("*.py")):
            yield module.relative_to(PACKAGE).as_posix(), module.read_text()


def test_what_is_found_in_a_line_is_a_kinds_own_word_however_it_is_spelt() -> None:
    for text in (
        "region_of(x)",
        "AmiRequest",
        "EC2's",
        '"us" in regions',
        "is_ec2",
        "aSnapshot",
        "ami-0a1b",
    ):
        assert own_words(text), text
    for text in ("family", "regional", "association", "docile", "amid", "swami"):
        assert not own_words(text), text


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_and_no_text_of_a_pure_layer_or_a_step_is_one_kinds_own(room: str) -> None:
    for path, text in modules():
        if path.startswith(f"{room}/"):
            assert own_words(ast.unparse(done(text))) <= PUBLIC.get(path, set()), path


@pytest.mark.parametrize("room", ROOMS)
def test_no_line_of_them_names_a_kind_but_for_where_a_fact_is_from(room: str) -> None:
    for path, text in modules():
        if path.startswith(f"{room}/"):
            assert own_words(text) <= PUBLIC.get(path, set()) | FACTS.get(path, set()), path


def test_what_is_let_pass_is_there() -> None:
    found = {path: own_words(text) for path, text in modules()}

    for path, words in (*PUBLIC.items(), *FACTS.items()):
        assert words <= found[path], path


@pytest.mark.parametrize("room", ROOMS)
def test_no_text_in_them_is_the_name_of_a_kind_or_of_its_builder(room: str) -> None:
    table = registries.KINDS.values()
    known = {*registries.KINDS, *(entry.folder for entry in table)} - {registries.OTHER}
    known |= {name for entry in table for name in (*entry.builders, *entry.post_processors)} - {"file"}
    for path, text in modules():
        if path.startswith(f"{room}/"):
            assert known.isdisjoint(one.value for one in ast.walk(done(text)) if isinstance(one, ast.Constant)), path


def test_each_kind_of_the_table_says_that_it_is_it() -> None:
    assert {kind: registries.dialect_of(kind).kind.name for kind in registries.KINDS} == {
        kind: kind for kind in registries.KINDS
    }


def test_the_table_says_what_each_dialect_takes_for_a_source() -> None:
    for kind, entry in registries.KINDS.items():
        dialect = registries.dialect_of(kind)
        assert entry.sources == dialect.sources.keys() == dialect.kind.sources.keys()
        assert entry.ahead in ("", dialect.kind.key)


@pytest.mark.parametrize("kind", registries.KINDS)
def test_each_kind_of_the_table_has_what_its_line_names(kind: str) -> None:
    entry, known = registries.KINDS[kind], registries.dialect_of(kind).kind
    named: dict[str, tuple[str, ...]] = {"registry": ("open_registry",)}
    named |= {"bench": ("open_bench",)} if known.boots else {}
    named |= {"needs": ("needs",)} if entry.needs else {}
    named |= {entry.publisher: ("open_publisher",)} if entry.publisher else {}
    named |= {entry.machine: ("open_machine",)} if entry.machine else {}
    named |= {entry.allowed: ("needed", "credentials", "NOTE")} if entry.allowed else {}

    for module, names in named.items():
        found = import_module(f"reconciler.registries.{entry.folder}.{module}")
        assert [name for name in names if not hasattr(found, name)] == [], found.__file__

    assert bool(entry.publisher) == bool(known.published), f"{kind}: `publisher` in the table and `Kind.published`"


def test_of_a_kind_that_names_no_rights_nobody_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(registries.KINDS["disk"], allowed="")
    monkeypatch.setattr(registries, "KINDS", {**registries.KINDS, "disk": bare})
    assert registries.rights_of("disk", ()) is None


def test_no_builder_leaves_two_kinds() -> None:
    claimed = [builder for entry in registries.KINDS.values() for builder in entry.builders]
    assert sorted(claimed) == sorted(set(claimed))
    words_of_sources = [word for entry in registries.KINDS.values() for word in entry.sources]
    assert sorted(words_of_sources) == sorted(set(words_of_sources))


def test_what_no_kind_names_is_of_the_other() -> None:
    assert registries.dialect_for("nobody-knows").kind.name == registries.OTHER
    assert registries.dialect_for("qemu").kind.name == "disk"
    assert registries.dialect_for("qemu", ["shell-local", "amazon-import"]).kind.name == "ami"
