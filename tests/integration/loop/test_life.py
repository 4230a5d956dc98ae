"""What is ruled holds, whatever a team and its hands do: in histories that are chosen at random, and in five games.

Each of the games is played for one thing that has to hold, and loses it where its flaw is given back
(`tests/mutants/given_back.toml`).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.plan import PlanOptions
from reconciler.steps.consumers import with_forgotten
from reconciler.steps.ours import records_of
from tests.integration.loop.life import NAMES, PLAYED, REGIONS, InMemory, Life, files
from tests.integration.loop.world import ON_DEBIAN, World, git


@pytest.fixture(scope="session")
def family(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.begin(tmp_path_factory.mktemp("family") / "world", files(ON_DEBIAN))
    assert made.controller().reconcile().exit_code == 0
    return made.settle()


def begin(family: World, root: Path) -> Life:
    """A game with the fleet as it was built for the first time."""
    world = family.copy_to(root)
    for region in REGIONS:
        world.registry.restored_for[region] = 365
    return Life(world, InMemory(world))


@pytest.fixture
def life(family: World, tmp_path: Path) -> Life:
    return begin(family, tmp_path / "world")


def newest(life: Life, image: str) -> str:
    return life.lock(image).builds[0].id


def test_a_held_channel_stays_whatever_comes(life: Life) -> None:
    held = newest(life, "left")
    life.it_is_held("left", 0)
    life.somebody_changes_it("left")
    life.it_is_judged("left", "passed")
    life.the_source_moves_on_and_all_is_refreshed()
    life.it_is_judged("left", "failed")
    assert life.lock("left").channels.stable == held
    life.a_hold_is_taken_away()
    assert life.lock("left").channels.stable != held


@pytest.mark.thorough
def test_a_revocation_reaches_every_generation_and_comes_down_by_both_sides(life: Life) -> None:
    life.app_goes_over_to_the_other_parent()
    life.somebody_changes_it("right")
    bad = newest(life, "base")
    life.one_is_revoked("base", 0)
    assert life.revoked["base"] == {bad}
    sides = {
        build.source.image
        for build in life.lock("app").builds
        if build.phase == "revoked" and build.source is not None
    }  # fmt: skip
    assert sides == {"left", "right"}
    assert all(one.phase == "revoked" for name in NAMES for one in life.lock(name).builds)
    life.all_revocations_are_taken_away()
    assert not any(one.phase == "revoked" for name in NAMES for one in life.lock(name).builds)


@pytest.mark.thorough
def test_a_revocation_passes_through_what_is_held_and_what_is_paused(life: Life) -> None:
    life.somebody_changes_it("left")
    life.it_is_held("left", 0)
    life.it_is_paused_or_goes_on("edge")
    life.one_is_revoked("base", 0)
    assert all(one.phase == "revoked" for name in NAMES for one in life.lock(name).builds)
    life.somebody_changes_it("app")
    assert life.lock("app").channels.stable is None
    life.all_revocations_are_taken_away()
    assert life.lock("left").channels.stable == life.held["left"]


@pytest.mark.thorough
def test_no_root_goes_however_long_it_waits(life: Life) -> None:
    life.it_is_held("edge", 0)
    for _ in range(2):  # two generations of what the held one was built on are superseded, beyond what is kept
        life.somebody_changes_it("left")
    stands_on = {build_id for _, build_id in life.ancestors(life.held["edge"])}
    assert len(stands_on) == 3
    before = {one.build for one in life.hands.amis().values()}
    for _ in range(3):
        life.a_step_is_taken(15)
    after = {one.build for one in life.hands.amis().values()}
    assert stands_on <= after < before


@pytest.mark.thorough
def test_the_retire_clock_goes_on_whatever_hands_undo(life: Life) -> None:
    for _ in range(2):
        life.somebody_changes_it("edge")
    life.a_step_is_taken(2)
    (entry,) = life.lock("edge").leaving
    life.a_step_on_the_way_out_is_undone(0)
    life.a_step_is_taken(15)
    life.a_step_on_the_way_out_is_undone(1)
    (now,) = life.lock("edge").leaving
    assert (now.deprecated, now.disabled is not None) == (entry.deprecated, True)
    for _ in range(2):
        life.a_step_is_taken(15)
    assert life.lock("edge").leaving == ()
    assert entry.build.id not in {one.build for one in life.hands.amis().values()}
    life.what_was_removed_is_restored(0)
    assert entry.build.id in {one.build for one in life.hands.amis().values()}


@pytest.mark.thorough
def test_what_was_revoked_comes_back_with_all_who_could_use_it(life: Life) -> None:
    life.it_is_shared_or_no_more("app", "111111111111")
    life.somebody_changes_it("app")
    for which in range(2):
        life.a_revocation_that_is_taken_back_leaves_no_trace("app", which)
    life.it_is_shared_or_no_more("edge", "222222222222")
    life.a_revocation_that_is_taken_back_leaves_no_trace("base", 0)


@pytest.mark.long
def test_what_is_ruled_holds_in_every_history(family: World, tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: begin(family, tmp_path / f"fleet-{next(numbers)}"),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=12, stateful_step_count=10,
            phases=(Phase.generate,),  # an example takes seconds, and each says what it did
            suppress_health_check=list(HealthCheck), **PLAYED,
        ),
    )  # fmt: skip


@pytest.mark.thorough
def test_a_revocation_reaches_what_stands_on_builds_that_lockfiles_have_forgotten(life: Life) -> None:
    life.validated |= {"edge"}
    life.declare("edge")
    stable = newest(life, "edge")
    life.reconcile()
    for _ in range(2):
        life.the_source_moves_on_and_all_is_refreshed()
    assert life.lock("edge").channels.stable == stable
    for image, build_id in life.ancestors(stable):
        assert life.lock(image).build(build_id) is None, "nothing is recorded of what it stands on"
        last = build_id
    life.revoked["base"].add(last)
    life.declare("base")
    # Who looks in a clone without the tags, and can't ask for them, is told no lie; who acts stops.
    controller = life.hands.controller()
    git(controller.root, "fetch", "--quiet", "origin")
    git(controller.root, "tag", "--delete", *git(controller.root, "tag", "--list", "image/app/*").split())
    life.world.origin.rename(life.world.root / "away")
    known = controller.read(Repository.open(controller.root).tree("origin/main"), PlanOptions(offline=True))
    records = records_of(Repository.open(controller.root), known)
    assert with_forgotten(known, records).forgotten == {}
    with pytest.raises(ReconcilerError):
        with_forgotten(replace(known, options=PlanOptions()), records)
    (life.world.root / "away").rename(life.world.origin)
    life.reconcile()
    assert [one.id for one in life.lock("edge").builds if one.phase == "revoked"] == [stable]
    assert all(life.lock(name).build(one) is not None for name, one in life.ancestors(stable)), "it is recorded again"
    life.all_revocations_are_taken_away()
    assert life.lock("edge").channels.stable == stable
