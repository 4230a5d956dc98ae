"""Which of a test's many forms `make quick` tries: a few that lie far apart. The others are `thorough`."""

from __future__ import annotations

from itertools import groupby

import pytest


def leave_forms(items: list[pytest.Item]) -> None:
    """Of each test with the mark `forms(quick=…)` mark all forms but so many as `thorough`.

    They are spread over all: where a test has every one of this with every one of that, each of both has its turn.
    """
    of_forms = (item for item in items if item.get_closest_marker("forms"))
    for _, group in groupby(of_forms, key=lambda item: item.nodeid.partition("[")[0]):
        forms = list(group)
        marker = forms[0].get_closest_marker("forms")
        assert marker is not None
        tried = spread(len(forms), **marker.kwargs)
        for number, item in enumerate(forms):
            if number not in tried:
                item.add_marker("thorough")


def spread(count: int, *, quick: int) -> frozenset[int]:
    """So many numbers below `count`, as far from each other as they can be."""
    if quick >= count:
        return frozenset(range(count))
    return frozenset(number * (count - 1) // max(quick - 1, 1) for number in range(quick))
