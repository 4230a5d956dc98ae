from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.plan import PlannedImage
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.plan.timing import build_seconds, longest_chain, seconds_until_tested, smoke_test_seconds

Planned = Callable[..., PlannedImage]


@pytest.mark.parametrize(
    ("seconds", "estimate"),
    [([], None), ([None], None), ([400], 400), ([400, None, 100], 250), ([60, 60, 9000], 60)],
)
def test_a_build_is_expected_to_take_the_median_of_the_earlier_ones(
    built: Callable[..., Any], seconds: list[int | None], estimate: int | None
) -> None:
    # The median: one build that hung for hours says nothing of the next.
    lock = built().lock
    builds = tuple(lock.builds[0].model_copy(update={"seconds": each}) for each in seconds)
    assert build_seconds(lock.model_copy(update={"builds": builds})) == estimate


def test_a_test_is_expected_to_take_as_long_as_those_that_were_run(built: Callable[..., Any]) -> None:
    lock = built().lock
    results = [
        SmokeTestResult(status="passed", seconds=40), SmokeTestResult(status="skipped", why="boot is false"), None,
        SmokeTestResult(status="failed", seconds=60),
    ]  # fmt: skip
    builds = tuple(lock.builds[0].model_copy(update={"seconds": 100, "smoke_test": one}) for one in results)
    assert smoke_test_seconds(lock.model_copy(update={"builds": builds})) == 50
    assert seconds_until_tested(lock.model_copy(update={"builds": builds})) == 150
    assert seconds_until_tested(lock.model_copy(update={"builds": builds[1:3]})) == 100
    assert seconds_until_tested(lock.model_copy(update={"builds": ()})) is None


def chain(*images: PlannedImage) -> list[str]:
    return [image.image for image in longest_chain({image.image: image for image in images})]


def test_the_run_takes_as_long_as_its_longest_chain(planned: Planned) -> None:
    base, alone = planned("base", estimate_seconds=100), planned("alone", estimate_seconds=250)
    web, api = (planned(name, estimate_seconds=s, blocked_by=["base"]) for name, s in (("web", 200), ("api", 100)))

    assert chain(base, alone, web, api) == ["base", "web"]
    assert chain(base, alone, api) == ["alone"]


def test_what_waits_for_two_takes_as_long_as_the_longer(planned: Planned) -> None:
    # By name, by number and by order the other one would be it.
    longer, other = planned("base", estimate_seconds=300), planned("web", estimate_seconds=10)
    both = planned("shop", estimate_seconds=5, blocked_by=["base", "web"])

    assert chain(longer, other, both) == ["base", "shop"]


def test_a_link_of_unknown_length_counts_as_nothing_and_breaks_no_chain(planned: Planned) -> None:
    base, shop = planned("base", estimate_seconds=100), planned("shop", estimate_seconds=5, blocked_by=["web"])
    web = planned("web", blocked_by=["base"])

    assert chain(shop, web, base) == ["base", "shop"]
    assert chain(planned("web", blocked_by=["not in this plan"])) == []
    assert chain() == []
