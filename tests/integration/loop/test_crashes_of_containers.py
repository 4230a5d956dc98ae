"""Killed between any two effects, the next run converges for container images as it does for AMIs (test_crashes.py)."""

from __future__ import annotations

import pytest

from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.repositories import ContainersWorld
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_crashes import SCENARIOS, Scenario

pytestmark = [pytest.mark.containers, pytest.mark.long]

EFFECTS = {
    "first-run": 28,
    "parent-changed": 32,
    "child-changed": 16,
    "forced": 16,
    "lost-in-a-region": 4,
    "lost-everywhere": 14,
    "tags-stripped": 2,
    "tags-changed": 2,
    "region-swapped": 6,
    "renamed": 5,
    "renamed-and-changed": 18,
    "passed": 21,
    "rejected": 3,
    "removed": 3,
}
"""In how many effects each is done: those of AMIs, and one more for each build, whose image has to be stored.

A copy that is lost and made anew has the digest that is recorded of it already, so that nothing is pushed.
"""
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
DEATHS = [
    pytest.param(BY_NAME[name], number, id=f"{name}-{number}")
    for name, effects in EFFECTS.items()
    for number in range(effects)
]


def test_every_scenario_is_there() -> None:
    assert EFFECTS.keys() == BY_NAME.keys()


@pytest.mark.parametrize("name", EFFECTS)
def test_the_matrix_is_whole(containers_pair: ContainersWorld, name: str) -> None:
    BY_NAME[name].arrange(containers_pair)
    effects = Effects()
    assert BY_NAME[name].run(surround(containers_pair.controller(), effects.around)) == 0
    assert len(effects.done) == EFFECTS[name], effects.done


@pytest.mark.parametrize(("scenario", "number"), DEATHS)
def test_the_next_run_converges(containers_pair: ContainersWorld, scenario: Scenario, number: int) -> None:
    scenario.arrange(containers_pair)
    head = containers_pair.head()
    effects = Effects(die_at=number, when="after")
    with pytest.raises(Killed):
        scenario.run(surround(containers_pair.controller(), effects.around))
    containers_pair.clock.advance(hours=1)
    after = Scenario(scenario.name, 0, scenario.arrange, prune=scenario.prune)
    assert after.run(containers_pair.controller()) == 0
    assert_settled(containers_pair, since=head)
