"""Killed between any two effects, the next run converges: nothing lost, nothing twice, no build in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.integration.loop.effects import Effects, Killed, dying_at, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, Controller, World, git, no_image_files

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Scenario:
    """Something to do, in how many effects it is done, and how it is asked for."""

    name: str
    effects: int
    arrange: Callable[[World], object]
    prune: bool = False
    force: tuple[str, ...] = ()

    def run(self, controller: Controller) -> int:
        return controller.reconcile(prune=self.prune, force=self.force).exit_code


def _forget(world: World) -> None:
    """As on the first day: no state, no artifacts."""
    world.commit({f"state/{path}": None for path in world.state_files()})
    for one in world.registry.artifacts:
        world.registry.delete(one)


def _lose_one(world: World) -> None:
    world.lose("web", world.declared.elsewhere)


def _lose_all(world: World) -> None:
    world.lose("web", world.declared.home, world.declared.elsewhere)


def _strip(world: World) -> None:
    world.strip_tags("web", world.declared.home, world.declared.elsewhere)


def _retag(world: World) -> None:
    world.commit({"desired/web/image.yaml": f"{world.declared.on_base}tags: {{CostCenter: '43'}}\n"})


def _swap_region(world: World) -> None:
    declared = world.declared
    where = f"{declared.key}: [{declared.home}, {declared.third}]"
    world.commit({"desired/web/image.yaml": f"{declared.on_base}{where}\n"})


def _judged(status: Literal["passed", "failed"]) -> Callable[[World], None]:
    """A verdict on a new build of base. The child is built on `stable`, so a pass takes it along."""

    def arrange(world: World) -> None:
        validated = f"{world.declared.on_upstream}validation: {{required: true}}\n"
        world.commit({"desired/base/image.yaml": validated, "desired/base/setup.sh": "echo more\n"})
        assert world.controller().reconcile().exit_code == 0
        world.clock.advance(hours=1)
        world.judge("base", status)

    return arrange


def _rename(world: World) -> None:
    renamed = world.declared.files("site", f"{world.declared.on_base}moved_from: web\n")
    world.commit({**no_image_files("web"), **renamed})


def _rename_and_change(world: World) -> None:
    renamed = world.declared.files("site", f"{world.declared.on_base}moved_from: web\n", setup="echo site")
    world.commit({**no_image_files("web"), **renamed})


SCENARIOS = (
    Scenario("first-run", 26, _forget),
    Scenario("parent-changed", 30, lambda world: world.commit({"desired/base/setup.sh": "echo more\n"})),
    Scenario("child-changed", 15, lambda world: world.commit({"desired/web/setup.sh": "echo more\n"})),
    Scenario("forced", 15, lambda _world: None, force=("web",)),
    Scenario("lost-in-a-region", 5, _lose_one),
    Scenario("lost-everywhere", 13, _lose_all),
    Scenario("tags-stripped", 2, _strip),
    Scenario("tags-changed", 2, _retag),
    Scenario("region-swapped", 6, _swap_region, prune=True),
    Scenario("renamed", 5, _rename),
    Scenario("renamed-and-changed", 17, _rename_and_change),
    Scenario("passed", 20, _judged("passed")),
    Scenario("rejected", 3, _judged("failed")),
    Scenario("removed", 3, lambda world: world.commit(no_image_files("web")), prune=True),
)
# What is there after one effect is there before the next: only one of the two has to be tried.
DEATHS = [
    pytest.param(scenario, number, id=f"{scenario.name}-{number}")
    for scenario in SCENARIOS
    for number in range(scenario.effects)
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_matrix_is_whole(pair: World, scenario: Scenario) -> None:
    scenario.arrange(pair)
    effects = Effects()
    assert scenario.run(surround(pair.controller(), effects.around)) == 0
    assert len(effects.done) == scenario.effects, effects.done


@pytest.mark.parametrize(("scenario", "number"), DEATHS)
def test_the_next_run_converges(pair: World, scenario: Scenario, number: int) -> None:
    scenario.arrange(pair)
    head = pair.head()
    effects = Effects(die_at=number, when="after")
    with pytest.raises(Killed):
        scenario.run(surround(pair.controller(), effects.around))
    pair.clock.advance(hours=1)
    assert Scenario(scenario.name, 0, scenario.arrange, prune=scenario.prune).run(pair.controller()) == 0
    assert_settled(pair, since=head)


def test_what_a_dead_run_had_begun_is_not_seen_as_done(pair: World) -> None:
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    effects = Effects(die_at=0, when="after")
    with pytest.raises(Killed):
        surround(pair.controller(), effects.around).reconcile()
    assert effects.done == ["build web"]
    assert [one.own("key") for one in pair.artifacts("web")].count(None) == 1, "an artifact without a key is partial"
    after = pair.controller()
    after.reconcile()
    assert after.built == ["web"]


@pytest.mark.parametrize("effect", [f"copy {EU}", "push"])
def test_what_passed_its_test_is_not_tested_again_in_the_same_checkout(pair: World, effect: str) -> None:
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    dead = pair.controller()
    with pytest.raises(Killed):
        surround(dead, dying_at(effect)).reconcile()
    assert {one.own("phase") for one in pair.artifacts("web") if one.own("smoke") == "passed"} == {
        "stable",
        "preliminary",
    }
    after = pair.controller()
    after.reconcile()
    assert (after.built, after.tester.requests) == ([], [])
    assert pair.lock("web").builds[0].packer is not None
    assert not (after.root / "reconciler-unsaved").exists()


def test_a_dead_run_leaves_the_checkout_as_it_was(pair: World) -> None:
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    before = git(pair.root / "ci", "rev-parse", "HEAD")
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=5, when="after").around).reconcile()
    assert git(pair.root / "ci", "rev-parse", "HEAD") == before
    assert git(pair.root / "ci", "status", "--porcelain") == ""
