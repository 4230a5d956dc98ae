"""An upstream source that is pinned and not there any more is said by the plan, before anything is built."""

from __future__ import annotations

from tests.integration.loop.world import World, statuses


def withdraw(world: World) -> str:
    """The publisher takes the AMI away that base is pinned to; an older one is still there."""
    older = world.publish_upstream("debian-12-amd64-20261001")
    pinned = next(one for one in world.registry.upstreams if one.name == "debian-12-amd64-20261101")
    world.registry.upstreams[:] = [one for one in world.registry.upstreams if one.id not in (pinned.id, older.id)]
    world.registry.upstreams.append(type(older)(**{**vars(older), "created": "2026-10-01T00:00:00Z"}))
    return pinned.id


def test_what_is_to_be_built_on_it_waits_and_the_plan_says_how_to_go_on(settled: World) -> None:
    pinned = withdraw(settled)
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    controller = settled.controller()
    planned = controller.plan()
    assert (planned["base"].actions, planned["base"].health) == (("none",), "degraded")
    assert planned["base"].waits_for == (
        f"its source debian-12-amd64-20261101 {pinned} is not in us-east-1 any more: "
        "`--refresh` takes what there is now"
    )
    assert [reason.code for reason in planned["base"].reasons] == ["inputs-changed"]
    report = controller.reconcile()
    assert (report.results, report.exit_code, controller.built) == ((), 3, [])


def test_what_is_in_sync_needs_it_no_more(settled: World) -> None:
    withdraw(settled)
    assert settled.controller().reconcile().results == ()


def test_a_refresh_takes_what_there_is_and_says_that_it_is_older(settled: World) -> None:
    withdraw(settled)
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    controller = settled.controller()
    reasons = {reason.code: reason for reason in controller.plan("base", refresh=True)["base"].reasons}
    assert (reasons["source-changed"].now or "").endswith(" (older)")
    assert statuses(controller.reconcile("base", refresh=True)) == {"base": "built"}


def test_a_refresh_to_a_newer_source_says_nothing_of_age(settled: World) -> None:
    settled.publish_upstream("debian-12-amd64-20261115")
    (reason,) = settled.controller().plan("base", refresh=True)["base"].reasons
    assert "older" not in (reason.now or "")


def test_what_was_built_on_it_already_is_adopted_all_the_same(settled: World) -> None:
    """A revert asks for nothing that is not there."""
    settled.commit({"desired/base/setup.sh": "echo more\n"})
    settled.controller().reconcile("base")
    withdraw(settled)
    settled.commit({"desired/base/setup.sh": "true\n"})
    assert statuses(settled.controller().reconcile("base")) == {"base": "adopted"}
