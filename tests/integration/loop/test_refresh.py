"""A lockfile is a lock until a refresh, and a person may ask, or ask to be left alone."""

from __future__ import annotations

import pytest

from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, ON_TOOLBOX, World, statuses


def test_a_newer_upstream_is_taken_by_a_refresh_and_by_nothing_else(settled: World) -> None:
    settled.publish_upstream("debian-12-amd64-20261115")
    head = settled.commit({"desired/web/setup.sh": "echo more\n"})
    assert statuses(settled.controller().reconcile()) == {"web": "built"}
    refreshed = settled.controller()
    reasons = {name: [reason.code for reason in image.reasons] for name, image in refreshed.plan(refresh=True).items()}
    assert reasons == {"base": ["source-changed"], "web": ["parent-rebuilt"], "api": ["parent-rebuilt"], "tools": []}
    assert statuses(refreshed.reconcile(refresh=True)) == dict.fromkeys(("base", "web", "api"), "built")
    assert refreshed.reconcile(refresh=True).results == ()
    assert_settled(settled, since=head)


def test_an_image_that_does_not_follow_its_source_stays_on_it(settled: World) -> None:
    settled.commit({"desired/tools/image.yaml": f"{ON_TOOLBOX}refresh: {{on_source_change: false}}\n"})
    settled.publish_upstream("toolbox-2")
    assert settled.controller().reconcile(refresh=True).results == ()


def test_an_image_past_its_age_is_built_anew_by_a_refresh(settled: World) -> None:
    head = settled.commit({"desired/base/image.yaml": f"{ON_DEBIAN}refresh: {{max_age: 7d}}\n"})
    settled.clock.advance(days=8)
    controller = settled.controller()
    assert controller.reconcile().results == ()
    assert [reason.code for reason in controller.plan(refresh=True)["base"].reasons] == ["expired"]
    assert statuses(controller.reconcile(refresh=True)) == dict.fromkeys(("base", "web", "api"), "built")
    assert controller.reconcile(refresh=True).results == ()
    assert_settled(settled, since=head)


@pytest.mark.thorough
@pytest.mark.parametrize("effect", range(1, 9))
def test_a_refresh_that_died_is_adopted_by_the_next_one(settled: World, effect: int) -> None:
    settled.commit({"desired/tools/image.yaml": f"{ON_TOOLBOX}refresh: {{max_age: 7d}}\n"})
    settled.clock.advance(days=8)
    with pytest.raises(Killed):
        surround(settled.controller(), Effects(die_at=effect, when="after").around).reconcile("tools", refresh=True)
    after = settled.controller()
    report = after.reconcile("tools", refresh=True)
    assert report.exit_code == 0
    assert after.built == []
    assert_settled(settled, since=settled.head())


def test_a_person_may_force_a_build_of_one_image(settled: World) -> None:
    head = settled.head()
    controller = settled.controller()
    assert statuses(controller.reconcile("web", force=("web",))) == {"web": "built"}
    assert settled.lock("web").builds[0].reasons[0].code == "forced"
    assert_settled(settled, since=head)


def test_a_forced_parent_takes_its_children_along(settled: World) -> None:
    head = settled.head()
    controller = settled.controller()
    assert statuses(controller.reconcile(force=("base",))) == dict.fromkeys(("base", "web", "api"), "built")
    assert_settled(settled, since=head)


def test_a_suspended_image_is_left_alone_until_its_day(settled: World) -> None:
    suspended = f"{ON_BASE}suspend: {{reason: frozen for the sale, until: 2026-12-01}}\n"
    settled.commit({"desired/web/image.yaml": suspended, "desired/web/setup.sh": "echo more\n"})
    controller = settled.controller()
    assert controller.reconcile().results == ()
    planned = controller.plan()["web"]
    assert (planned.sync, planned.health) == ("drifted", "suspended")
    assert planned.waits_for == "suspended until 2026-12-01: frozen for the sale"
    settled.clock.advance(days=9)
    assert statuses(controller.reconcile()) == {"web": "built"}


def test_two_images_that_one_commit_changed_are_both_built(settled: World) -> None:
    head = settled.commit({"desired/web/setup.sh": "echo more\n", "desired/tools/setup.sh": "echo more\n"})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"web": "built", "tools": "built"}
    assert len(settled.subjects(head)) == 2
    assert_settled(settled, since=head)


def test_a_source_that_is_reworded_costs_no_build(settled: World) -> None:
    head = settled.commit({"desired/tools/image.yaml": ON_TOOLBOX.replace("toolbox-*", "toolbox-?")})
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"tools": "changed"}
    assert controller.built == []
    assert_settled(settled, since=head)
