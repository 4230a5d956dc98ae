"""A refresh that brought nothing new leaves everything where it is, and says once that it was verified current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from reconciler.model.events import Skipped, Unchanged
from reconciler.plan.key import short
from reconciler.plan.tags import own
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.effects import Effects, Killed, in_the_middle, meanwhile, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import (
    EU,
    FLEET,
    ON_BASE,
    ON_DEBIAN,
    US,
    Controller,
    World,
    image_files,
    no_image_files,
    results,
    statuses,
)

pytestmark = pytest.mark.long

AGED = f"{ON_DEBIAN}refresh: {{max_age: 7d}}\n"
CHILD_AGED = f"{ON_BASE}refresh: {{max_age: 7d}}\n"


def aged(world: World, files: Mapping[str, str] | None = None) -> str:
    """Base is to be refreshed each week, and is eight days old; nothing changes inside any more. Returns the head."""
    world.settle_inside("base", "web")
    head = world.commit({"desired/base/image.yaml": AGED, **(files or {})})
    world.pass_days(8)
    return head


def ids(world: World, image: str) -> list[str]:
    return [one.id for one in world.artifacts(image)]


def test_an_expired_image_that_comes_out_the_same_stays_and_is_verified(pair: World) -> None:
    head = aged(pair)
    before, there = pair.lock("base"), ids(pair, "base")
    controller = pair.controller()
    report = controller.reconcile(refresh=True)
    assert (report.exit_code, statuses(report)) == (0, {"base": "unchanged", "web": "unchanged"})
    assert controller.built == ["base"]
    lock = pair.lock("base")
    assert (lock.channels, [one.id for one in lock.builds]) == (before.channels, [one.id for one in before.builds])
    assert (lock.builds[0].artifacts, ids(pair, "base")) == (before.builds[0].artifacts, there)
    verified = lock.builds[0].verified
    assert verified is not None
    assert verified.build == controller.builder.requests[0].build_id
    assert pair.subjects(head) == [f"base: {lock.builds[0].id} verified current (expired)"]
    assert controller.told(Unchanged, "base") == [Unchanged("base", verified.build, lock.builds[0].id)]
    assert controller.told(Skipped, "web") == [Skipped("web", "its parent base came out as it was")]
    assert_settled(pair, since=head)


def test_what_somebody_marked_as_the_refresh_is_not_retired_because_it_brought_nothing(pair: World) -> None:
    # Given another team's artifact, the same inside as ours, which somebody gives the marks of the refresh that is due
    aged(pair)
    main = pair.controller()
    key = main.plan(refresh=True)["base"].key or ""
    build = f"{pair.clock():%Y%m%dT%H%M%SZ}-{short(key)}"
    marks = own(fleet=FLEET, image="base", build=build, key=key, commit=pair.head(), phase="preliminary")
    theirs = pair.registry.seed(US, "payroll", tags=marks)

    # When the refresh finds it, and that it brings nothing
    assert statuses(main.reconcile(refresh=True))["base"] == "unchanged"

    # Then it stays
    assert pair.registry.find(US, theirs.id) is not None


def test_it_is_verified_once_for_each_max_age(pair: World) -> None:
    aged(pair)
    pair.controller().reconcile(refresh=True)
    head = pair.head()
    for _ in range(2):
        pair.pass_days(3)
        again = pair.controller()
        assert (again.reconcile(refresh=True).results, again.built, pair.head()) == ((), [], head)
    pair.pass_days(2)
    assert statuses(pair.controller().reconcile(refresh=True)) == {"base": "unchanged", "web": "unchanged"}
    assert len(pair.subjects(head)) == 1
    assert_settled(pair, since=head)


def test_the_plan_tells_when_a_verified_image_is_due_next(pair: World) -> None:
    aged(pair)
    pair.controller().reconcile(refresh=True)
    verified = pair.lock("base").builds[0].verified
    assert verified is not None
    due = pair.controller().plan()["base"].due
    assert due is not None
    assert due[:10] == "2026-12-07", "a week after it was verified on the 30th"


def test_a_newer_source_that_changes_nothing_moves_the_pin_and_nothing_else(pair: World) -> None:
    pair.settle_inside("base", "web")
    newer = pair.publish_upstream("debian-12-amd64-20261115")
    head, before = pair.head(), pair.lock("base")
    controller = pair.controller()
    assert statuses(controller.reconcile(refresh=True)) == {"base": "unchanged", "web": "unchanged"}
    assert controller.built == ["base"]
    lock = pair.lock("base")
    assert lock.source is not None
    assert lock.source.pinned.upstream is not None
    assert lock.source.pinned.upstream.id == newer.id
    assert (lock.channels, lock.builds[0].artifacts) == (before.channels, before.builds[0].artifacts)
    again = pair.controller()
    assert (again.reconcile(refresh=True).results, again.built) == ((), [])
    assert_settled(pair, since=head)


def test_what_is_built_after_that_is_built_on_the_newer_source(pair: World) -> None:
    pair.settle_inside("base", "web")
    newer = pair.publish_upstream("debian-12-amd64-20261115")
    pair.controller().reconcile(refresh=True)
    head = pair.commit({"desired/base/setup.sh": "echo more\n"})
    controller = pair.controller()
    assert statuses(controller.reconcile()) == {"base": "built", "web": "built"}
    assert controller.builder.requests[0].source == newer.id
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_another_inventory_moves_the_channels_and_the_children(pair: World) -> None:
    head = aged(pair)
    pair.inside["base"] = replace(NOTHING_INSIDE, kernel="6.1.0-newer")
    controller = pair.controller()
    assert statuses(controller.reconcile(refresh=True)) == {"base": "built", "web": "built"}
    lock = pair.lock("base")
    assert lock.channels.stable == lock.builds[0].id == controller.builder.requests[0].build_id
    assert lock.builds[0].verified is None
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


@pytest.mark.parametrize(
    "files",
    [
        {"desired/base/image.yaml": f"{ON_DEBIAN}refresh: {{max_age: 7d, keep_if_unchanged: false}}\n"},
        {"desired/base/image.yaml": f"{AGED}smoke_test: {{boot: false}}\n"},
    ],
    ids=["keep_if_unchanged is false", "nobody looked inside"],
)
def test_the_channels_move_where_they_are_asked_to_or_nobody_knows(pair: World, files: Mapping[str, str]) -> None:
    aged(pair, files)
    controller = pair.controller()
    assert statuses(controller.reconcile(refresh=True)) == {"base": "built", "web": "built"}
    assert pair.lock("base").channels.stable == controller.builder.requests[0].build_id


def test_what_could_not_be_read_is_not_the_same(pair: World) -> None:
    aged(pair)
    kernel = pair.lock("base").builds[0].id
    pair.inside["base"] = replace(NOTHING_INSIDE, kernel=kernel, packages=None, unread={"packages": "locked"})
    for days in (0, 8):
        pair.pass_days(days)
        assert statuses(pair.controller().reconcile(refresh=True))["base"] == "built"


def test_who_forces_a_build_gets_it(pair: World) -> None:
    pair.settle_inside("base", "web")
    head = pair.head()
    assert statuses(pair.controller().reconcile(force=("base",))) == {"base": "built", "web": "built"}
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_child_that_is_too_old_itself_is_refreshed_in_the_same_run(pair: World) -> None:
    head = aged(pair, {"desired/web/image.yaml": CHILD_AGED})
    controller = pair.controller()
    assert statuses(controller.reconcile(refresh=True)) == {"base": "unchanged", "web": "unchanged"}
    assert controller.built == ["base", "web"]
    assert all(pair.lock(image).builds[0].verified for image in ("base", "web"))
    again = pair.controller()
    assert (again.reconcile(refresh=True).results, again.built) == ((), [])
    assert_settled(pair, since=head)


def test_a_child_that_was_forced_is_built_although_its_parent_was_kept(pair: World) -> None:
    head = aged(pair)
    controller = pair.controller()
    report = controller.reconcile(refresh=True, force=("web",))
    assert statuses(report) == {"base": "unchanged", "web": "built"}
    assert [reason.code for reason in pair.lock("web").builds[0].reasons] == ["forced"]
    assert_settled(pair, since=head)


def test_a_child_that_changed_itself_is_built_on_the_parent_that_was_kept(pair: World) -> None:
    head = aged(pair, {"desired/web/setup.sh": "echo more\n"})
    controller = pair.controller()
    assert statuses(controller.reconcile(refresh=True)) == {"base": "unchanged", "web": "built"}
    newest = pair.lock("web").builds[0]
    assert newest.source == pair.lock("base").builds[0].as_pin("base")
    assert [reason.code for reason in newest.reasons] == ["inputs-changed"], "the parent is none of them any more"
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_a_grandchild_that_changed_is_built_although_nothing_above_it_did(settled: World) -> None:
    settled.commit({"desired/tools/image.yaml": "source: {image: web}\n"})
    settled.controller().reconcile()
    settled.settle_inside("base", "web", "api", "tools")
    settled.commit({"desired/base/image.yaml": AGED})
    settled.pass_days(8)
    head = settled.commit({"desired/tools/setup.sh": "echo more\n"})
    report = settled.controller().reconcile(refresh=True)
    assert statuses(report) == {"base": "unchanged", "web": "unchanged", "api": "unchanged", "tools": "built"}
    settled.clock.advance(hours=1)
    assert_settled(settled, since=head)


@pytest.mark.parametrize("number", range(1, 7))
def test_killed_at_any_point_the_next_refresh_keeps_it(pair: World, number: int) -> None:
    head = aged(pair)
    there = ids(pair, "base")
    with pytest.raises(Killed):
        surround(pair.controller(), Effects(die_at=number, when="after").around).reconcile(refresh=True)
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile().exit_code == 0
    assert pair.controller().reconcile(refresh=True).exit_code == 0
    assert ids(pair, "base") == there
    assert len(pair.subjects(head)) == 1
    assert pair.controller().reconcile(refresh=True).results == ()
    assert_settled(pair, since=head)


def test_the_matrix_above_is_whole(pair: World) -> None:
    aged(pair)
    effects = Effects()
    surround(pair.controller(), effects.around).reconcile(refresh=True)
    assert effects.done == [
        "build base", f"tag {US}", f"boot {US}", "test base", f"terminate {US}", f"retire {US}", "push"
    ]  # fmt: skip


def _lose(world: World) -> None:
    world.lose("base", EU)


def _lose_all(world: World) -> None:
    world.lose("base", US, EU)


def _strip(world: World) -> None:
    world.strip_tags("base", EU)


def _retag(world: World) -> None:
    world.commit({"desired/base/image.yaml": f"{AGED}tags: {{CostCenter: '43'}}\n"})


@pytest.mark.parametrize("amiss", [_lose, _lose_all, _strip, _retag])
def test_what_is_not_all_there_any_more_is_not_kept(pair: World, amiss: Callable[[World], None]) -> None:
    """The new build is whole. To retire it, and fix the old one in another run, would be worse than nothing."""
    head = aged(pair)
    amiss(pair)
    assert statuses(pair.controller().reconcile(refresh=True)) == {"base": "built", "web": "built"}
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile(refresh=True).results == ()
    assert_settled(pair, since=head)


def test_a_recorded_build_that_comes_back_with_its_source_is_not_retired(pair: World) -> None:
    """Somebody withdraws the newer source: the build on the older one is wanted again, and holds the same."""
    first = pair.lock("base").builds[0]
    newer = pair.publish_upstream("debian-12-amd64-20261115")
    pair.inside["base"] = replace(NOTHING_INSIDE, kernel=first.id)
    pair.commit({"desired/base/image.yaml": f"{ON_DEBIAN}refresh: {{keep_if_unchanged: false}}\n"})
    assert statuses(pair.controller().reconcile(refresh=True))["base"] == "built"
    pair.clock.advance(hours=1)
    pair.registry.upstreams.remove(newer)
    pair.commit({"desired/base/image.yaml": ON_DEBIAN})
    assert pair.controller().reconcile(refresh=True).exit_code == 0
    assert set(first.artifacts) <= {one.as_artifact("amazon-ebs.image") for one in pair.artifacts("base")}
    assert pair.lock("base").channels.stable == first.id


def test_two_refreshes_at_once_verify_it_once(pair: World) -> None:
    head = aged(pair)
    slow, fast = pair.controller("slow"), pair.controller("fast")
    report = in_the_middle(slow, "base", lambda: fast.reconcile(refresh=True)).reconcile(refresh=True)
    assert (report.exit_code, statuses(report)) == (0, {"base": "superseded", "web": "superseded"})
    assert len(pair.subjects(head)) == 1
    assert_settled(pair, since=head)


@pytest.mark.parametrize("effect", ["test base", f"retire {US}", "push"])
def test_one_refresh_keeps_while_another_builds(pair: World, effect: str) -> None:
    """They find different things inside, as a repository was updated between the two: the news counts."""
    head = aged(pair)
    slow, fast = pair.controller("slow"), pair.controller("fast")
    fast.tester.inventory = lambda _request: replace(NOTHING_INSIDE, kernel="6.1.0-newer")
    overtaken = surround(slow, meanwhile(effect, lambda: _overtake(fast)))
    assert overtaken.reconcile(refresh=True).exit_code in (0, 3)
    pair.clock.advance(hours=1)
    pair.settle_inside("base", "web")
    pair.controller().reconcile()
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def _overtake(fast: Controller) -> None:
    fast.reconcile(refresh=True, force=("base",))


def test_a_source_that_is_reworded_while_it_is_refreshed_is_not_pinned_to_what_was_resolved_before(pair: World) -> None:
    pair.publish_upstream("debian-12-amd64-20261115")
    pair.settle_inside("base", "web")
    toolbox = ON_DEBIAN.replace("debian-12-*", "toolbox-*")
    slow = in_the_middle(
        pair.controller(), "base", lambda: pair.commit({"desired/base/image.yaml": toolbox})
    )  # fmt: skip
    slow.reconcile(refresh=True)
    pair.clock.advance(hours=1)
    report = pair.controller().reconcile()
    source = results(report)["base"].lock.source
    assert source is not None
    assert source.pinned.upstream is not None
    assert source.pinned.upstream.name == "toolbox-1"


def test_a_source_that_is_reworded_while_it_is_built_is_resolved_by_the_next_run(pair: World) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    toolbox = ON_DEBIAN.replace("debian-12-*", "toolbox-*")
    slow = in_the_middle(
        pair.controller(), "base", lambda: pair.commit({"desired/base/image.yaml": toolbox})
    )  # fmt: skip
    slow.reconcile()
    pair.clock.advance(hours=1)
    pair.controller().reconcile()
    source = pair.lock("base").source
    assert source is not None
    assert source.pinned.upstream is not None
    assert source.pinned.upstream.name == "toolbox-1"


def test_an_image_that_is_renamed_and_refreshed_at_once_is_kept_under_its_new_name(pair: World) -> None:
    pair.settle_inside("web")
    pair.inside["site"] = pair.inside["web"]
    renamed = f"{ON_BASE}moved_from: web\nrefresh: {{max_age: 7d}}\n"
    head = pair.commit({**no_image_files("web"), **image_files("site", renamed)})
    pair.pass_days(8)
    there = ids(pair, "web")
    assert pair.controller().reconcile(refresh=True).exit_code == 0
    assert ids(pair, "site") == there
    assert pair.recorded() == ["base", "site"]
    pair.clock.advance(hours=1)
    assert pair.controller().reconcile(refresh=True).results == ()
    assert_settled(pair, since=head)


def test_a_suspended_image_is_not_refreshed(pair: World) -> None:
    aged(pair, {"desired/base/image.yaml": f"{AGED}suspend: {{reason: frozen for the sale}}\n"})
    controller = pair.controller()
    assert (controller.reconcile(refresh=True).results, controller.built) == ((), [])


def test_a_closed_window_leaves_its_image_alone_and_no_other(settled: World) -> None:
    settled.settle_inside("base", "web", "api", "tools")
    windowed = AGED.replace("max_age: 7d", 'max_age: 7d, window: "tue 02:00-05:00 UTC"')
    tools = ON_DEBIAN.replace("debian-12-*", "toolbox-*") + "refresh: {max_age: 7d}\n"
    settled.commit({"desired/base/image.yaml": windowed, "desired/tools/image.yaml": tools})
    settled.publish_upstream("debian-12-amd64-20261115")
    settled.pass_days(8)  # a Monday
    assert statuses(settled.controller().reconcile(refresh=True)) == {"tools": "unchanged"}
    settled.clock.advance(hours=17)  # Tuesday, past four in the morning
    assert statuses(settled.controller().reconcile(refresh=True))["base"] == "unchanged"
    assert settled.controller().reconcile(refresh=True).results == ()
