"""What holds of every world in which a run ended well, whatever happened before."""

from __future__ import annotations

from collections import Counter

from reconciler.git.repository import Repository
from tests.integration.loop.world import World, git


def assert_settled(world: World, *, since: str, clone: str = "ci") -> None:
    """The plan is empty, state/ and the registry agree, history only grew, and one more run does nothing at all."""
    assert_nothing_planned(world, clone=clone)
    assert_consistent(world)
    assert_history_only_grew(world, since=since)
    assert world.wasted == []
    head, artifacts = world.head(), world.registry.artifacts
    again = world.controller(clone)
    assert again.reconcile().results == ()
    assert (world.head(), world.registry.artifacts, again.built) == (head, artifacts, [])


def assert_nothing_planned(world: World, *, clone: str = "ci") -> None:
    """Everything was read, and is as it should be."""
    _, planned = world.controller(clone).look()
    drifted = [image for image in planned.plan.images if image.sync != "in-sync"]
    assert drifted == []
    assert (planned.plan.complete, planned.plan.errored) == (True, False)


def assert_consistent(world: World) -> None:
    """One adoptable artifact for each image, key and region; and what is recorded of declared images is there.

    Nothing that did not pass its test is recorded. state/ holds the SBOM and provenance of every build and no other.
    """
    adoptable = Counter(
        (one.own("image"), one.own("key"), one.location)
        for one in world.registry.artifacts
        if one.complete and one.own("phase") != "rejected"
    )
    assert [place for place, number in adoptable.items() if number > 1] == []
    there = {(one.location, one.id): one for one in world.registry.artifacts}
    for image in filter(world.declares, world.recorded()):
        for artifact in world.lock(image).builds[0].artifacts:
            seen = there[artifact.location, artifact.id]
            assert (seen.own("image"), seen.own("key")) == (image, world.lock(image).builds[0].key)
    for image in filter(world.declares, world.recorded()):
        assert_channels_are_said(world, image)
    builds = [build for image in world.recorded() for build in world.lock(image).recorded]
    assert [build.id for build in builds if build.smoke_test is None or build.smoke_test.status == "failed"] == []
    assert world.sboms() == sorted(build.inventory.sbom for build in builds if build.inventory)
    assert world.statements() == sorted(build.provenance for build in builds if build.provenance)


def assert_history_only_grew(world: World, *, since: str) -> None:
    """Main has no merges, and nothing that was on it is gone."""
    assert git(world.origin, "rev-list", "--min-parents=2", "main") == ""
    person = Repository.open(world.root / "person")
    git(person.root, "fetch", "--quiet", "origin", "main")
    assert person.is_ancestor(since, "FETCH_HEAD")


def assert_channels_are_said(world: World, image: str) -> None:
    """In each location one artifact says that a channel has it, the recorded one; and nothing else says it is good."""
    lock = world.lock(image)
    said = Counter(
        (one.own("channel"), one.location, one.id)
        for one in world.artifacts(image)
        if one.own("channel") in ("candidate", "stable")
    )
    recorded = Counter(
        (lock.channel_of(build.id), artifact.location, artifact.id)
        for build in lock.builds
        if lock.channel_of(build.id) is not None
        for artifact in build.artifacts
    )
    assert said == recorded
    standing = {one.own("build") for one in world.artifacts(image) if one.own("phase") in ("candidate", "stable")}
    assert standing <= {lock.channels.candidate, lock.channels.stable}
