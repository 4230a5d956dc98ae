"""What is lost in a registry comes back at the least cost: a tag, a copy, and a build only when nothing is left."""

from __future__ import annotations

import pytest

from reconciler.model.errors import Transient, UserError
from reconciler.model.plan import PlannedImage
from tests.integration.loop.effects import failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import AP, EU, ON_BASE, SETTINGS, US, World, statuses


def codes(image: PlannedImage) -> list[str]:
    return [reason.code for reason in image.reasons]


def test_an_artifact_lost_in_one_region_is_copied_there_without_packer(settled: World) -> None:
    head = settled.head()
    settled.lose("web", EU)
    controller = settled.controller()
    planned = controller.plan()["web"]
    assert (codes(planned), planned.actions) == (["region-missing"], ("copy",))
    assert statuses(controller.reconcile()) == {"web": "changed"}
    assert controller.built == []
    assert set(settled.complete("web")) == {US, EU}
    assert_settled(settled, since=head)


def test_a_copy_that_was_recorded_a_moment_ago_and_is_not_listed_yet_is_not_made_again(settled: World) -> None:
    settled.lose("web", EU)
    settled.controller().reconcile()
    copy = settled.lock("web").builds[0].artifact_in(EU)
    assert copy is not None
    settled.lose("web", EU)
    planned = settled.controller().plan()["web"]
    assert (planned.sync, planned.actions) == ("unknown", ("none",))
    assert planned.unknown[0].startswith(f"{EU}: {copy.id} is not listed (new, or deleted): counts as missing in ")
    settled.clock.advance(minutes=2)
    assert settled.controller().plan()["web"].actions == ("copy",)


def test_the_build_region_is_copied_back_from_another(settled: World) -> None:
    head = settled.head()
    settled.lose("base", US)
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"base": "changed"}
    assert controller.built == []
    assert_settled(settled, since=head)


def test_a_region_that_is_lost_twice_is_copied_twice(settled: World) -> None:
    head = settled.head()
    for _ in range(2):
        settled.lose("web", EU)
        assert settled.controller().reconcile().exit_code == 0
        settled.clock.advance(hours=1)
    assert_settled(settled, since=head)


def test_an_image_lost_everywhere_is_built_again(settled: World) -> None:
    head, before = settled.head(), settled.lock("tools").builds[0]
    settled.lose("tools", US, EU)
    controller = settled.controller()
    assert codes(controller.plan()["tools"]) == ["artifact-missing"]
    assert statuses(controller.reconcile()) == {"tools": "built"}
    after = settled.lock("tools").builds[0]
    assert (after.key, after.id != before.id) == (before.key, True)
    assert_settled(settled, since=head)


def test_what_is_lost_of_several_images_at_once_is_another_place_until_a_person_says_so(settled: World) -> None:
    head = settled.head()
    for image in ("base", "web", "api", "tools"):
        settled.lose(image, US, EU)
    controller = settled.controller()

    planned = controller.plan()
    report = controller.reconcile()

    assert {(one.sync, one.actions) for one in planned.values()} == {("unknown", ("none",))}
    said = f"{US}: nothing is there of all that is recorded of 4 images in {US}: api, base, tools and 1 more"
    assert planned["base"].unknown[0].splitlines()[0] == said
    assert f"`--lost {US}`" in planned["base"].unknown[0]
    assert (report.exit_code, report.results, controller.built) == (3, (), [])
    assert settled.head() == head

    with pytest.raises(UserError, match="nothing of this fleet is kept in us-east-11") as refused:
        controller.reconcile(lost=("us-east-11",))
    assert refused.value.hint == (f'did you mean "{US}"?',)
    assert statuses(controller.reconcile(lost=(US, EU))) == dict.fromkeys(("base", "web", "api", "tools"), "built")
    settled.clock.advance(hours=1)
    assert_settled(settled, since=head)


def test_a_parent_that_was_lost_and_built_again_needs_no_new_children(settled: World) -> None:
    head = settled.head()
    settled.lose("base", US, EU)
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"base": "built"}
    assert_settled(settled, since=head)


def test_what_was_built_a_moment_ago_and_is_not_listed_yet_is_left_alone(world: World) -> None:
    world.controller().reconcile()
    world.lose("web", EU)
    controller = world.controller()
    report = controller.reconcile()
    assert (report.exit_code, report.results) == (3, ())
    world.clock.advance(minutes=10)
    assert statuses(controller.reconcile()) == {"web": "changed"}


def test_tags_removed_by_hand_are_written_again_and_nothing_is_built(settled: World) -> None:
    head = settled.head()
    settled.strip_tags("web", EU)
    controller = settled.controller()
    planned = controller.plan()["web"]
    assert (codes(planned), planned.actions) == (["tags-changed"], ("retag",))
    assert statuses(controller.reconcile()) == {"web": "changed"}
    assert controller.built == []
    assert_settled(settled, since=head)


def test_a_region_that_is_added_costs_one_copy(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"})
    settled.registry.calls.clear()
    controller = settled.controller()
    assert statuses(controller.reconcile()) == {"web": "changed"}
    assert (controller.built, settled.registry.calls["copy"]) == ([], 1)
    assert set(settled.complete("web")) == {US, EU, AP}
    assert_settled(settled, since=head)


def test_a_region_that_is_taken_out_is_reported_and_retired_only_when_asked(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}]\n"})
    controller = settled.controller()
    planned = controller.plan()["web"]
    assert (codes(planned), planned.actions, planned.waits_for) == (
        ["region-extra"],
        ("none",),
        "kept; `--prune` deletes 1 artifact in 1 location",
    )
    assert controller.reconcile().results == ()
    assert set(settled.complete("web")) == {US, EU}
    assert statuses(controller.reconcile(prune=True)) == {"web": "changed"}
    assert set(settled.complete("web")) == {US}
    assert_settled(settled, since=head)


def test_a_copy_that_fails_leaves_the_others_and_the_next_run_makes_only_that_one(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}, eu-north-1]\n"})
    broken = surround(settled.controller(), failing(f"wait {AP}", Transient("AP is slow today")))
    report = broken.reconcile()
    assert (report.exit_code, statuses(report)) == (3, {"web": "failed"})
    assert "AP is slow today" in report.results[0].why
    assert {one.location for one in settled.lock("web").builds[0].artifacts} == {US, EU, "eu-north-1"}
    before = len(settled.registry.artifacts)
    assert statuses(settled.controller().reconcile()) == {"web": "changed"}
    assert len(settled.registry.artifacts) == before, "the copy that was begun is finished, and not made twice"
    assert_settled(settled, since=head)


def test_a_failed_copy_of_a_new_build_is_recorded_for_the_regions_that_have_it(world: World) -> None:
    broken = surround(world.controller(), failing(f"copy {EU}", Transient("no capacity")))
    report = broken.reconcile()
    assert report.exit_code == 3
    assert statuses(report) == {"base": "failed", "tools": "failed", "web": "skipped", "api": "skipped"}
    head = world.head()
    world.clock.advance(hours=1)
    after = world.controller()
    assert statuses(after.reconcile()) == {"base": "changed", "tools": "changed", "web": "built", "api": "built"}
    assert_settled(world, since=head)


def test_a_copy_that_ends_as_failed_is_taken_away_and_made_anew(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}, {EU}, {AP}]\n"})
    settled.registry.copies_become = "failed"
    assert settled.controller().reconcile().exit_code == 3
    settled.registry.copies_become = "available"
    assert statuses(settled.controller().reconcile()) == {"web": "changed"}
    assert {one.state for one in settled.artifacts("web")} == {"available"}
    assert_settled(settled, since=head)


def test_a_region_is_not_retired_while_it_is_all_that_is_left(settled: World) -> None:
    head = settled.commit({"desired/web/image.yaml": f"{ON_BASE}regions: [{US}]\n"})
    settled.lose("web", US)
    broken = surround(settled.controller(), failing(f"copy {US}", Transient("no capacity")))
    assert broken.reconcile(prune=True).exit_code == 3
    assert {one.location for one in settled.artifacts("web")} == {EU}
    after = settled.controller()
    assert statuses(after.reconcile(prune=True)) == {"web": "changed"}
    assert after.built == []
    assert {one.location for one in settled.artifacts("web")} == {US}
    assert_settled(settled, since=head)


def test_artifacts_that_carry_another_fleets_name_are_left_alone_until_somebody_says_whose_they_are(
    settled: World,
) -> None:
    undeclared = SETTINGS.partition("\n")[2]
    settled.commit({"desired/reconciler.yaml": undeclared, "desired/web/setup.sh": "changed\n"})
    for one in settled.registry.artifacts:
        settled.registry.tag(one, {"reconciler:fleet": "newcorp/images"})
    head, before = settled.head(), settled.registry.artifacts
    controller = settled.controller()

    report = controller.reconcile()

    assert (report.results, report.exit_code, controller.built) == ((), 3, [])
    assert (settled.head(), settled.registry.artifacts) == (head, before)
    assert "`fleet: newcorp/images`" in controller.plan()["tools"].unknown[0]

    settled.commit({"desired/reconciler.yaml": f"fleet: newcorp/images\n{undeclared}"})
    settled.registry.fleet = "newcorp/images"
    assert statuses(settled.controller().reconcile()) == {"web": "built"}
