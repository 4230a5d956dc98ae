"""What `make mutants` changes: the same for the same seed, where it tells something, and one place at a time."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.mutants.changes import EQUIVALENT, Change, drawn, equivalents, reaching
from tests.mutants.reach import DECIDING

ROOT = Path(__file__).parents[2]
DECIDES = '''
"""A module."""
from __future__ import annotations

def chosen(found: list[int] | None, limit: int = 9) -> list[int] | None:
    """Choose."""
    if found is None or limit < 0:
        return None
    found.sort()
    return [one for one in found if one < limit]
'''


def all_of(root: Path, text: str, *, seed: int = 1) -> list[Change]:
    module = root / "reconciler/plan/chosen.py"
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(text)
    return list(drawn(root, seed))


def afters(found: list[Change]) -> set[str]:
    return {change.after for change in found}


def test_each_place_is_changed_once_and_each_change_is_python(tmp_path: Path) -> None:
    found = all_of(tmp_path, DECIDES)

    assert len({(change.line, change.before, change.after) for change in found}) == len(found)
    for change in found:
        ast.parse(change.code)
        assert change.code != DECIDES
        assert change.before in " ".join(line.strip() for line in DECIDES.splitlines())


def test_a_seed_draws_the_same_in_the_same_order_and_another_one_another(tmp_path: Path) -> None:
    assert all_of(tmp_path, DECIDES) == all_of(tmp_path, DECIDES)
    assert afters(all_of(tmp_path, DECIDES)) != afters(all_of(tmp_path, DECIDES, seed=7))


def test_an_edit_elsewhere_leaves_what_is_drawn(tmp_path: Path) -> None:
    before = all_of(tmp_path, DECIDES)
    after = all_of(tmp_path, f"{DECIDES}\n\nLIMIT = len('nine')\n")

    kept = [change.identity for change in after if "LIMIT" not in change.before]
    assert kept == [change.identity for change in before]


def test_annotations_are_left_alone(tmp_path: Path) -> None:
    found = [change for change in all_of(tmp_path, DECIDES) if change.before.startswith("def ")]

    assert [change.operator for change in found] == ["NumberReplacer"]
    assert "found: list[int] | None" in found[0].after
    assert "-> list[int] | None" in found[0].after


def test_conditions_filters_and_statements_are_taken_out(tmp_path: Path) -> None:
    """Each in one of the ways that its place has: whichever the seed gives."""
    found: set[str] = set()
    for seed in range(40):
        found |= afters(all_of(tmp_path, DECIDES, seed=seed))

    told = {" ".join(after.split()) for after in found}
    assert "pass" in told
    assert "if ( found is None):" in told
    assert "return [one for one in found if (not ( one < limit))]" in told


def test_a_change_is_judged_by_the_tests_of_its_statement_and_what_an_import_runs_by_all_of_its_module() -> None:
    lines: Mapping[int, list[str]] = {7: ["a"], 8: ["b"], 9: ["c"], 10: ["c", "d"]}

    def judges(line: int) -> set[str]:
        change = Change("reconciler/plan/chosen.py", line, "AddNot", "", "", "")
        return reaching(change, DECIDES, lines)

    assert judges(7) == {"a"}, "the head of a statement is not what it holds"
    assert judges(10) == {"c", "d"}
    assert judges(2) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("listed", [pytest.param(one, id=f"{one[0]}: {one[2]}") for one in equivalents()])
def test_what_is_listed_as_equivalent_says_why_and_is_there_still(listed: tuple[str, str, str]) -> None:
    module, before, _ = listed
    text = " ".join(line.strip() for line in (ROOT / module).read_text().splitlines())

    assert before in text, f"{module} has changed: strike this from {EQUIVALENT.name}"
    assert len(equivalents()[listed].split()) > 5


def test_the_modules_that_decide_are_all_there() -> None:
    for pattern in DECIDING:
        assert list(ROOT.glob(pattern)), f"nothing is at {pattern}"
