"""Several runs at once, from clones of their own. The push is the fence: one record wins, and nothing is left over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.model.errors import LOST_RACE
from reconciler.model.lockfile import Lockfile
from reconciler.ports.builder import BuildFailed, BuildRequest
from reconciler.steps.run import Report
from tests.integration.loop.effects import in_the_middle, meanwhile, surround
from tests.integration.loop.settling import assert_consistent, assert_history_only_grew, assert_settled
from tests.integration.loop.world import (
    AP,
    EU,
    ON_BASE,
    ON_DEBIAN,
    SETTINGS,
    US,
    Controller,
    World,
    git,
    image_files,
    results,
    statuses,
)

pytestmark = pytest.mark.long

PATIENCE = 60
"""Seconds after which a barrier gives up: a test that hangs would say nothing."""


def at_once(runs: Sequence[Callable[[], Report]]) -> list[Report]:
    """Run all in threads of their own, and return their reports in order."""
    with ThreadPoolExecutor(max_workers=len(runs)) as pool:
        return [future.result() for future in [pool.submit(run) for run in runs]]


def meeting(*controllers: Controller, image: str) -> None:
    """Let the controllers' builds of an image wait for each other: all have begun before one ends."""
    barrier = threading.Barrier(len(controllers), timeout=PATIENCE)

    def wait(request: BuildRequest) -> None:
        if request.image.name == image:
            barrier.wait()

    for controller in controllers:
        controller.builder.during = wait


@pytest.mark.parametrize("tick", [1, 0], ids=["seconds apart", "in the same second"])
def test_two_runs_that_build_the_same_leave_one_build_and_its_record(pair: World, tick: int) -> None:
    head = pair.commit({"desired/web/setup.sh": "echo more\n"})
    pair.clock.tick *= tick
    one, two = pair.controller("one"), pair.controller("two")
    meeting(one, two, image="web")
    reports = at_once([one.reconcile, two.reconcile])
    assert sorted(status for report in reports for status in statuses(report).values()) == ["built", "superseded"]
    assert [report.exit_code for report in reports] == [0, 0]
    assert len(pair.artifacts("web")) == 4, "the old build and one new, in two regions"
    assert_settled(pair, since=head)


def test_the_children_go_on_with_the_parent_that_the_other_run_recorded(pair: World) -> None:
    head = pair.commit({"desired/base/setup.sh": "echo more\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    report = in_the_middle(slow, "base", lambda: _done(fast.reconcile("base"))).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"base": "superseded", "web": "built"})
    base = pair.lock("base").builds[0]
    assert results(report)["base"].build == base
    assert pair.lock("web").builds[0].source == base.as_pin("base")
    assert_settled(pair, since=head)


def test_a_run_that_finds_anothers_build_before_it_is_recorded_takes_nothing_away(pair: World) -> None:
    """The build carries its key, its copies are under way: the second run adopts it and records it first."""
    head = pair.commit({"desired/web/setup.sh": "echo more\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    around = meanwhile(f"copy {EU}", lambda: _done(fast.reconcile()))
    report = surround(slow, around).reconcile()
    assert (report.exit_code, fast.built) == (0, [])
    assert len(pair.artifacts("web")) == 4
    assert_settled(pair, since=head)


def test_a_build_that_was_adopted_and_then_outdated_stays_recorded(pair: World) -> None:
    """The first run's build is not wanted any more when it ends, but another run has recorded it meanwhile."""
    pair.commit({"desired/web/setup.sh": "echo first\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")

    def overtake() -> None:
        _done(fast.reconcile())
        pair.commit({"desired/web/setup.sh": "echo second\n"})

    report = surround(slow, meanwhile("push", overtake)).reconcile()
    assert statuses(report) == {"web": "superseded"}
    assert_consistent(pair)
    assert statuses(pair.controller().reconcile()) == {"web": "built"}
    assert_settled(pair, since=pair.head())


def test_what_another_run_built_while_a_child_waited_is_adopted(pair: World) -> None:
    head = pair.commit({"desired/base/setup.sh": "echo more\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    around = meanwhile("push", lambda: _done(fast.reconcile()))
    report = surround(slow, around).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"base": "built", "web": "adopted"})
    assert (slow.built, fast.built) == (["base"], ["web"])
    assert_settled(pair, since=head)


def test_two_runs_that_copy_the_same_make_one_copy(pair: World) -> None:
    head = pair.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    around = meanwhile("push", lambda: _done(fast.reconcile()))
    assert surround(slow, around).reconcile().exit_code == 0
    assert len(pair.artifacts("web")) == 3
    assert len(pair.subjects(head)) == 1, "both say the same, so it is said once"
    assert_settled(pair, since=head)


def test_two_runs_that_adopt_the_same_record_it_once(pair: World) -> None:
    head = pair.commit({"state/web.lock.json": None})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    around = meanwhile("push", lambda: _done(fast.reconcile()))
    assert surround(slow, around).reconcile().exit_code == 0
    assert len(pair.subjects(head)) == 1
    assert_settled(pair, since=head)


def test_a_failure_does_not_cover_the_success_of_another_run(pair: World) -> None:
    head = pair.commit({"desired/web/setup.sh": "echo more\n"})
    slow, fast = pair.controller("slow"), pair.controller("fast")
    slow.builder.failures = {"web": BuildFailed("no capacity", cause="failed", seconds=1, log=Path("web.log"))}
    report = in_the_middle(slow, "web", lambda: _done(fast.reconcile())).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"web": "superseded"})
    assert pair.lock("web").failure is None
    assert_settled(pair, since=head)


def test_a_plain_run_does_not_turn_back_what_a_refresh_pinned_meanwhile(pair: World) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    newer = pair.publish_upstream("debian-12-amd64-20261115")
    plain, refresh = pair.controller("plain"), pair.controller("refresh")
    report = in_the_middle(plain, "base", lambda: _done(refresh.reconcile(refresh=True))).reconcile()
    assert statuses(report)["base"] == "superseded"
    source = pair.lock("base").source
    assert source is not None
    assert source.pinned.upstream is not None
    assert source.pinned.upstream.id == newer.id
    assert pair.controller().reconcile().exit_code == 0
    assert_settled(pair, since=pair.head())


def test_a_branch_that_is_force_pushed_during_a_race_keeps_what_lands_after(pair: World) -> None:
    begin = pair.head()
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    person = pair.root / "person"

    def rewrite() -> None:
        git(person, "commit", "--quiet", "--amend", "--message", "Say it better")
        git(person, "push", "--quiet", "--force", "origin", "HEAD:main")

    report = surround(pair.controller(), meanwhile("push", rewrite)).reconcile()
    assert (report.exit_code, statuses(report)) == (0, {"web": "built"})
    assert pair.subjects()[1] == "Say it better"
    assert_settled(pair, since=begin)


def test_twenty_images_in_four_levels_by_four_runs_all_land(tmp_path: Path) -> None:
    """Four runs, each asked for one image at a time. Whatever two of them build twice, one of it stays."""
    files = {"desired/reconciler.yaml": f"{SETTINGS.replace(f'{US}, {EU}', US)}limits: {{parallel_builds: 2}}\n"}
    names = [f"l{level}-{place}" for level in range(4) for place in range(5)]
    for level in range(4):
        for place in range(5):
            parent = ON_DEBIAN if level == 0 else f"source: {{image: l{level - 1}-{place}}}\n"
            files |= {path: text or "" for path, text in image_files(f"l{level}-{place}", parent).items()}
    world = World.begin(tmp_path / "world", files)
    begin = world.head()

    def process(number: int) -> list[Report]:
        mine = world.controller(f"run-{number}")
        mine.builder.during = None
        return [_until_won(mine, name) for name in names[number::4]]

    for number in range(4):
        world.controller(f"run-{number}")
    with ThreadPoolExecutor(max_workers=4) as pool:
        reports = [report for some in pool.map(process, range(4)) for report in some]
    assert {report.exit_code for report in reports} == {0}
    assert sorted(world.recorded()) == sorted(names)
    locks: list[Lockfile] = [world.lock(name) for name in names]
    assert all(lock.channels.stable for lock in locks)
    assert_history_only_grew(world, since=begin)
    world.clock.advance(hours=1)
    world.controller().reconcile()
    assert_consistent(world)
    assert world.controller().reconcile().results == ()


def _until_won(controller: Controller, image: str) -> Report:
    """Begin again after a lost race, as CI does. Here nobody waits before the next try, so ten may be lost in a row."""
    report = controller.reconcile(image)
    while report.exit_code == LOST_RACE:
        report = controller.reconcile(image)
    return report


def _done(report: Report) -> None:
    assert report.exit_code == 0
