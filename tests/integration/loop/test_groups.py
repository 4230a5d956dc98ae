"""Auto Scaling groups follow `stable`, wave by wave: through runs, deaths, failures, holds and revocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Group
from reconciler.model.usage import Use
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_publish import artifacts_of
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import EU, FLEET, ON_BASE, ON_DEBIAN, US, World, statuses
from tests.integration.pull_request.pulls import Listener

PUBLISH = (
    "publish:\n  launch_templates: [web]\n  auto_scaling_groups: [{name: web, bake: 10m}]\n"
    f"  waves: [{{regions: [{US}], wait: 1h}}, {{regions: [{EU}]}}]\n"
)


def groups(world: World) -> Mapping[str, Group]:
    return {location: one for (location, _), one in world.publisher.scaled.items()}


def versions(world: World) -> dict[str, int | None]:
    return {location: one.version for location, one in groups(world).items()}


def recorded(world: World) -> dict[str, Any]:
    return {one.location: one for one in world.lock("base").published if one.auto_scaling_group}


def under_way(world: World) -> list[str]:
    return [location for location, one in groups(world).items() if one.under_way is not None]


def begin(world: World, declaration: str = ON_DEBIAN) -> None:
    for location in (EU, US):
        world.publisher.template(location, "web", owner=FLEET)
        world.publisher.group(location, "web", template="web", owner=FLEET)
    world.commit({"desired/base/image.yaml": f"{declaration}{PUBLISH}"})


def a_run(world: World) -> None:
    assert world.controller().reconcile("base").exit_code == 0


def end(world: World, location: str, course: Any = "done") -> None:
    world.publisher.now = world.clock()
    world.publisher.end_refresh(location, "web", course, why="an instance did not become healthy")


def to_the_end(world: World) -> None:
    """Runs, and refreshes that end well, until nothing is under way any more; each an hour after the one before."""
    for _ in range(12):
        world.controller().reconcile("base")
        for location in under_way(world):
            turning = groups(world)[location].refreshes[0].course == "turning-back"
            end(world, location, "turned-back" if turning else "done")
        world.clock.advance(hours=1)


@pytest.fixture(scope="session")
def _rolled(_settled: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = _settled.copy_to(tmp_path_factory.mktemp("rolled") / "world")
    begin(made)
    to_the_end(made)
    assert versions(made) == {EU: 2, US: 2}
    return made.settle()


def tell(world: World, *listening: Listener) -> None:
    controller = world.controller()
    controller.announcers = list(listening)
    controller.reconcile("base")


def failures(listening: Listener) -> list[Announcement]:
    return [one for one in listening.heard if one.event == "failed"]


@pytest.fixture
def rolled(_rolled: World, tmp_path: Path) -> World:
    """The fleet with base in groups of both regions, which run what is stable."""
    return _rolled.copy_to(tmp_path / "world")


class TestWaves:
    def test_one_follows_the_other_and_each_step_is_recorded(self, settled: World) -> None:
        begin(settled)
        (only,) = standing(settled)
        planned = settled.controller().plan("base")["base"]
        ids = artifacts_of(settled, only)
        assert planned.actions == ("publish",)
        said = (f"{US} group web: version 1", f"a refresh to that version with {ids[US]}, wave 1 of 2")
        assert said in [(one.was, one.now) for one in planned.reasons]
        assert planned.notes == (f"{EU} group web: waits for wave 1: {US} group web",)
        head = settled.head()
        a_run(settled)
        assert (under_way(settled), versions(settled)) == ([US], {EU: 1, US: 1})
        entry = recorded(settled)[US]
        assert (entry.build, entry.version, entry.course) == (only, 2, "begun")
        assert entry.refresh == groups(settled)[US].refreshes[0].id
        assert settled.publisher.settings[entry.refresh].bake == 600
        assert sorted(settled.subjects(head)) == [
            "base: published at 3 places",
            f"base: {US} group web version 2 begun",
        ]

        quiet = settled.controller().plan("base")["base"]
        assert (quiet.sync, quiet.health, quiet.actions) == ("in-sync", "rolling-out", ("none",))
        assert quiet.notes[0] == f"{US} group web: refresh {entry.refresh} under way to version 2, 0 %"
        before = settled.head()
        assert (settled.controller().reconcile("base").results, settled.head()) == ((), before)

        end(settled, US)
        a_run(settled)
        assert (recorded(settled)[US].course, under_way(settled)) == ("done", [])
        settled.clock.advance(hours=1)
        a_run(settled)
        assert under_way(settled) == [EU]
        end(settled, EU)
        a_run(settled)
        assert versions(settled) == {EU: 2, US: 2}
        assert settled.controller().plan("base")["base"].health == "healthy"
        assert_settled(settled, since=head)

    def test_the_world_is_told_before_the_last_group_has_it(self, rolled: World) -> None:
        new = build(rolled, "echo more")
        assert rolled.lock("base").channels.stable == new
        assert (under_way(rolled), rolled.lock("base").undelivered) == ([US], ())

    def test_what_stands_costs_a_look_a_location(self, rolled: World) -> None:
        rolled.publisher.calls.clear()
        assert rolled.controller().reconcile("base").results == ()
        assert rolled.publisher.calls == {"templates": 2, "groups": 2}

    @pytest.mark.thorough
    def test_a_group_that_is_declared_no_more_is_forgotten_and_left_alone(self, rolled: World) -> None:
        rolled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}publish: {{launch_templates: [web]}}\n"})
        head, before = rolled.head(), groups(rolled)
        a_run(rolled)
        assert (recorded(rolled), groups(rolled)) == ({}, before)
        assert_settled(rolled, since=head)


class TestBack:
    @pytest.mark.thorough
    def test_a_hold_turns_back_what_is_under_way_and_the_others_stay(self, rolled: World) -> None:
        (old,) = standing(rolled)
        build(rolled, "echo more")
        assert under_way(rolled) == [US]
        rolled.commit({"desired/base/image.yaml": f"{held(old)}{PUBLISH}"})
        a_run(rolled)
        assert groups(rolled)[US].refreshes[0].course == "turning-back"
        assert under_way(rolled) == [US]
        to_the_end(rolled)
        assert versions(rolled) == {EU: 2, US: 2}
        assert {one.build for one in recorded(rolled).values()} == {old}

    @pytest.mark.thorough
    def test_what_is_revoked_is_left_at_once_in_all_locations(self, rolled: World) -> None:
        bad = build(rolled, "echo bad")
        to_the_end(rolled)
        assert versions(rolled) == {EU: 3, US: 3}
        rolled.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISH}"})
        a_run(rolled)
        assert sorted(under_way(rolled)) == [EU, US]
        to_the_end(rolled)
        assert versions(rolled) == {EU: 2, US: 2}

    @pytest.mark.thorough
    def test_what_is_revoked_with_its_parent_is_left_at_once_as_well(self, settled: World) -> None:
        # Given groups that run a child, which was built on its parent's newest build
        begin(settled)
        settled.commit({"desired/base/image.yaml": ON_DEBIAN, "desired/web/image.yaml": f"{ON_BASE}{PUBLISH}"})

        def end_all() -> None:
            for _ in range(8):
                settled.controller().reconcile()
                for location in under_way(settled):
                    end(settled, location)
                settled.clock.advance(hours=1)

        end_all()
        bad = build(settled, "echo bad")
        end_all()
        first, second = settled.lock("web").builds[1].id, settled.lock("web").builds[0].id
        assert versions(settled) == {EU: 3, US: 3}
        assert {one.build for one in settled.lock("web").published if one.auto_scaling_group} == {second}

        # When that is revoked, and what the child goes back to is adopted in its place
        settled.commit({"desired/base/image.yaml": revoked(bad)})
        settled.publisher.wrong = dict.fromkeys(artifacts_of(settled, first, "web").values(), "there is no way back")
        settled.controller().reconcile()

        # Then all of them go back, by no wave, and though nothing could bring them back to what is disabled
        assert settled.lock("web").channels.stable == first
        assert sorted(under_way(settled)) == [EU, US]
        end_all()
        assert versions(settled) == {EU: 2, US: 2}

    @pytest.mark.forms(quick=1)
    @pytest.mark.parametrize(
        ("is_only", "told"),
        [
            (False, "refreshed to what `stable` falls back to"),
            (True, "stays as it is: its channel will point to nothing"),
        ],
    )
    def test_before_that_the_plan_says_what_becomes_of_which_groups(
        self, rolled: World, *, is_only: bool, told: str
    ) -> None:
        (old,) = standing(rolled)
        bad = old if is_only else build(rolled, "echo bad")
        place = (US, artifacts_of(rolled, bad)[US])
        rolled.registry.uses += [
            Use(place, f"group {name}, by version 3 of {name}", "mend it", parameter=f"group {name}")
            for name in ("web", "others")
        ]
        rolled.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISH}"})
        (error,) = rolled.controller().plan("base")["base"].errors
        assert f"group web, by version 3 of web in {US} uses {place[1]}: it is this fleet's, and " in error
        assert told in error
        assert f"group others, by version 3 of others in {US} uses {place[1]}: mend it" in error

    def test_with_nothing_stable_a_group_stays_and_says_so(self, rolled: World) -> None:
        (only,) = standing(rolled)
        rolled.commit({"desired/base/image.yaml": f"{revoked(only)}{PUBLISH}"})
        rolled.controller().reconcile("base")
        planned = rolled.controller().plan("base")["base"]
        assert f"{US} group web: stays as it is: stable points to nothing" in planned.notes
        assert (versions(rolled), under_way(rolled)) == ({EU: 2, US: 2}, [])


class TestWrong:
    @pytest.mark.thorough
    def test_a_failure_stops_it_says_how_to_try_again_and_a_newer_build_goes_on(self, rolled: World) -> None:
        build(rolled, "echo bad")
        end(rolled, US, "turned-back")
        assert rolled.controller().reconcile("base").exit_code == 3
        planned = rolled.controller().plan("base")["base"]
        assert (planned.health, planned.actions) == ("degraded", ("none",))
        told = planned.waits_for or ""
        assert (
            "to version 3 was turned back: an instance did not become healthy; to try again: refresh web to version 3"
            in told
        )
        assert f"{EU} group web: stopped, as {US} group web failed" in planned.notes
        assert (recorded(rolled)[US].course, recorded(rolled)[EU].version) == ("failed", 2)
        build_id = build_anyway(rolled, "echo good")
        to_the_end(rolled)
        assert {one.build for one in recorded(rolled).values()} == {build_id}
        assert versions(rolled) == {EU: 4, US: 4}

    def test_it_is_announced_once_with_why_and_a_newer_one_that_fails_anew(self, rolled: World) -> None:
        listening = Listener()
        bad = build(rolled, "echo bad")
        end(rolled, US, "failed")
        for _ in range(3):
            tell(rolled, listening)
            rolled.clock.advance(days=1)
        (told,) = failures(listening)
        refresh = recorded(rolled)[US].refresh
        assert (told.image, told.build, told.previous) == ("base", bad, rolled.lock("base").builds[1].id)
        assert told.reason == f"{US} group web: refresh {refresh} failed: an instance did not become healthy"
        assert recorded(rolled)[US].told == ("webhook",)
        assert f"base: announced that {US} group web failed" in rolled.subjects()
        worse = build_anyway(rolled, "echo worse")
        end(rolled, US, "failed")
        tell(rolled, listening)
        assert [one.build for one in failures(listening)] == [bad, worse]
        assert len({one.id for one in listening.heard}) == len(listening.heard)

    def test_who_did_not_hear_of_it_is_told_by_the_next_run(self, rolled: World) -> None:
        deaf, hearing = Listener(fails=Transient("it is down")), Listener(name="sns")
        build(rolled, "echo bad")
        end(rolled, US, "failed")
        tell(rolled, deaf, hearing)
        assert recorded(rolled)[US].told == ("sns",)
        deaf.fails = None
        tell(rolled, deaf, hearing)
        assert recorded(rolled)[US].told == ("sns", "webhook")
        assert [len(failures(one)) for one in (deaf, hearing)] == [1, 1]
        head = rolled.head()
        tell(rolled, deaf, hearing)
        assert rolled.head() == head

    @pytest.mark.thorough
    def test_one_that_is_tried_again_by_hand_and_ends_well_is_told_no_more(self, rolled: World) -> None:
        listening = Listener()
        build(rolled, "echo bad")
        end(rolled, US, "failed")
        tell(rolled, listening)
        rolled.publisher.refresh(US, "web", version=3)
        end(rolled, US)
        to_the_end(rolled)
        tell(rolled, listening)
        assert len(failures(listening)) == 1
        assert {(one.course, one.told, one.why) for one in recorded(rolled).values()} == {("done", (), "")}

    def test_what_failed_long_ago_is_no_news_to_who_asks_today(self, rolled: World) -> None:
        build(rolled, "echo bad")
        end(rolled, US, "failed")
        rolled.controller().reconcile("base")
        rolled.clock.advance(days=8)
        listening = Listener()
        tell(rolled, listening)
        assert failures(listening) == []

    @pytest.mark.thorough
    def test_somebody_elses_refresh_is_waited_for(self, rolled: World) -> None:
        theirs = rolled.publisher.refresh(US, "web", version=1)
        build(rolled, "echo more")
        assert groups(rolled)[US].refreshes[0].id == theirs
        planned = rolled.controller().plan("base")["base"]
        assert f"{US} group web: waits for refresh {theirs} to version 1, which somebody else began" in planned.notes
        to_the_end(rolled)
        assert versions(rolled) == {EU: 3, US: 3}

    def test_a_version_set_by_hand_is_put_right_in_its_wave(self, rolled: World) -> None:
        rolled.publisher.scaled[US, "web"] = replace(groups(rolled)[US], says="1", runs=(1, 1))
        a_run(rolled)
        assert under_way(rolled) == [US]
        to_the_end(rolled)
        assert versions(rolled) == {EU: 2, US: 2}

    @pytest.mark.parametrize(
        ("hand", "told"),
        [
            (lambda world: world.publisher.scaled.pop((US, "web")), "it is not there"),
            (lambda world: change(world, ours=False), "does not carry this fleet's tag"),
            (lambda world: change(world, says="$Latest"), "have it name a number"),
            (lambda world: change(world, template="lt-other"), "none of publish.launch_templates"),
        ],
        ids=["missing", "somebody else's", "no number", "another template"],
    )  # fmt: skip
    def test_what_can_not_be_refreshed_is_told_by_the_plan_and_nothing_is_begun(
        self, settled: World, hand: Any, told: str
    ) -> None:
        begin(settled)
        hand(settled)
        planned = settled.controller().plan("base")["base"]
        assert planned.health == "degraded"
        assert f"{US} group web: " in (planned.waits_for or "")
        assert told in (planned.waits_for or "")
        assert "(desired/base/image.yaml:4:3)" in (planned.waits_for or "")
        report = settled.controller().reconcile("base")
        assert (statuses(report), report.exit_code) == ({"base": "failed"}, 3)
        assert settled.publisher.calls["begin_refresh"] == 0
        assert len(settled.publisher.there[US, "web"].versions) == 2, "the version is made all the same"

    def test_what_aws_refuses_leaves_the_rest_done_and_is_tried_again(self, settled: World) -> None:
        begin(settled)
        controller = settled.controller()
        surround(controller, failing(f"begin refresh {US} web", Terminal("not allowed: ec2:RunInstances")))
        assert statuses(controller.reconcile("base")) == {"base": "failed"}
        assert recorded(settled)[US].refresh == ""
        a_run(settled)
        assert under_way(settled) == [US]

    def test_what_can_not_be_read_is_unknown(self, rolled: World) -> None:
        rolled.publisher.unreadable[US] = Terminal("not allowed: autoscaling:DescribeAutoScalingGroups")
        planned = rolled.controller().plan("base")["base"]
        assert (planned.sync, planned.health, planned.actions) == ("unknown", "unknown", ("none",))


def build_anyway(world: World, setup: str) -> str:
    """Build another one, where the run says that groups stand still."""
    world.commit({"desired/base/setup.sh": f"{setup}\n"})
    world.controller().reconcile("base")
    world.clock.advance(hours=1)
    return world.lock("base").builds[0].id


def change(world: World, **values: Any) -> None:
    world.publisher.scaled[US, "web"] = replace(groups(world)[US], **values)


def _forward(world: World) -> None:
    """Both waves are due at once."""
    begin(world)
    declared = f"{ON_DEBIAN}{PUBLISH}".split("  waves")[0]
    world.commit({"desired/base/image.yaml": declared})


def _away(world: World) -> None:
    """A build is revoked while one of its refreshes is under way, and the other is done."""
    begin(world)
    to_the_end(world)
    bad = build(world, "echo bad")
    end(world, US)
    world.controller().reconcile("base")
    world.clock.advance(hours=2)
    world.controller().reconcile("base")
    assert under_way(world) == [EU]
    world.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISH}"})


SCENARIOS = {"forward": (_forward, 6), "away": (_away, 12)}
DEATHS = [(name, number) for name, (_, effects) in SCENARIOS.items() for number in range(effects)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "number"), DEATHS, ids=[f"{name}-{number}" for name, number in DEATHS])
@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_a_run_dies_the_next_ones_come_to_the_same_end(
    settled: World, name: str, number: int, when: Any
) -> None:
    SCENARIOS[name][0](settled)
    since = settled.head()
    effects = Effects(die_at=number, when=when)
    controller = surround(settled.controller(), effects.around)
    with pytest.raises(Killed):
        controller.reconcile("base")
    to_the_end(settled)
    assert versions(settled) == {EU: 2, US: 2}
    assert {one.course for one in recorded(settled).values()} == {"done"}
    begun = settled.publisher.calls["begin_refresh"]
    assert begun == {"forward": 2, "away": 2 + 2 + 1}[name], "none is begun twice"
    settled.clock.advance(hours=1)
    assert_settled(settled, since=since)


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenarios_have_as_many_effects_as_are_died_at(settled: World, name: str) -> None:
    SCENARIOS[name][0](settled)
    effects = Effects()
    surround(settled.controller(), effects.around).reconcile("base")
    assert len(effects.done) == SCENARIOS[name][1], effects.done


def a_course(world: World, effects: Effects) -> None:
    """A build is rolled out in both waves, revoked, and both groups come back; whoever dies is followed by others."""
    bad = build_through(world, effects, "echo bad")
    to_the_end_through(world, effects, {EU: 3, US: 3})
    world.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISH}"})
    to_the_end_through(world, effects, {EU: 2, US: 2})


def build_through(world: World, effects: Effects, setup: str) -> str:
    world.commit({"desired/base/setup.sh": f"{setup}\n"})
    before = world.lock("base").channels.stable
    for _ in range(3):
        a_run_through(world, effects)
        if (now := world.lock("base").channels.stable) not in (before, None):
            return str(now)
        world.clock.advance(hours=1)
    raise AssertionError("nothing new is stable")


def to_the_end_through(world: World, effects: Effects, there: Mapping[str, int]) -> None:
    for _ in range(14):
        a_run_through(world, effects)
        for location in under_way(world):
            turning = groups(world)[location].refreshes[0].course == "turning-back"
            end(world, location, "turned-back" if turning else "done")
        world.clock.advance(hours=1)
        courses = {one.course for one in recorded(world).values()}
        if versions(world) == there and courses == {"done"} and not under_way(world):
            return
    raise AssertionError(f"the groups are at {versions(world)}")


def a_run_through(world: World, effects: Effects) -> None:
    """A run of which each effect passes through; who is dead stays so, and the next one lives."""
    try:
        surround(world.controller(), effects.around).reconcile("base")
    except Killed:
        effects.dead, effects.die_at = False, None


COURSE = 37


@pytest.mark.long
def test_the_course_has_as_many_effects_as_are_died_at(rolled: World) -> None:
    effects = Effects()
    a_course(rolled, effects)
    assert len(effects.done) == COURSE, effects.done


@pytest.mark.long
@pytest.mark.parametrize("number", range(COURSE))
@pytest.mark.parametrize("when", ["before", "after"])
def test_wherever_one_of_many_runs_dies_each_refresh_is_begun_once(rolled: World, number: int, when: Any) -> None:
    since = rolled.head()
    effects = Effects(die_at=number, when=when)
    begun = rolled.publisher.calls["begin_refresh"]
    a_course(rolled, effects)
    assert effects.die_at is None, "one of them died"
    assert rolled.publisher.calls["begin_refresh"] == begun + 4
    assert {location: [one.version for one in group.refreshes] for location, group in groups(rolled).items()} == {
        location: [2, 3, 2] for location in (EU, US)
    }
    assert_settled(rolled, since=since)
