"""Groups follow `stable` in waves: played against a registry that refreshes, fails, and is meddled with by others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from hypothesis.strategies import integers, sampled_from

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Channels, Lockfile
from reconciler.model.observation import (
    Group,
    InstanceRefresh,
    Publications,
    Template,
    TemplateVersion,
    version_words,
)
from reconciler.model.publish import Publish, Published
from reconciler.plan.rollout import GroupChange, Rollout, rollout
from tests.unit.plan.test_publishing import LOCATIONS, a_build

EU, US = LOCATIONS
PUBLISH = Publish.model_validate(
    {
        "launch_templates": ["web"],
        "auto_scaling_groups": ["a", {"name": "{image}-b", "regions": [US]}],
        "waves": [{"groups": ["a"], "wait": "1h"}, {"groups": ["{image}-b"]}],
    }
)
AGAIN = "refresh by hand to version {version}"
A_EU, A_US, B = (EU, "group a"), (US, "group a"), (US, "group web-b")
NEVER = "rf-nobody-s"


def an_image_with(plain: Image, publish: Publish = PUBLISH) -> Image:
    declaration = plain.declaration.model_copy(update={"publish": publish})
    return replace(plain, declaration=declaration, locations=LOCATIONS)


@dataclass
class Registry:
    """Groups of three instances in two locations, each of which allows one refresh at a time."""

    now: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    versions: dict[str, list[TemplateVersion]] = field(default_factory=lambda: {one: [] for one in LOCATIONS})
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    begun: int = 0
    skew: timedelta = timedelta()
    """By how much the clock of the machine that plans goes before the registry's."""

    def add_version(self, build: Build) -> None:
        for location, versions in self.versions.items():
            made = build.artifact_in(location)
            assert made is not None
            versions.append(TemplateVersion(len(versions) + 1, made.id, version_words("web", build.id)))

    def found(self) -> Publications:
        templates = {
            (one, "launch template web"): Template(f"lt-{one}", 1, tuple(versions), ours=True)
            for one, versions in self.versions.items()
        }
        groups = {place: replace(one, told=self.now) for place, one in self.groups.items()}
        return Publications(self.now + self.skew, templates=templates, groups=groups)

    def begin(self, place: tuple[str, str], version: int | None, prefix: str = "rf") -> str:
        group = self.groups[place]
        assert group.under_way is None, "the registry allows one at a time"
        self.begun += 1
        one = InstanceRefresh(f"{prefix}-{self.begun}", group.template, version, "running", 0)
        self.groups[place] = replace(group, refreshes=(one, *group.refreshes))
        return one.id

    def change(self, place: tuple[str, str], course: Any) -> None:
        group = self.groups[place]
        first, *rest = group.refreshes
        ended = self.now if course not in ("running", "turning-back") else None
        now = replace(first, course=course, ended=ended)
        group = replace(group, refreshes=(now, *rest))
        if course == "done" and first.version is not None:
            group = replace(group, says=str(first.version), runs=(first.version,) * 3)
        self.groups[place] = group

    def turn_back(self, place: tuple[str, str], refresh: str) -> None:
        assert self.groups[place].refreshes[0].id == refresh
        self.change(place, "turning-back")


class Story(RuleBasedStateMachine):
    """Builds become stable or are held, refreshes end well or badly, runs die, and others meddle."""

    image: Image

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.lock = Lockfile(image="web")
        self.hurt: set[str] = set()
        """Refreshes that did not end well, and that nobody turned back."""

    @initialize()
    def settled(self) -> None:
        self.promote()
        for place in (A_EU, A_US, B):
            template = f"lt-{place[0]}"
            self.registry.groups[place] = Group(
                place[1].removeprefix("group "), True, template, "1", (1, 1, 1), again=AGAIN
            )

    @rule()
    def promote(self) -> None:
        number = len(self.lock.builds)
        build = a_build(ID(number), revoked=False, locations=LOCATIONS)
        self.lock = self.lock.model_copy(
            update={"builds": (build, *self.lock.builds), "channels": Channels(candidate=build.id, stable=build.id)}
        )
        self.registry.add_version(build)

    @rule(at=integers(0, 5))
    def hold(self, at: int) -> None:
        build = self.lock.builds[at % len(self.lock.builds)]
        self.lock = self.lock.model_copy(update={"channels": Channels(candidate=build.id, stable=build.id)})

    @rule(hours=integers(-9000, 9000))
    def the_clock_jumps(self, hours: int) -> None:
        """That of the machine which plans: forward, or back."""
        self.registry.skew = timedelta(hours=hours)

    @rule(dies_after=integers(0, 9))
    def a_run(self, dies_after: int) -> None:
        self.run(dies_after)

    @rule()
    def a_whole_run(self) -> None:
        self.run()

    def run(self, dies_after: int = 99) -> Rollout:
        """One run, which may die after any of its effects."""
        todo = rollout(self.image, self.lock, self.registry.found())
        self.judge(todo)
        if dies_after > 0:
            self.record(todo.record)
        for number, change in enumerate(todo.changes, start=1):
            if number < dies_after:
                done = self.carry_out(change)
            if number + 1 < dies_after:
                self.record((done,))
        return todo

    def record(self, entries: tuple[Published, ...]) -> None:
        places = {one.place: one for one in (*self.lock.published, *entries)}
        self.lock = self.lock.model_copy(update={"published": tuple(places[place] for place in sorted(places))})

    def carry_out(self, change: GroupChange) -> Published:
        if change.refresh:
            self.registry.turn_back(change.at.place, change.refresh)
            return change.recorded
        assert change.target is not None
        begun = self.registry.begin(change.at.place, change.target.version)
        return change.at.model_copy(update={"refresh": begun})

    def judge(self, todo: Rollout) -> None:
        """What may be done now, told by what the groups run and nothing else."""
        stable, groups = self.version(), self.registry.groups
        failed = {
            at.place: next((one for one in self.hurt if f"refresh {one} " in why), "") for at, why in todo.refused
        }
        assert all(failed.values()), "what we turned back ourselves did not fail"
        begin = {one.at.place: one for one in todo.changes if not one.refresh}
        backwards = {one for one, group in groups.items() if (group.version or 0) > stable and group.under_way is None}
        assert backwards <= {*begin, *failed}, "back at once"
        recorded = {one.place: one for one in self.lock.published}
        for place, change in begin.items():
            assert change.target is not None
            assert change.target.version == stable
            entry, newest = recorded.get(place), next((one.id for one in groups[place].refreshes), None)
            if entry is not None and entry.build == self.lock.channels.stable and entry.refresh == newest:
                assert newest not in self.hurt, "what failed is not begun again by itself"
            if place in backwards:
                continue
            assert not failed, "stopped"
            for earlier in (A_EU, A_US) if place == B else ():
                other = groups[earlier]
                assert (other.version, other.under_way) == (stable, None), "an earlier wave is not there yet"
                done = next((one.ended for one in other.refreshes if one.version == stable), None)
                assert done is None or self.registry.now >= done + timedelta(hours=1), "the wait between waves"
        back = {one.at.place: one.refresh for one in todo.changes if one.refresh}
        for place, group in groups.items():
            running = group.under_way
            ours = running is not None and not running.id.startswith(NEVER)
            stale = running is not None and running.course == "running" and running.version != stable
            assert place not in back or ours, "somebody else's is never turned back"
            assert not (ours and stale) or place in back, "ours is turned back once it leads elsewhere"

    def version(self) -> int:
        return int(str(self.lock.channels.stable)[11:13]) + 1

    def running(self) -> list[tuple[str, str]]:
        return [place for place, one in self.registry.groups.items() if one.under_way is not None]

    @precondition(lambda self: self.running())
    @rule(at=integers(0, 2), course=sampled_from(["done", "turned-back", "failed", "turning-back"]))
    def go_on(self, at: int, course: str) -> None:
        place = self.running()[at % len(self.running())]
        one = self.registry.groups[place].under_way
        assert one is not None
        if one.course == "turning-back":
            course = "turned-back" if course != "failed" else "failed"
        elif course != "done" and not one.id.startswith(NEVER):
            self.hurt.add(one.id)
        self.registry.change(place, course)

    @rule()
    def all_that_runs_ends_well(self) -> None:
        for place in self.running():
            one = self.registry.groups[place].under_way
            if one is not None and one.course == "running":
                self.registry.change(place, "done")

    @precondition(lambda self: len(self.running()) < 3)
    @rule(at=integers(0, 2))
    def somebody_else_begins_one(self, at: int) -> None:
        places = [one for one in self.registry.groups if one not in self.running()]
        self.registry.begin(places[at % len(places)], None, prefix=NEVER)

    @rule(at=sampled_from([A_EU, A_US, B]))
    def a_hand_sets_a_version(self, at: tuple[str, str]) -> None:
        self.registry.groups[at] = replace(self.registry.groups[at], says="1", runs=(1, 1, 1))

    @rule(minutes=integers(1, 90))
    def wait(self, minutes: int) -> None:
        self.registry.now += timedelta(minutes=minutes)

    @rule()
    def all_is_left_alone(self) -> None:
        """Nobody meddles, and a person tries again what failed: every group comes to run what is stable."""
        for _ in range(12):
            for place in self.running():
                one = self.registry.groups[place].under_way
                assert one is not None
                self.registry.change(place, "turned-back" if one.course == "turning-back" else "done")
            self.registry.now += timedelta(hours=1)
            todo = self.run()
            for at, why in todo.refused:
                assert "to try again: refresh by hand to version " in why
                if at.place not in self.running():
                    self.registry.begin(at.place, self.version(), prefix="rf-by-hand")
        last = self.run()
        assert (last.changes, last.notes, last.refused) == ((), (), ())
        assert {one.version for one in self.registry.groups.values()} == {self.version()}
        assert {(one.course, one.build) for one in self.lock.published} == {("done", self.lock.channels.stable)}
        before = self.lock
        self.registry.now += timedelta(hours=1)
        self.run()
        assert self.lock == before, "and nothing is recorded anew"

    def teardown(self) -> None:
        self.all_is_left_alone()


def ID(number: int) -> str:  # noqa: N802 - as in the other tests of publishing
    return f"20261122T10{number:02d}00Z-1a2b3c4"


@pytest.fixture
def story(an_image: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Story:
    """Two builds, of which the groups run the first and the second is stable."""
    monkeypatch.setattr(
        "tests.unit.plan.test_publishing.artifact", lambda build_id, location: f"ami-{location}-{build_id}"
    )
    kind: type[Story] = type("TheStory", (Story,), {"image": an_image_with(an_image("web"))})
    begun = kind()
    begun.settled()
    begun.all_is_left_alone()
    begun.promote()
    return begun


def told(story: Story) -> Rollout:
    return rollout(story.image, story.lock, story.registry.found())


def begun(todo: Rollout) -> list[tuple[str, str]]:
    return [one.at.place for one in todo.changes if not one.refresh]


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400)])
def test_the_wait_between_waves_is_that_of_the_registrys_clock_however_this_ones_jumps(
    story: Story, jump: timedelta
) -> None:
    # Given a first wave that is done, and a machine whose clock jumps
    story.run()
    story.all_that_runs_ends_well()
    story.run()
    story.registry.skew = jump

    # Then the second waits as long as it should, and no longer
    assert begun(told(story)) == []
    story.wait(59)
    assert begun(told(story)) == []
    story.wait(1)
    assert begun(told(story)) == [B]


def test_without_the_registrys_time_this_machines_counts(story: Story) -> None:
    story.run()
    story.all_that_runs_ends_well()
    found = story.registry.found()
    silent = replace(found, groups={place: replace(one, told=None) for place, one in found.groups.items()})
    assert begun(rollout(story.image, story.lock, silent)) == []
    later = replace(silent, at=silent.at + timedelta(hours=1))
    assert begun(rollout(story.image, story.lock, later)) == [B]


def test_the_waves_follow_each_other_with_the_wait_between_them(story: Story) -> None:
    assert begun(story.run()) == [A_EU, A_US]
    assert told(story).notes == (
        f"{EU} group a: refresh rf-1 under way to version 2, 0 %",
        f"{US} group a: refresh rf-2 under way to version 2, 0 %",
        f"{US} group web-b: waits for wave 1: {EU} group a",
    )
    story.all_that_runs_ends_well()
    assert begun(story.run()) == []
    assert told(story).notes == (f"{US} group web-b: waits until 2026-11-23T02:00:00Z, 1h after wave 1",)
    story.wait(59)
    assert begun(story.run()) == []
    story.wait(1)
    assert begun(story.run()) == [B]


def test_what_a_hold_turned_back_did_not_fail_and_goes_on_once_it_is_released(story: Story) -> None:
    story.run()
    story.hold(1)
    assert [(one.at.place, one.refresh) for one in story.run().changes] == [(A_EU, "rf-1"), (A_US, "rf-2")]
    for place in (A_EU, A_US):
        story.go_on(0, "turned-back")
        assert story.registry.groups[place].under_way is None
    story.hold(0)
    assert begun(story.run()) == [A_EU, A_US]


def test_a_failure_stops_the_waves_and_turns_the_others_back(story: Story) -> None:
    story.run()
    story.go_on(0, "turned-back")
    todo = story.run()
    assert [(one.at.place, one.refresh, one.why) for one in todo.changes] == [(A_US, "rf-2", f"{EU} group a failed")]
    ((at, why),) = todo.refused
    assert at.place == A_EU
    assert why == "refresh rf-1 to version 2 was turned back; to try again: refresh by hand to version 2"
    story.registry.groups[A_EU] = replace(story.registry.groups[A_EU], again="")
    assert told(story).refused[0][1] == "refresh rf-1 to version 2 was turned back"
    story.registry.change(A_US, "turned-back")
    assert told(story).notes == tuple(f"{one[0]} {one[1]}: stopped, as {EU} group a failed" for one in (A_US, B))
    story.registry.begin(A_EU, 2)
    assert (told(story).refused, begun(told(story))) == ((), [A_US]), "a hand has it go on"


def test_what_failed_before_a_group_was_recorded_is_not_counted_against_it(story: Story) -> None:
    # Given a group whose refresh somebody began, and which they led to the version by hand when that had failed
    at = story.registry.groups[A_US]
    failed = InstanceRefresh("rf-theirs", at.template, 2, "failed", ended=story.registry.now)
    story.registry.groups[A_US] = replace(at, says="2", runs=(2, 2, 2), refreshes=(failed,))
    story.lock = story.lock.model_copy(update={"published": ()})

    # When it is recorded as one that is there
    story.record(told(story).record)

    # Then it is that in every later run as well, with nothing more to record
    again = told(story)
    assert again.refused == ()
    assert {one.place: one for one in again.record}[A_US] == {one.place: one for one in story.lock.published}[A_US]


def test_it_goes_back_at_once_from_a_build_that_no_group_may_keep(story: Story) -> None:
    story.all_is_left_alone()
    story.hold(1)
    assert begun(told(story)) == [A_EU, A_US, B]
    assert told(story).judged == (), "it ran there before"


@pytest.mark.parametrize(
    ("hand", "why"),
    [
        (lambda groups: groups.pop(A_US), "it is not there: make it"),
        (lambda groups: groups.update({A_US: replace(groups[A_US], ours=False)}), "does not carry this fleet's tag"),
        (lambda groups: groups.update({A_US: replace(groups[A_US], template="")}), "launches by no launch template"),
        (lambda groups: groups.update({A_US: replace(groups[A_US], template="lt-x")}), "by launch template lt-x"),
        (lambda groups: groups.update({A_US: replace(groups[A_US], misfit="it is arm64")}), "it is arm64"),
    ],
    ids=["missing", "somebody else's", "no template", "another template", "misfit"],
)  # fmt: skip
def test_what_can_not_be_refreshed_is_told_and_the_next_wave_waits(story: Story, hand: Any, why: str) -> None:
    hand(story.registry.groups)
    todo = told(story)
    ((at, said),) = todo.refused
    assert (at.place, why in said) == (A_US, True)
    assert (begun(todo), todo.notes) == ([A_EU], (f"{US} group web-b: waits for wave 1: {EU} group a",))


def test_a_group_that_launches_by_another_images_template_is_told(story: Story) -> None:
    # Given a fleet that has another image, which is published to a template in the same location
    story.registry.groups[A_US] = replace(story.registry.groups[A_US], template="lt-others")
    found = story.registry.found()
    others = Template("lt-others", 1, (TemplateVersion(1, "ami-others", ""),), ours=True)
    found = replace(found, templates={**found.templates, (US, "launch template others"): others})

    # Then no version of this image will ever be there
    todo = rollout(story.image, story.lock, found)
    assert [(at.place, "by launch template lt-others, which is none of" in why) for at, why in todo.refused] == [
        (A_US, True)
    ]


def test_a_location_that_can_not_be_read_holds_the_next_wave_up_and_is_left_alone(story: Story) -> None:
    found = replace(story.registry.found(), unreadable={EU: "throttled"})
    todo = rollout(story.image, story.lock, found)
    assert begun(todo) == [A_US]
    assert f"{EU} group a: what it runs can't be read: throttled" in todo.notes
    assert f"{US} group web-b: waits for wave 1: {EU} group a" in todo.notes


def test_a_version_that_only_says_that_it_is_ours_is_not_where_a_group_is_led(story: Story) -> None:
    ours = story.registry.versions[US].pop()
    planted = replace(ours, rest="his own user data")
    story.registry.versions[US] += [planted, replace(ours, number=3)]
    assert [one.target.version for one in told(story).changes if one.target and one.at.place == A_US] == [3]


def test_a_group_that_somebody_has_launch_something_beside_its_version_is_not_done(story: Story) -> None:
    """Whoever may change groups, or begin refreshes, would have it called so for the version that it names."""
    story.all_is_left_alone()
    assert told(story).refused == ()
    beside = "its override for t4g.small has ami-theirs"
    story.registry.groups[A_US] = replace(story.registry.groups[A_US], misfit=beside)

    assert [(at.place, why) for at, why in told(story).refused] == [(A_US, beside)]


def test_with_no_waves_declared_all_go_at_once(story: Story) -> None:
    publish = PUBLISH.model_copy(update={"waves": ()})
    type(story).image = an_image_with(story.image, publish)
    assert begun(told(story)) == [A_EU, A_US, B]


@pytest.mark.thorough
def test_whatever_happens_the_groups_end_at_what_is_stable(story: Story) -> None:
    machine = type(story)
    run_state_machine_as_test(machine, settings=settings(max_examples=150, stateful_step_count=14))
