"""What `python -m tests.mutants.given_back` is told can be done still, and who fails is told from who does not run."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.mutants.given_back import NEEDS, Edit, Flaw, Outcome, cases, given_back, read

ROOT = Path(__file__).parents[2]
CASES = cases()
FLAWS = [
    pytest.param(flaw, id=f"{case.name} {flaw.why or number}")
    for case in CASES
    for number, flaw in enumerate(case.flaws)
]


@cache
def text_and_names(file: str) -> tuple[str, set[str]]:
    """A file below tests/, and what pytest calls the tests in it, without their parameters."""
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    return text, names_in(ast.parse(text).body)


def names_in(body: Iterable[ast.stmt], within: tuple[str, ...] = ()) -> set[str]:
    """What pytest calls the tests of a module, without their parameters."""
    found: set[str] = set()
    for one in body:
        if isinstance(one, ast.FunctionDef):
            found.add("::".join((*within, one.name)))
        elif isinstance(one, ast.ClassDef):
            found |= names_in(one.body, (*within, one.name))
    return found


def test_each_attack_has_a_name_of_its_own_and_what_gives_its_flaw_back() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.flaws and len(case.attack.split()) > 3 for case in CASES)
    for case in CASES:
        assert len({flaw.why for flaw in case.flaws}) == len(case.flaws), f"{case.name}: two flaws have one `why`"


def test_each_attack_is_told_where_people_read_what_holds_it() -> None:
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")

    assert [case.name for case in CASES if f"\n| {case.name} | {case.attack} | `" not in page] == []


@pytest.mark.parametrize("flaw", FLAWS)
def test_what_gives_a_flaw_back_can_be_changed_still(flaw: Flaw) -> None:
    assert flaw.edits
    for edit in flaw.edits:
        assert given_back(ROOT, edit.file, [edit]) != (ROOT / edit.file).read_text(encoding="utf-8")


@pytest.mark.parametrize("flaw", FLAWS)
def test_the_tests_that_a_flaw_is_held_by_are_there_and_say_what_they_need(flaw: Flaw) -> None:
    assert flaw.tests
    assert flaw.needs <= NEEDS
    for test in flaw.tests:
        file, _, name = test.partition("[")[0].partition("::")
        text, names = text_and_names(file)
        assert name in names, f"there is no {test}"
        assert "sandbox" in flaw.needs or "mark.sandbox" not in text, f"{test} needs the sandbox"
        assert "npm" in flaw.needs or "pytestmark = pytest.mark.github" not in text, f"{test} needs npm"


def test_an_edit_is_made_in_its_own_file_and_in_one_place_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one two\n")
    edits = [Edit("a", "one", "1"), Edit("b", "two", "2"), Edit("a", "two", "3")]

    assert given_back(tmp_path, "a", edits) == "1 3\n"
    for before in ("three", "o"):
        with pytest.raises(ValueError, match=r"a holds \d times"):
            given_back(tmp_path, "a", [Edit("a", before, "x")])


REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_it[1]"/>
<testcase classname="tests.unit.test_a" name="test_it[2]"><failure message="AssertionError: assert 1"/></testcase>
<testcase classname="tests.unit.test_a" name="test_item"><failure message="NameError: name 'x'"/></testcase>
<testcase classname="tests.unit.test_a" name="test_skipped"><skipped/></testcase>
<testcase classname="tests.unit.test_a" name="test_begun"><error message="failed on setup"/></testcase>
<testcase classname="tests.unit.test_a.TestIt" name="test_it[1]"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("test", "found", "held", "noticed"),
    [
        ("test_it[1]", Outcome(passed=1), True, False),
        ("test_it", Outcome(passed=1, failed=("AssertionError: assert 1",)), False, True),
        ("TestIt::test_it", Outcome(passed=1), True, False),
        ("test_item", Outcome(failed=("NameError: name 'x'",)), False, False),
        ("test_skipped", Outcome(skipped=1), False, False),
        ("test_begun", Outcome(), False, False),
        ("test_nowhere", Outcome(), False, False),
    ],
)
def test_a_test_has_noticed_what_it_fails_by_and_not_what_keeps_it_from_running(
    test: str, found: Outcome, *, held: bool, noticed: bool
) -> None:
    outcome = read(REPORT, f"unit/test_a.py::{test}")

    assert (outcome, outcome.held, outcome.noticed) == (found, held, noticed)


def test_what_does_not_end_has_not_held_nor_said_that_anything_is_wrong() -> None:
    assert (Outcome(ended=False).held, Outcome(ended=False).noticed) == (False, False)
