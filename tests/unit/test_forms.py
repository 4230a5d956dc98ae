"""Of a test with many forms `make quick` tries a few that lie far apart, and `make test` all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.forms import leave_forms, spread


@dataclass
class Item:
    nodeid: str
    marks: dict[str, pytest.Mark] = field(default_factory=dict)

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self.marks.get(name)

    def add_marker(self, name: str) -> None:
        self.marks[name] = pytest.Mark(name, (), {}, _ispytest=True)


def items(test: str, count: int, **quick: int) -> Iterator[Item]:
    for number in range(count):
        marks = {"forms": pytest.Mark("forms", (), quick, _ispytest=True)} if quick else {}
        yield Item(f"test_it.py::{test}[{number}]", marks)


@given(st.integers(1, 60), st.integers(1, 60))
def test_so_many_are_tried_the_first_among_them_and_none_is_far_from_all(count: int, quick: int) -> None:
    tried = sorted(spread(count, quick=quick))
    assert (len(tried), tried[0]) == (min(count, quick), 0)
    assert tried[-1] < count
    if quick > 1:
        assert tried[-1] == count - 1
        gaps = {after - before for before, after in pairwise(tried)}
        assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_all_others_are_thorough_and_what_has_no_such_mark_is_left_as_it_is() -> None:
    given = [*items("test_one", 5, quick=2), *items("test_all", 3), *items("test_two", 4, quick=1)]

    leave_forms(cast("list[pytest.Item]", given))

    quick = [one.nodeid.partition("::")[2] for one in given if one.get_closest_marker("thorough") is None]
    assert quick == ["test_one[0]", "test_one[4]", "test_all[0]", "test_all[1]", "test_all[2]", "test_two[0]"]
