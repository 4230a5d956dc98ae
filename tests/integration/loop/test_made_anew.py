"""A disk that was lost, and comes out of the next build byte for byte the same: it has the id that it had."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model.observation import Seen, State
from reconciler.plan.tags import own
from tests.integration.loop.mixed import BACKUP, DISKS, UPSTREAM, MixedRegistry, MixedWorld, files_of
from tests.integration.loop.world import FLEET, statuses

RETAIN = UPSTREAM["disk"] + "retain: {builds: 2, previews: 7d, deprecated: 1d, disabled: 1d}\n"


class Reproducible(MixedRegistry):
    """Whatever is built of an image is the same, and is kept once in a location: what is another's has another id."""

    def seed(
        self, location: str, name: str, *, tags: Mapping[str, str], state: State = "available",
        created: str | None = None,
    ) -> Seen:  # fmt: skip
        """See `MemoryRegistry.seed`."""
        made = super().seed(location, name, tags=tags, state=state, created=created)
        del self._artifacts[location, made.id]
        digest = hashlib.sha256(name.partition("-2")[0].encode()).hexdigest()
        taken = [one for one in self._artifacts.values() if one.location == location and digest in one.id]
        made = replace(made, id=f"sha256:{digest}{f'.{len(taken) + 1}' if taken else ''}")
        self._artifacts[location, made.id] = made
        return made


@pytest.fixture
def world(own_home: None, tmp_path: Path) -> MixedWorld:
    """A disk in two folders, one build of which was lost and was made anew, and what is built on it."""
    files = {
        "desired/reconciler.yaml": f"fleet: {FLEET}\n",
        **files_of("disk", "base", RETAIN),
        **files_of("disk", "web", "source: {image: base}\n"),
    }
    world = MixedWorld(tmp_path / "world", Reproducible(FLEET))
    world.registry.clock = world.clock
    world.begin_repository(files)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    world.lose("base", DISKS, BACKUP)
    assert statuses(world.controller().reconcile())["base"] == "built"
    world.clock.advance(hours=1)
    return world


def settled(world: MixedWorld) -> bool:
    """Whether another run does nothing and commits nothing."""
    head = world.head()
    controller = world.controller()
    report = controller.reconcile()
    return (statuses(report), report.exit_code, controller.built, world.head()) == ({}, 0, [], head)


def test_it_is_no_strangers_and_says_that_it_is_the_newer_builds(world: MixedWorld) -> None:
    newer, older = world.lock("base").builds

    assert {one.id for one in newer.artifacts} == {one.id for one in older.artifacts}
    assert {one.own("build") for one in world.artifacts("base")} == {newer.id}
    assert {one.own("phase") for one in world.artifacts("base")} == {"stable"}
    assert settled(world)


@pytest.mark.parametrize("which", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_revocation_of_either_is_one_of_both(world: MixedWorld, which: int) -> None:
    builds = [one.id for one in world.lock("base").builds]
    before = world.lock("base"), world.lock("web")

    world.commit(files_of("disk", "base", f"{RETAIN}revoke: [{{build: {builds[which]}, reason: CVE}}]\n"))
    world.controller().reconcile()

    assert [one.phase for one in world.lock("base").builds] == ["revoked", "revoked"]
    assert world.lock("base").channels.stable is None
    assert {one.own("phase") for one in world.artifacts("base")} == {"revoked"}
    assert {one.phase for one in world.lock("web").builds} == {"revoked"}, "what was built on either inherits it"

    world.commit(files_of("disk", "base", RETAIN))
    world.controller().reconcile()
    assert (world.lock("base").channels, world.lock("web").channels) == (before[0].channels, before[1].channels)
    assert {one.own("phase") for one in world.artifacts("base")} == {"stable"}
    assert settled(world)


def test_a_revocation_of_one_that_no_lockfile_names_any_more_reaches_what_came_out_the_same(world: MixedWorld) -> None:
    first = world.lock("base").builds[-1].id
    retain = RETAIN.replace("builds: 2", "builds: 1")
    world.commit(files_of("disk", "base", retain))
    world.lose("base", DISKS, BACKUP)
    world.controller().reconcile()
    world.clock.advance(hours=1)
    assert world.lock("base").recorded
    assert first not in {one.id for one in world.lock("base").recorded}

    world.commit(files_of("disk", "base", f"{retain}revoke: [{{build: {first}, reason: CVE}}]\n"))
    planned = world.controller().plan()["base"]
    world.controller().reconcile()

    assert [f"{one.now}" for one in planned.reasons if one.code == "revoked"] == [
        f"revoked, as what {first} is: CVE"
    ] * 2
    assert not [note for note in planned.notes if "no lockfile names it" in note]
    assert {one.phase for one in world.lock("base").builds} == {"revoked"}
    assert world.lock("base").channels.stable is None
    assert {one.own("phase") for one in world.artifacts("base")} == {"revoked"}
    assert {one.phase for one in world.lock("web").builds} == {"revoked"}

    world.commit(files_of("disk", "base", retain))
    world.controller().reconcile()
    assert {one.own("phase") for one in world.artifacts("base")} == {"stable"}
    assert settled(world)


@pytest.mark.long
def test_gc_takes_away_neither_while_the_other_is_needed(world: MixedWorld) -> None:
    world.commit(files_of("disk", "base", RETAIN.replace("builds: 2", "builds: 1")))
    needed = {one.place for one in world.artifacts("base")}

    for _ in range(5):
        world.clock.advance(days=2)
        found = world.controller().collect()
        world.controller().reconcile()

    assert {one.place for one in world.artifacts("base")} == needed
    assert {(one.build, one.code) for one in found.artifacts if one.image == "base"} == {
        (world.lock("base").channels.stable, "channel")
    }


def test_marks_of_a_build_that_state_does_not_name_there_are_a_strangers(world: MixedWorld) -> None:
    for one in world.artifacts("base"):
        world.registry.tag(one, own(build="20261101T000000Z-0000000"))

    planned = world.controller().plan()["base"]

    assert planned.sync == "unknown"
    assert "nor does the tag" in " ".join(planned.unknown)


def test_what_lost_its_marks_as_well_is_what_the_newer_builds_tag_says(world: MixedWorld) -> None:
    for one in world.artifacts("base"):
        world.registry._artifacts[one.place] = replace(one, tags={})

    world.controller().reconcile()

    assert world.controller().plan()["base"].sync == "in-sync"
    assert {one.own("build") for one in world.artifacts("base")} == {world.lock("base").builds[0].id}
