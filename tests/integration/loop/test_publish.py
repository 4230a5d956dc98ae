"""Consumers find what a channel points to under a name that stays: in every location, and before anybody is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.controller import look
from reconciler.model.errors import Terminal, Transient
from reconciler.model.events import Warned
from reconciler.model.plan import PlanOptions
from reconciler.model.usage import Use
from tests.integration.loop.adapters import WorldAdapters
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import VALIDATED, build, standing
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import (
    AP,
    EU,
    FLEET,
    ON_BASE,
    ON_DEBIAN,
    SETTINGS,
    US,
    Controller,
    World,
    git,
    image_files,
    no_image_files,
    statuses,
)
from tests.integration.pull_request.pulls import Listener

PUBLISHED = 'publish: {ssm: "/images/{image}/{channel}"}\n'
STABLE, CANDIDATE = "/images/base/stable", "/images/base/candidate"
PLACES = [(location, name) for location in (EU, US) for name in (CANDIDATE, STABLE)]


def artifacts_of(world: World, build_id: str | None, image: str = "base") -> dict[str, str]:
    recorded = world.lock(image).build(build_id)
    return {one.location: one.id for one in recorded.artifacts} if recorded is not None else {}


def shown(world: World, name: str = STABLE) -> dict[str, str]:
    """What consumers find under a name, by location."""
    return {location: value for (location, one), value in world.publisher.values().items() if one == name}


def agrees(world: World, image: str = "base") -> bool:
    channels = world.lock(image).channels
    return shown(world) == artifacts_of(world, channels.stable, image) and shown(world, CANDIDATE) == artifacts_of(
        world, channels.candidate, image
    )


@pytest.fixture(scope="session")
def _published(_settled: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = _settled.copy_to(tmp_path_factory.mktemp("published") / "world")
    made.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
    assert made.controller().reconcile().exit_code == 0
    return made.settle()


@pytest.fixture
def published(_published: World, tmp_path: Path) -> World:
    """The fleet with base published."""
    return _published.copy_to(tmp_path / "world")


class TestPublication:
    def test_every_channel_is_written_in_every_location_and_recorded(self, settled: World) -> None:
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        planned = settled.controller().plan("base")["base"]
        assert (planned.sync, planned.actions) == ("drifted", ("publish",))
        (stable,) = {artifacts_of(settled, settled.lock("base").channels.stable)[US]}
        said = [(one.code, one.was, one.now) for one in planned.reasons]
        assert ("publication-changed", f"{US} {STABLE}: nothing", stable) in said
        head = settled.head()
        report = settled.controller().reconcile()
        assert statuses(report) == {"base": "changed"}
        assert sorted(settled.publisher.values()) == PLACES
        assert agrees(settled)
        assert [(one.location, one.ssm) for one in settled.lock("base").published] == PLACES
        assert settled.subjects(head) == ["base: published at 4 places"]
        assert [one.verb for one in report.results[0].did] == ["published"] * 4
        assert_settled(settled, since=head)

    def test_what_is_not_drifted_costs_one_call_a_location_and_no_more(self, published: World) -> None:
        published.publisher.calls.clear()
        assert published.controller().reconcile().results == ()
        assert published.publisher.calls == {"read": 2}

    def test_a_fleet_that_is_not_published_asks_nothing(self, settled: World) -> None:
        settled.controller().reconcile()
        assert settled.publisher.calls == {}

    def test_nothing_is_said_of_it_offline(self, published: World) -> None:
        published.publisher.seed(US, STABLE, "ami-1")
        published.publisher.calls.clear()
        adapters = WorldAdapters(published.controller())
        known = adapters.read(adapters.repository.tree(published.head()), PlanOptions(offline=True))
        planned = look(adapters, known, asks=False).planned
        assert {one.image: one.reasons for one in planned.plan.images}["base"] == ()
        assert published.publisher.calls == {}

    def test_without_a_channel_in_its_name_it_is_that_of_stable(self, settled: World) -> None:
        declared = f'{VALIDATED}publish: {{ssm: "/golden/base"}}\n'
        settled.commit({"desired/base/image.yaml": declared})
        settled.controller().reconcile("base")
        new = build(settled, "echo more")
        lock = settled.lock("base")
        assert (lock.channels.candidate, lock.channels.stable != new) == (new, True)
        assert shown(settled, "/golden/base") == artifacts_of(settled, lock.channels.stable)

    def test_it_follows_builds_verdicts_holds_and_revocations(self, published: World) -> None:
        (old,) = standing(published)
        new = build(published, "echo more")
        assert shown(published) == artifacts_of(published, new)
        published.commit({"desired/base/image.yaml": f"{held(old)}{PUBLISHED}"})
        planned = published.controller().plan("base")["base"]
        assert planned.actions == ("promote", "publish")
        published.controller().reconcile("base")
        assert shown(published) == artifacts_of(published, old)
        assert shown(published, CANDIDATE) == artifacts_of(published, new)
        published.commit({"desired/base/image.yaml": f"{revoked(old)}{PUBLISHED}"})
        published.controller().reconcile("base")
        assert shown(published) == artifacts_of(published, new)
        published.commit({"desired/base/image.yaml": f"{revoked(old, new)}{PUBLISHED}"})
        planned = published.controller().plan("base")["base"]
        gone = [one.now for one in planned.reasons if one.code == "publication-changed"]
        assert gone == [f"nothing: {one} points to nothing" for one in ("candidate", "stable")] * 2
        published.controller().reconcile("base")
        assert published.publisher.values() == {}
        published.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        head = published.head()
        published.controller().reconcile()
        assert agrees(published)
        published.controller().reconcile()
        assert_settled(published, since=head)

    def test_a_revocation_counts_where_the_artifacts_can_not_be_read(self, published: World) -> None:
        (old,) = standing(published)
        bad = build(published, "echo bad")
        published.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISHED}"})
        published.registry.unreadable[US] = "throttled"
        published.controller().reconcile("base")
        assert shown(published) == artifacts_of(published, old)

    def test_a_name_of_ours_that_moves_along_is_no_use_that_keeps_a_build(self, published: World) -> None:
        (old,) = standing(published)
        bad = build(published, "echo bad")
        uses = [
            Use((location, value), f"parameter {name}", "mend it", parameter=name)
            for (location, name), value in published.publisher.values().items()
        ]
        published.registry.uses.extend(uses)
        published.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISHED}"})
        published.controller().reconcile("base")
        assert shown(published) == artifacts_of(published, old)

    def test_one_whose_channel_will_point_to_nothing_is(self, published: World) -> None:
        (only,) = standing(published)
        place = (US, artifacts_of(published, only)[US])
        published.registry.uses.append(Use(place, f"parameter {STABLE}", "mend it", parameter=STABLE))
        published.registry.uses.append(Use(place, "parameter /others", "mend it", parameter="/others"))
        published.commit({"desired/base/image.yaml": f"{revoked(only)}{PUBLISHED}"})
        (error,) = published.controller().plan("base")["base"].errors
        told = "it is this fleet's, and is deleted: its channel will point to nothing"
        assert f"parameter {STABLE} in {US} uses {place[1]}: {told}" in error
        assert f"parameter /others in {US} uses {place[1]}: mend it" in error


class TestDrift:
    @pytest.mark.parametrize("location", [EU, US])
    def test_a_value_changed_by_hand_is_set_right(self, published: World, location: str) -> None:
        wanted = shown(published)
        published.publisher.seed(location, STABLE, "ami-0123456789abcdef0")
        planned = published.controller().plan("base")["base"]
        assert planned.actions == ("publish",)
        assert [(one.was, one.now) for one in planned.reasons] == [
            (f"{location} {STABLE}: ami-0123456789abcdef0", wanted[location])
        ]
        head = published.head()
        assert statuses(published.controller().reconcile()) == {"base": "changed"}
        assert shown(published) == wanted
        assert published.head() == head, "what is recorded did not change"
        assert_settled(published, since=head)

    def test_a_name_that_was_deleted_is_written_again(self, published: World) -> None:
        wanted = shown(published)
        del published.publisher.held[US, STABLE]
        published.controller().reconcile()
        assert shown(published) == wanted

    def test_what_is_somebody_elses_is_never_overwritten(self, settled: World) -> None:
        settled.publisher.seed(US, STABLE, "ami-0123456789abcdef0", owner="acme/others")
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        planned = settled.controller().plan("base")["base"]
        assert planned.health == "degraded"
        assert "does not carry this fleet's tag" in (planned.waits_for or "")
        assert "desired/base/image.yaml:2:11" in (planned.waits_for or "")
        report = settled.controller().reconcile()
        assert report.exit_code == 3
        assert shown(settled)[US] == "ami-0123456789abcdef0"
        assert shown(settled)[EU] == artifacts_of(settled, settled.lock("base").channels.stable)[EU]
        assert (US, STABLE) not in {one.place for one in settled.lock("base").published}
        again = settled.controller().reconcile()
        assert (again.results, again.exit_code) == ((), 3)

    def test_it_is_no_ones_though_it_holds_the_right_value(self, settled: World) -> None:
        stable = artifacts_of(settled, settled.lock("base").channels.stable)
        settled.publisher.seed(US, STABLE, stable[US])
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        assert "does not carry" in (settled.controller().plan("base")["base"].waits_for or "")

    def test_what_has_another_type_is_refused_with_the_way_out(self, settled: World) -> None:
        settled.publisher.seed(US, STABLE, "ami-1", owner=FLEET, misfit="has the data type text")
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        planned = settled.controller().plan("base")["base"]
        assert "has the data type text, which can't be changed: give another name in" in (planned.waits_for or "")

    @pytest.mark.parametrize("error", [Transient("throttled"), Terminal("not allowed: ssm:GetParameters")])
    def test_what_can_not_be_read_is_unknown_and_not_written(self, published: World, error: Transient) -> None:
        wanted = shown(published)
        published.publisher.seed(US, STABLE, "ami-0123456789abcdef0")
        published.publisher.seed(EU, STABLE, "ami-0123456789abcdef0")
        published.publisher.unreadable[US] = error
        planned = published.controller().plan("base")["base"]
        assert planned.unknown == (f"{US}: {error.what}",)
        assert [one.was for one in planned.reasons] == [f"{EU} {STABLE}: ami-0123456789abcdef0"]
        assert published.controller().reconcile().exit_code == 3
        assert shown(published) == {US: "ami-0123456789abcdef0", EU: wanted[EU]}

    def test_unread_alone_it_is_unknown_and_nothing_is_done(self, published: World) -> None:
        published.publisher.unreadable[US] = Terminal("not allowed: ssm:GetParameters")
        planned = published.controller().plan("base")["base"]
        assert (planned.sync, planned.health, planned.actions) == ("unknown", "unknown", ("none",))
        report = published.controller().reconcile()
        assert (report.exit_code, report.results) == (3, ())

    def test_what_is_suspended_is_left_alone(self, published: World) -> None:
        published.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}suspend: {{reason: outage}}\n"})
        published.publisher.seed(US, STABLE, "ami-0123456789abcdef0")
        published.controller().reconcile()
        assert shown(published)[US] == "ami-0123456789abcdef0"


class TestEnd:
    def test_another_name_takes_the_place_of_the_old_one(self, published: World) -> None:
        published.commit({"desired/base/image.yaml": f'{ON_DEBIAN}publish: {{ssm: "/golden/{{channel}}"}}\n'})
        head = published.head()
        published.controller().reconcile()
        names = ["/golden/candidate", "/golden/stable"]
        assert sorted(published.publisher.values()) == [(location, name) for location in (EU, US) for name in names]
        assert_settled(published, since=head)

    def test_once_the_line_is_gone_so_are_the_names(self, published: World) -> None:
        published.commit({"desired/base/image.yaml": ON_DEBIAN})
        planned = published.controller().plan("base")["base"]
        assert {one.now for one in planned.reasons} == {"nothing: not declared"}
        head = published.head()
        published.controller().reconcile()
        assert (published.publisher.values(), published.lock("base").published) == ({}, ())
        assert_settled(published, since=head)

    def test_a_location_that_is_declared_no_more_loses_its_names(self, published: World) -> None:
        published.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}regions: [{US}]\n"})
        published.controller().reconcile("base")
        assert {location for location, _ in published.publisher.values()} == {US}

    def test_a_new_location_gets_them(self, published: World) -> None:
        published.commit({"desired/reconciler.yaml": SETTINGS.replace(EU, f"{EU}, {AP}")})
        published.controller().reconcile()
        assert set(shown(published)) == {AP, EU, US}
        assert agrees(published)

    def test_what_somebody_else_took_meanwhile_stays(self, published: World) -> None:
        published.publisher.owners[US, STABLE] = None
        published.commit({"desired/base/image.yaml": ON_DEBIAN})
        published.controller().reconcile()
        assert list(published.publisher.values()) == [(US, STABLE)]
        assert published.lock("base").published == ()

    def test_under_a_new_name_an_image_keeps_what_names_it_spelt_out(self, published: World) -> None:
        before = published.publisher.values()
        published.commit(
            {
                **no_image_files("base"), **image_files("core", f"{ON_DEBIAN}moved_from: base\n"
                f'publish: {{ssm: "/images/base/{{channel}}"}}\n'),
                "desired/web/image.yaml": ON_BASE.replace("base", "core"),
                "desired/api/image.yaml": ON_BASE.replace("base", "core"),
            }
        )  # fmt: skip
        head = published.head()
        published.controller().reconcile()
        assert published.publisher.values() == before
        assert_settled(published, since=head)

    def test_with_its_image_they_are_pruned(self, settled: World) -> None:
        settled.commit({"desired/tools/image.yaml": f"{(settled.root / 'person/desired/tools/image.yaml').read_text()}"
                        f"{PUBLISHED}"})  # fmt: skip
        settled.controller().reconcile()
        assert len(settled.publisher.values()) == 4
        settled.commit(no_image_files("tools"))
        settled.controller().reconcile()
        assert len(settled.publisher.values()) == 4, "nothing of a removed image goes before that is asked for"
        planned = settled.controller().plan("tools", prune=True)["tools"]
        assert f"{US} /images/tools/stable" in [one.was for one in planned.reasons]
        settled.controller().reconcile(prune=True)
        assert settled.publisher.values() == {}

    def test_what_another_image_has_by_now_is_left_to_it(self, published: World) -> None:
        name = "/images/base/stable"
        tools = (published.root / "person/desired/tools/image.yaml").read_text()
        published.commit(
            {"desired/base/image.yaml": ON_DEBIAN, "desired/tools/image.yaml": f'{tools}publish: {{ssm: "{name}"}}\n'}
        )
        head = published.head()
        published.controller().reconcile()
        assert shown(published) == artifacts_of(published, published.lock("tools").channels.stable, "tools")
        assert_settled(published, since=head)


class TestTold:
    def test_nobody_is_told_before_every_location_agrees(self, published: World) -> None:
        listening = Listener()
        published.publisher.unreadable[EU] = Transient("throttled")
        published.commit({"desired/base/setup.sh": "echo more\n"})
        controller = published.controller()
        controller.announcers = [listening]
        report = controller.reconcile("base")
        assert (statuses(report), report.exit_code) == ({"base": "failed"}, 3)
        new = published.lock("base").builds[0].id
        assert shown(published)[US] == artifacts_of(published, new)[US]
        assert [one for one in listening.heard if one.build == new] == []
        published.publisher.unreadable.clear()
        again = published.controller()
        again.announcers = [listening]
        assert again.reconcile("base").exit_code == 0
        assert {one.event for one in listening.heard if one.build == new} == {"candidate", "stable"}

    def test_others_are_told_of_all_the_same(self, published: World) -> None:
        listening = Listener()
        published.publisher.unreadable[EU] = Transient("throttled")
        published.commit({"desired/tools/setup.sh": "echo more\n"})
        controller = published.controller()
        controller.announcers = [listening]
        controller.reconcile("tools")
        assert {one.image for one in listening.heard if one.build == published.lock("tools").builds[0].id} == {"tools"}

    def test_what_is_not_taken_is_a_failure_that_asks_for_the_right(self, published: World) -> None:
        before = shown(published)
        published.commit({"desired/base/setup.sh": "echo more\n"})
        controller = published.controller()
        location = f"confirm {US} {STABLE}"
        surround(controller, failing(location, Terminal("did not take it", hint="ec2:DescribeImages?")))
        report = controller.reconcile("base")
        assert statuses(report) == {"base": "failed"}
        assert report.results[0].lock == published.lock("base"), "it is recorded all the same"
        assert shown(published)[EU] != before[EU]

    def test_a_preview_publishes_nothing_and_tells_what_is_in_the_way(self, settled: World) -> None:
        settled.publisher.seed(US, STABLE, "ami-1")
        planned = settled.controller().look(PlanOptions(preview=True))[1].plan
        assert planned.drifted == ()
        settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})
        (base,) = [
            one for one in settled.controller().look(PlanOptions(preview=True))[1].plan.images if one.image == "base"
        ]
        assert (base.actions, len(base.notes)) == (("none",), 1)
        assert settled.publisher.calls["put"] == 0


def test_what_is_only_proposed_is_published_once_it_is_merged(published: World) -> None:
    before = published.publisher.values()
    proposing = f"{SETTINGS}git: {{push: pull-request}}\n"
    published.commit({"desired/reconciler.yaml": proposing, "desired/base/setup.sh": "echo more\n"})
    published.controller().reconcile("base")
    assert published.publisher.values() == before
    git(published.root / "person", "fetch", "--quiet", "origin")
    git(published.root / "person", "merge", "--quiet", "origin/reconciler/state")
    git(published.root / "person", "push", "--quiet", "origin", "HEAD:main")
    published.controller().reconcile("base")
    assert published.publisher.values() != before
    assert agrees(published)


def _publish(world: World) -> None:
    world.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})


def _move(world: World) -> None:
    _publish(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    world.commit({"desired/base/setup.sh": "echo more\n", "desired/base/image.yaml": f"{ON_DEBIAN}{PUBLISHED}"})


def _rename(world: World) -> None:
    _publish(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    world.commit({"desired/base/image.yaml": f'{ON_DEBIAN}publish: {{ssm: "/golden/{{channel}}"}}\n'})


def _take_back(world: World) -> None:
    _publish(world)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    bad = build(world, "echo bad")
    world.clock.advance(hours=1)
    world.commit({"desired/base/image.yaml": f"{revoked(bad)}{PUBLISHED}"})


SCENARIOS = {
    "published": (_publish, 13),
    "moved": (_move, 42),
    "renamed": (_rename, 18),
    "taken back": (_take_back, 20),
}
DEATHS = [(name, number) for name, (_, effects) in SCENARIOS.items() for number in range(effects)]


@pytest.mark.thorough
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_matrix_is_whole(pair: World, name: str) -> None:
    arrange, number = SCENARIOS[name]
    arrange(pair)
    effects = Effects()
    assert surround(pair.controller(), effects.around).reconcile().exit_code == 0
    assert len(effects.done) == number, effects.done


@pytest.mark.long
@pytest.mark.parametrize(("name", "number"), DEATHS)
def test_killed_between_any_two_effects_the_next_run_converges(pair: World, name: str, number: int) -> None:
    SCENARIOS[name][0](pair)
    head = pair.head()
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=number, when="after").around).reconcile()
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    stable = pair.lock("base").channels.stable
    name_now = "/golden/stable" if name == "renamed" else STABLE
    assert shown(pair, name_now) == artifacts_of(pair, stable)
    declared = {f"{name_now.removesuffix('stable')}{one}" for one in ("candidate", "stable")} if stable else set()
    assert {one for _, one in pair.publisher.values()} == declared
    assert_settled(pair, since=head)


def test_a_warning_is_no_reason_to_stop(published: World) -> None:
    controller: Controller = published.controller()
    controller.reconcile()
    assert controller.told(Warned, "base") == []
