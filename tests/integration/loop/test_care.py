"""Sharing, deprecation, protection and disabling: declared, recorded, healed, and undone by taking the line away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.care import NOBODY, Care, Grants
from reconciler.model.errors import Terminal
from reconciler.model.events import Failed
from reconciler.model.lockfile import Lockfile
from reconciler.model.observation import Seen
from reconciler.model.values import parse_instant
from tests.integration.loop.effects import Effects, Killed, failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_forged_proposals import PROPOSING
from tests.integration.loop.test_rulings import as_it_was, held, revoked
from tests.integration.loop.world import EU, ON_DEBIAN, ON_TOOLBOX, US, World, git, statuses

ONE, TWO, STRANGER = "111111111111", "222222222222", "999999999999"
BOTH = Grants.of([ONE, TWO])
SHARED = f"{ON_DEBIAN}share_with: {{accounts: ['{ONE}', '{TWO}']}}\n"
ALL = f"{SHARED}deprecate_after: 30d\nprotect: true\n"
BASE = "desired/base/image.yaml"


def declares(world: World, declaration: str) -> str:
    """A person declares it, and a run carries it out. Returns the commit."""
    head = world.commit({BASE: declaration})
    assert world.controller().reconcile().exit_code == 0
    return head


def of(world: World, build_id: str | None, location: str) -> Seen:
    """A build's artifact in a location."""
    (found,) = [one for one in world.artifacts("base") if (one.own("build"), one.location) == (build_id, location)]
    return found


def users(world: World, build_id: str | None, location: str) -> Grants:
    """Who may use it."""
    return world.registry.traits[of(world, build_id, location).place].launched_by


def by_hand(world: World, seen: Seen, *, launched_by: Grants | None = None, **what: Any) -> None:
    """Somebody changes an artifact."""
    world.registry._artifacts[seen.place] = replace(world.registry._artifacts[seen.place], **what)
    if launched_by is not None:
        traits = world.registry.traits[seen.place]
        world.registry.traits[seen.place] = replace(traits, launched_by=launched_by)


def care(world: World, build_id: str) -> dict[str, Care | None]:
    """What is recorded, by location."""
    recorded = world.lock("base").build(build_id)
    assert recorded is not None
    return {one.location: one.care for one in recorded.artifacts}


class TestSharing:
    @pytest.mark.thorough
    def test_it_is_recorded_before_it_is_given_and_taken_back_with_the_line(self, settled: World) -> None:
        (stable,) = standing(settled)
        head = settled.commit({BASE: SHARED})
        planned = settled.controller().plan("base")["base"]
        assert planned.actions == ("share",)
        assert settled.registry.calls["share"] == 0
        controller = settled.controller()
        (result,) = controller.reconcile().results
        assert (result.status, [one.verb for one in result.did]) == ("changed", ["shared"])
        assert [users(settled, stable, place) for place in (US, EU)] == [BOTH, BOTH]
        assert care(settled, stable) == {US: Care(shared=BOTH), EU: Care(shared=BOTH)}
        assert settled.subjects(head) == ["base: share (sharing-changed)"]
        assert_settled(settled, since=head)

        by_hand(settled, of(settled, stable, US), launched_by=BOTH | Grants.of([STRANGER]))
        settled.commit({BASE: ON_DEBIAN})
        settled.controller().reconcile()
        assert [users(settled, stable, place) for place in (US, EU)] == [Grants.of([STRANGER]), NOBODY]
        assert care(settled, stable) == {US: None, EU: None}
        assert_settled(settled, since=head)

    def test_a_new_build_is_shared_by_the_run_that_makes_it_and_the_old_one_stays_so(self, settled: World) -> None:
        (old,) = standing(settled)
        declares(settled, SHARED)
        new = build(settled, "echo more")
        assert [users(settled, one, EU) for one in (old, new)] == [BOTH, BOTH]
        assert care(settled, new) == {US: Care(shared=BOTH), EU: Care(shared=BOTH)}
        settled.controller().reconcile()
        assert settled.controller().reconcile().results == ()

    @pytest.mark.thorough
    def test_a_region_that_comes_later_is_shared_and_taken_back_like_the_others(self, settled: World) -> None:
        (stable,) = standing(settled)
        declares(settled, f"{SHARED}regions: [{US}]\n")
        settled.controller().reconcile(prune=True)
        declares(settled, SHARED)
        assert users(settled, stable, EU) == BOTH
        declares(settled, ON_DEBIAN)
        assert users(settled, stable, EU) == NOBODY

    def test_each_look_is_counted_and_a_fleet_that_shares_nothing_takes_none(self, settled: World) -> None:
        settled.controller().reconcile()
        assert settled.registry.calls["grants"] == 0
        declares(settled, SHARED)
        settled.registry.calls.clear()
        settled.controller().reconcile()
        assert (settled.registry.calls["grants"], settled.registry.calls["obstacles"]) == (2, 0)

    def test_what_others_can_not_use_is_a_finding_and_nothing_is_done_half_way(self, settled: World) -> None:
        (stable,) = standing(settled)
        settled.registry.unshareable[of(settled, stable, EU).id] = "its key is AWS's"
        settled.commit({BASE: SHARED})
        planned = settled.controller().plan("base")["base"]
        assert planned.health == "degraded"
        assert (
            f"{of(settled, stable, EU).id} in {EU} can't be shared with {ONE}, {TWO}: its key is AWS's" in planned.notes
        )
        settled.controller().reconcile()
        assert [users(settled, stable, place) for place in (US, EU)] == [BOTH, NOBODY]
        again = settled.controller().reconcile("base")
        assert again.exit_code == 3, "it does not stand as declared"
        assert settled.registry.calls["share"] == 1

    def test_what_is_refused_fails_the_image_and_leaves_no_other_undone(self, settled: World) -> None:
        (stable,) = standing(settled)
        settled.commit({BASE: SHARED})
        controller = surround(settled.controller(), failing(f"share {EU}", Terminal("not allowed")))
        report = controller.reconcile()
        assert (statuses(report), report.exit_code) == ({"base": "failed"}, 3)
        assert [event.what for event in controller.told(Failed, "base") if isinstance(event, Failed)] == ["not allowed"]
        assert [users(settled, stable, place) for place in (US, EU)] == [BOTH, NOBODY]
        assert settled.controller().reconcile().exit_code == 0
        assert users(settled, stable, EU) == BOTH

    def test_where_it_can_not_be_read_it_is_left_alone(self, settled: World) -> None:
        (stable,) = standing(settled)
        settled.commit({BASE: SHARED})
        settled.registry.unreadable[EU] = "throttled"
        settled.controller().reconcile("base")
        del settled.registry.unreadable[EU]
        assert [users(settled, stable, place) for place in (US, EU)] == [BOTH, NOBODY]
        assert care(settled, stable) == {US: Care(shared=BOTH), EU: None}

    def test_a_preview_shows_it_and_does_nothing(self, settled: World) -> None:
        settled.controller("pull-request")
        person = settled.root / "pull-request"
        git(person, "switch", "--quiet", "--create", "topic")
        settled.commit({BASE: ALL}, push=False, where="pull-request")
        git(person, "push", "--quiet", "origin", "topic")
        report = settled.controller("pull-request").preview("topic")
        (base,) = [one for one in report.plan.images if one.image == "base"]
        assert {"share", "protect"} <= set(base.actions)
        assert (report.results, settled.registry.calls["share"], settled.registry.calls["protect"]) == ((), 0, 0)

    def test_what_is_only_proposed_is_not_given_before_it_is_merged(self, settled: World) -> None:
        (stable,) = standing(settled)
        settled.commit({"desired/reconciler.yaml": PROPOSING, BASE: SHARED})
        for _ in range(2):
            settled.controller().reconcile()
            assert users(settled, stable, US) == NOBODY
        person = settled.root / "person"
        git(person, "fetch", "--quiet", "origin")
        git(person, "merge", "--quiet", "--ff-only", "origin/reconciler/state")
        git(person, "push", "--quiet", "origin", "HEAD:main")
        settled.controller().reconcile()
        assert [users(settled, stable, place) for place in (US, EU)] == [BOTH, BOTH]


class TestDeprecationAndProtection:
    def test_the_run_that_supersedes_a_build_deprecates_it_and_protects_the_new_one(self, settled: World) -> None:
        (old,) = standing(settled)
        declares(settled, ALL)
        assert (of(settled, old, EU).protected, of(settled, old, EU).deprecated) == (True, None)
        new = build(settled, "echo more")
        assert [of(settled, one, EU).protected for one in (old, new)] == [True, True], "it is retained"
        at = parse_instant(of(settled, old, US).deprecated or "")
        recorded = settled.lock("base").builds[0].recorded or ""
        assert timedelta(0) <= at - parse_instant(recorded) - timedelta(days=30) < timedelta(minutes=1)
        assert of(settled, new, US).deprecated is None
        head = settled.head()
        settled.controller().reconcile()
        for days in (1, 28, 2, 40):
            settled.pass_days(days)
            assert settled.controller().reconcile("base").results == ()
        assert head != settled.head()

    def test_what_was_due_before_its_proposal_was_merged_is_deprecated_all_the_same(self, pair: World) -> None:
        (old,) = standing(pair)
        build(pair, "echo more")
        pair.clock.advance(hours=9)
        pair.commit({"desired/reconciler.yaml": PROPOSING, BASE: f"{ON_DEBIAN}deprecate_after: 1h\n"})
        dates = []
        for _ in range(3):
            pair.controller().reconcile("base")
            dates.append([of(pair, old, place).deprecated for place in (US, EU)])
            git(pair.origin, "update-ref", "refs/heads/main", "refs/heads/reconciler/state")
            pair.clock.advance(hours=5)

        assert dates[0] == [None, None]
        assert None not in dates[1]
        assert dates[2] == dates[1]
        recorded = pair.lock("base").build(old)
        assert recorded is not None
        assert {(one.location, one.cared_for.deprecated) for one in recorded.artifacts} == {
            (place, of(pair, old, place).deprecated) for place in (US, EU)
        }  # fmt: skip

    @pytest.mark.long
    def test_a_rollback_takes_it_back_and_a_release_brings_it_again(self, settled: World) -> None:
        (old,) = standing(settled)
        declares(settled, ALL)
        build(settled, "echo more")
        new = build(settled, "echo still more")
        assert of(settled, old, EU).deprecated is not None
        declares(settled, held(old, declaration=ALL))
        assert (of(settled, old, EU).deprecated, of(settled, old, EU).protected) == (None, True)
        assert of(settled, new, EU).protected, "it is the candidate"
        declares(settled, ALL)
        assert of(settled, old, EU).deprecated is not None
        assert of(settled, old, EU).protected, "it is retained"

    def test_what_we_protected_can_be_retired_and_what_a_person_did_is_told(self, settled: World) -> None:
        (stable,) = standing(settled)
        declares(settled, ALL)
        declares(settled, f"{ALL}regions: [{US}]\n")
        eu = of(settled, stable, EU)
        settled.controller().reconcile(prune=True)
        assert eu.place not in {one.place for one in settled.artifacts("base")}
        tools = next(one for one in settled.artifacts("tools") if one.location == EU)
        by_hand(settled, tools, protection="enabled-with-cooldown")
        settled.commit({"desired/tools/image.yaml": f"{ON_TOOLBOX}regions: [{US}]\n"})
        planned = settled.controller().plan("tools", prune=True)["tools"]
        assert (
            f"{tools.id} in {EU} can't be removed: its registry says of its protection: enabled-with-cooldown"
            in planned.notes
        )


class TestRevocation:
    @pytest.mark.long
    def test_it_is_disabled_in_the_same_run_and_back_with_all_permissions(self, settled: World) -> None:
        (good,) = standing(settled)
        declares(settled, SHARED)
        bad = build(settled, "echo bad")
        by_hand(settled, of(settled, good, EU), launched_by=BOTH)
        settled.controller().reconcile()
        before = settled.lock("base")
        allowed = {one.place: settled.registry.traits[one.place].launched_by for one in settled.artifacts("base")}
        settled.commit({BASE: revoked(bad, declaration=SHARED)})

        planned = settled.controller().plan("base")["base"]
        assert "disable" in planned.actions
        assert [one.now for one in planned.reasons if one.code == "availability-changed"] == [
            f"disabled: {bad} is revoked", f"disabled: {bad} is revoked",
        ]  # fmt: skip
        head = settled.head()
        assert settled.controller().reconcile().exit_code == 0
        assert [of(settled, bad, place).state for place in (US, EU)] == ["disabled", "disabled"]
        assert care(settled, bad)[US] == Care(shared=BOTH, withheld=BOTH)
        assert users(settled, bad, US) == NOBODY
        assert of(settled, bad, US).own("phase") == "revoked"
        assert settled.controller().reconcile().results == ()

        declares(settled, SHARED)
        assert as_it_was(settled.lock("base")) == as_it_was(before)
        now = {one.place: settled.registry.traits[one.place].launched_by for one in settled.artifacts("base")}
        assert now == allowed
        assert of(settled, bad, US).state == "available"
        assert_settled(settled, since=head)

    @pytest.mark.thorough
    def test_what_somebody_enables_again_is_disabled_again_and_its_record_stays(self, settled: World) -> None:
        (good,) = standing(settled)
        declares(settled, SHARED)
        build(settled, "echo more")
        declares(settled, revoked(good, declaration=SHARED))
        by_hand(settled, of(settled, good, US), state="available", launched_by=Grants.of([STRANGER]))
        settled.controller().reconcile()
        assert of(settled, good, US).state == "disabled"
        assert care(settled, good)[US] == Care(shared=BOTH, withheld=BOTH)

    def test_it_waits_for_no_other_location(self, settled: World) -> None:
        (bad,) = standing(settled)
        build(settled, "echo good")
        settled.commit({BASE: revoked(bad)})
        settled.registry.unreadable[US] = "throttled"
        settled.controller().reconcile("base")
        del settled.registry.unreadable[US]
        assert [of(settled, bad, place).state for place in (US, EU)] == ["available", "disabled"]
        settled.controller().reconcile("base")
        assert of(settled, bad, US).state == "disabled"

    @pytest.mark.thorough
    def test_a_hold_to_what_was_revoked_until_now_brings_it_back_whole(self, settled: World) -> None:
        (old,) = standing(settled)
        build(settled, "echo more")
        declares(settled, revoked(old, declaration=SHARED))
        declares(settled, held(old, declaration=SHARED))
        assert settled.lock("base").channels.stable == old
        assert (of(settled, old, EU).state, users(settled, old, EU)) == ("available", BOTH)


# Killed between any two effects.


@dataclass(frozen=True)
class Scenario:
    """A declaration that is carried out, and the one that comes after it."""

    name: str
    first: Callable[[str], str]
    then: Callable[[str], str]


def timeless(lock: Lockfile) -> list[dict[str, Any]]:
    """What is recorded of the builds, but for when what is declared of them was carried out."""
    turns: Any = {"returned": True, "recalled": True, "unrevoked": True, "revoked": {"at"}}
    builds = [build.model_dump(mode="json", exclude=turns) for build in lock.builds]
    return [{"channels": lock.channels.model_dump()}, *builds]


SCENARIOS = [
    Scenario("shared", lambda _: ON_DEBIAN, lambda _: ALL),
    Scenario("shared no more", lambda _: ALL, lambda _: ON_DEBIAN),
    Scenario("revoked", lambda _: ALL, lambda bad: revoked(bad, declaration=ALL)),
    Scenario("revoked no more", lambda bad: revoked(bad, declaration=ALL), lambda _: ALL),
]


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_killed_between_any_two_calls_the_next_run_comes_to_the_same(
    settled: World, scenario: Scenario, when: Any, tmp_path: Any
) -> None:
    settled.commit({BASE: ALL})
    bad = build(settled, "echo bad")
    settled.commit({BASE: f"# At first\n{scenario.first(bad)}"})
    settled.controller().reconcile("base")
    settled.commit({BASE: scenario.then(bad)})
    whole = settled.copy_to(tmp_path / "whole")
    counted = Effects()
    surround(whole.controller(), counted.around).reconcile("base")
    assert len(counted.done) >= 3
    for number in range(len(counted.done)):
        dying = settled.copy_to(tmp_path / f"dies-{number}")
        with pytest.raises(Killed):
            surround(dying.controller(), Effects(die_at=number, when=when).around).reconcile("base")
        dying.controller().reconcile("base")
        assert dying.controller().reconcile("base").results == ()
        assert timeless(dying.lock("base")) == timeless(whole.lock("base")), counted.done[number]
        assert dying.registry.artifacts == whole.registry.artifacts
        assert dict(dying.registry.traits) == dict(whole.registry.traits)
