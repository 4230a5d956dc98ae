"""Who goes by the tags gets what the channel points to: one artifact in each location says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.model.errors import Transient
from reconciler.model.events import Copied, Warned
from reconciler.model.observation import Seen
from tests.integration.loop.effects import failing, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import EU, ON_BASE, ON_DEBIAN, TEMPLATE, US, World, statuses

VALIDATED = f"{ON_DEBIAN}validation: {{required: true}}\n"


def newest_that_says(world: World, tag: str, value: str, image: str = "base") -> str | None:
    """What a consumer finds who takes the newest AMI of a filter: the build that it is of."""
    found = [one for one in world.artifacts(image) if one.location == US and one.own(tag) == value]
    return max(found, key=lambda one: (one.created, one.id)).own("build") if found else None


def standing(world: World, image: str = "base") -> Mapping[str, set[tuple[str | None, str | None]]]:
    """Phase and channel that the artifacts of each build say, by build."""
    found: dict[str, set[tuple[str | None, str | None]]] = {}
    for one in world.artifacts(image):
        found.setdefault(one.own("build") or "", set()).add((one.own("phase"), one.own("channel")))
    return found


def retag(world: World, seen: Seen, **own: str | None) -> None:
    tags = {**seen.tags, **{f"reconciler:{name}": value for name, value in own.items()}}
    kept = {name: value for name, value in tags.items() if value is not None}
    world.registry._artifacts[seen.location, seen.id] = replace(seen, tags=kept)


def build(world: World, setup: str, *, image: str = "base") -> str:
    """Build another one of an image alone, and return its id."""
    world.commit({f"desired/{image}/setup.sh": f"{setup}\n"})
    assert world.controller().reconcile(image).exit_code == 0
    world.clock.advance(hours=1)
    return world.lock(image).builds[0].id


def test_a_new_build_takes_the_channel_and_the_old_one_says_that_it_is_superseded(settled: World) -> None:
    (old,) = standing(settled)
    new = build(settled, "echo more")
    assert standing(settled) == {old: {("superseded", "none")}, new: {("stable", "stable")}}
    recorded = settled.lock("base").build(old)
    assert recorded is not None
    assert (recorded.phase, recorded.was_stable) == ("superseded", True)


def test_what_was_taken_back_is_not_what_a_consumer_finds(settled: World) -> None:
    (good,) = standing(settled)
    bad = build(settled, "echo broken")
    assert newest_that_says(settled, "phase", "stable") == bad
    head = settled.commit({"desired/base/setup.sh": "true\n"})
    assert statuses(settled.controller().reconcile("base")) == {"base": "adopted"}
    assert newest_that_says(settled, "phase", "stable") == good
    assert newest_that_says(settled, "channel", "stable") == good
    assert standing(settled)[bad] == {("superseded", "none")}
    settled.controller().reconcile()
    assert_settled(settled, since=head)


def test_a_candidate_is_in_its_channel_until_it_is_stable(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED})
    (stable,) = standing(settled)
    candidate = build(settled, "echo more")
    assert standing(settled) == {stable: {("stable", "stable")}, candidate: {("candidate", "candidate")}}
    another = build(settled, "echo still more")
    assert standing(settled)[candidate] == {("superseded", "none")}
    settled.judge("base", "passed")
    settled.controller().reconcile("base")
    assert standing(settled)[another] == {("stable", "stable")}
    assert standing(settled)[stable] == {("superseded", "none")}


def test_a_candidate_that_nobody_judged_is_nothing_to_fall_back_to(settled: World) -> None:
    settled.commit({"desired/base/image.yaml": VALIDATED})
    (stable,) = standing(settled)
    build(settled, "echo never judged")
    last = build(settled, "echo more")
    settled.judge("base", "passed")
    settled.controller().reconcile("base")
    settled.judge("base", "failed")
    settled.controller().reconcile("base")
    assert settled.lock("base").channels.stable == stable
    assert standing(settled)[stable] == {("stable", "stable")}
    assert standing(settled)[last] == {("rejected", "none")}


class TestHealing:
    """What says wrongly how far it has come is drift, and set right."""

    def test_a_fleet_of_a_version_without_channels_is_told_apart_in_one_run(self, settled: World) -> None:
        """Every build that ever was stable said so, also those that fell out of the lockfile."""
        for number in range(4):
            build(settled, f"echo {number}")
        for seen in settled.artifacts("base"):
            retag(settled, seen, phase="stable", channel=None)
        controller = settled.controller()
        planned = controller.plan("base")["base"]
        assert planned.actions == ("retag",)
        told = [(reason.was, reason.now) for reason in planned.reasons if "4 artifacts" in (reason.was or "")]
        now = "reconciler:phase=superseded"
        assert told == [(f"{place} 4 artifacts: reconciler:phase=stable", now) for place in (EU, US)]
        head = settled.head()
        assert statuses(controller.reconcile()) == {"base": "changed", "web": "built", "api": "built"}
        newest = settled.lock("base").builds[0].id
        assert newest_that_says(settled, "channel", "stable") == newest
        assert {build for build, said in standing(settled).items() if said == {("superseded", None)}} == {
            build for build in standing(settled) if build != newest
        }
        assert_settled(settled, since=head)

    def test_a_copy_that_somebody_made_with_all_tags_is_not_the_one(self, settled: World) -> None:
        head = settled.head()
        (recorded,) = (one for one in settled.artifacts("base") if one.location == US)
        copy = settled.registry.seed(US, "by-hand", tags=recorded.tags)
        settled.controller().reconcile()
        found = {one.id: one.own("channel") for one in settled.artifacts("base") if one.location == US}
        assert found == {recorded.id: "stable", copy.id: "none"}
        settled.registry.delete(copy)
        assert_settled(settled, since=head)

    def test_what_was_rejected_and_says_otherwise_is_set_right(self, settled: World) -> None:
        settled.commit({"desired/base/image.yaml": VALIDATED})
        bad = build(settled, "echo broken")
        settled.judge("base", "failed")
        settled.controller().reconcile("base")
        for seen in settled.artifacts("base"):
            if seen.own("build") == bad:
                retag(settled, seen, phase="candidate", channel="stable")
        settled.controller().reconcile("base")
        assert standing(settled)[bad] == {("rejected", "none")}

    def test_a_newer_build_that_another_run_is_recording_is_left_alone(self, settled: World) -> None:
        newer = settled.registry.seed(
            US, "newer", tags={
                "reconciler:fleet": "acme/images", "reconciler:image": "base", "reconciler:key": "sha256:1",
                "reconciler:build": "20991122T101530Z-1a2b3c4", "reconciler:phase": "stable",
                "reconciler:channel": "stable",
            },
        )  # fmt: skip
        settled.controller().reconcile("base")
        assert settled.registry.find(US, newer.id) == newer

    def test_what_cannot_be_tagged_is_told_and_left_to_the_next_run(self, settled: World) -> None:
        settled.commit({"desired/base/setup.sh": "echo more\n"})
        controller = surround(settled.controller(), failing(f"tag all {US}", Transient("throttled")))
        controller.reconcile("base")
        for seen in settled.artifacts("base"):
            if seen.own("phase") == "superseded":
                retag(settled, seen, phase="stable", channel="stable")
        controller.reconcile("base")
        (warned,) = controller.told(Warned, "base")
        assert isinstance(warned, Warned)
        assert "is not tagged reconciler:channel=none, reconciler:phase=superseded: throttled" in warned.what
        settled.controller().reconcile("base")
        assert sorted({said for each in standing(settled).values() for said in each}) == [
            ("stable", "stable"), ("superseded", "none"),
        ]  # fmt: skip


class TestFallingBack:
    """A verdict takes a build off its channels: the plan says where they go, and one run brings it there."""

    def test_the_plan_says_which_build_each_channel_goes_to(self, settled: World) -> None:
        (good,) = standing(settled)
        bad = build(settled, "echo broken")
        settled.judge("base", "failed")
        planned = settled.controller().plan("base")["base"]
        assert [(reason.code, reason.was, reason.now) for reason in planned.reasons] == [
            ("verdict-pending-record", f"{bad} no verdict", "failed by validation"),
            ("channel-moved", f"candidate {bad}", f"candidate {good}"),
            ("channel-moved", f"stable {bad}", f"stable {good}"),
        ]

    def test_what_the_channel_goes_to_is_copied_in_the_same_run_to_where_it_is_missing(self, settled: World) -> None:
        (good,) = standing(settled)
        for seen in settled.artifacts("base"):
            if seen.location == EU:
                settled.registry.delete(seen)
        bad = build(settled, "echo broken")
        settled.judge("base", "failed")
        controller = settled.controller()
        planned = controller.plan("base")["base"]
        assert set(planned.actions) == {"record", "copy"}
        assert "region-missing" in [reason.code for reason in planned.reasons]
        head = settled.head()
        assert controller.reconcile().exit_code == 0
        assert [event.location for event in controller.told(Copied, "base") if isinstance(event, Copied)] == [EU]
        assert standing(settled) == {good: {("stable", "stable")}, bad: {("rejected", "none")}}
        assert {one.location for one in settled.lock("base").builds[1].artifacts} == {US, EU}
        assert_settled(settled, since=head)

    def test_nothing_is_left_to_do_where_nothing_is_to_fall_back_to(self, world: World) -> None:
        world.commit({"desired/base/image.yaml": VALIDATED})
        world.controller().reconcile("base")
        world.judge("base", "failed")
        world.controller().reconcile("base")
        assert (world.lock("base").channels.stable, world.lock("base").channels.candidate) == (None, None)
        assert world.controller().reconcile("base").results == ()

    def test_a_child_that_is_built_where_the_copy_comes_to_waits_for_it(self, settled: World) -> None:
        (good,) = standing(settled)
        for seen in settled.artifacts("base"):
            if seen.location == EU:
                settled.registry.delete(seen)
        build(settled, "echo broken")
        settled.judge("base", "failed")
        template = TEMPLATE.replace("us-east-1", "eu-west-1")
        declared = f"{ON_BASE}regions: [{EU}]\n"
        settled.commit({"desired/web/image.yaml": declared, "desired/web/image.pkr.hcl": template})
        controller = settled.controller()
        assert controller.plan()["web"].blocked_by == ("base",)
        controller.builder.artifacts = lambda one: (
            settled.make(one, region=EU).as_artifact("amazon-ebs.image"),
        )  # fmt: skip
        assert statuses(controller.reconcile("web"))["web"] == "built"
        (copied,) = (one for one in settled.artifacts("base") if (one.location, one.own("build")) == (EU, good))
        source = settled.lock("web").builds[0].source
        assert source is not None
        assert source.artifact_in(EU) == copied.id
