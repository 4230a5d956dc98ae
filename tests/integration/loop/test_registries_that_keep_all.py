"""A registry in which nothing can be deleted: that is said once, and asked again by each run that acts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.model import events
from reconciler.model.collection import Took
from reconciler.model.observation import Seen
from tests import containers
from tests.integration.loop.pull_request import BRANCH, on_branch
from tests.integration.loop.repositories import ContainersWorld, Ground, no_engine
from tests.integration.loop.settling import assert_nothing_planned
from tests.integration.loop.world import git, no_image_files

pytestmark = [pytest.mark.containers, pytest.mark.long]


@dataclass
class Place:
    """A world in a registry of its own, which may be run otherwise."""

    root: Path
    port: int
    world: ContainersWorld

    @contextmanager
    def keeping_all(self) -> Iterator[ContainersWorld]:
        """The world while its registry deletes nothing."""
        with containers.registry(self.root, deletes=False, port=self.port):
            yield self.world

    @contextmanager
    def deleting(self) -> Iterator[ContainersWorld]:
        """The world while its registry deletes what it is asked to."""
        with containers.registry(self.root, port=self.port):
            yield self.world


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Base and web, built a month ago, and a preview of a branch that is gone."""
    containers.refuse_without_registry()
    root = tmp_path / "ground"
    root.mkdir()
    with containers.registry(root) as host:
        on = Ground(root, host)
        world = ContainersWorld.made(tmp_path / "world", on, on.declares().pair)
        with no_engine(lambda: world):
            assert world.controller().reconcile().exit_code == 0
            on_branch(world, {"desired/web/setup.sh": "echo more\n"}).preview(BRANCH, 7)
            git(world.origin, "branch", "-D", BRANCH)
    with no_engine(lambda: world):
        world.clock.advance(days=30)
        yield Place(root, int(host.rpartition(":")[2]), world)


def previews(world: ContainersWorld) -> list[Seen]:
    return [one for one in world.artifacts("web") if one.own("phase") == "preliminary"]


def warned(world: ContainersWorld) -> list[str]:
    """What a run tells of web, which succeeds."""
    controller = world.controller()
    assert controller.reconcile().exit_code == 0
    told = [one for one in controller.told(events.Warned, "web") if isinstance(one, events.Warned)]
    return [one.what for one in told]


def test_what_can_not_be_deleted_is_said_once_and_then_planned_no_more(place: Place) -> None:
    with place.keeping_all() as world:
        (preview,) = previews(world)
        assert world.controller().plan()["web"].actions == ("retire",)
        head = world.head()

        # When a run is told that nothing is deleted there
        (said,) = warned(world)

        # Then that is all that anybody hears of it: neither the next plan nor the next run has anything to do
        assert said.startswith(f"{preview.id} in {preview.location} stays: ")
        assert "deletes nothing" in said
        assert_nothing_planned(world)
        assert warned(world) == []
        assert_nothing_planned(world)
        assert [one.id for one in previews(world)] == [preview.id]
        assert world.head() == head


def test_once_it_deletes_what_stayed_goes(place: Place) -> None:
    with place.keeping_all() as world:
        warned(world)
        kept = [one.id for one in world.registry.artifacts]
        (preview,) = previews(world)

    with place.deleting() as world:
        # Nobody but a run that acts asks, and that deletes nothing yet: the plan after it says what will go
        assert_nothing_planned(world)
        anew = f"{preview.location} deletes again: the next run looks anew at 1 artifact that stayed there"
        assert warned(world) == [anew]
        assert [one.id for one in world.registry.artifacts] == kept
        (gone,) = world.controller().plan()["web"].retires
        assert gone.location == preview.location

        assert warned(world) == []

        assert previews(world) == []
        assert [one for one in kept if one != preview.id] == [one.id for one in world.registry.artifacts]
        assert_nothing_planned(world)


def test_what_no_merge_ever_brought_is_said_once_as_well(place: Place) -> None:
    with place.deleting() as world:
        assert warned(world) == []
        preview_of_new(world)
    with place.keeping_all() as world:
        assert world.controller().plan()["new"].actions == ("retire",)
        assert world.controller().reconcile().exit_code == 0
        assert_nothing_planned(world)


def test_an_image_that_is_pruned_there_is_recorded_no_more_and_asked_for_no_more(place: Place) -> None:
    with place.keeping_all() as world:
        assert len(warned(world)) == 1, "of the preview"
        built = {one.id for one in world.artifacts("web")}
        world.commit(no_image_files("web"))

        done = world.controller().reconcile(prune=True)

        assert done.exit_code == 0
        (result,) = done.results
        assert "deletes nothing" in result.did[-1].what
        assert world.recorded() == ["base"]
        assert {one.id for one in world.registry.artifacts if one.own("image") == "web"} == built
        assert_nothing_planned(world)


def preview_of_new(world: ContainersWorld) -> None:
    """A preview of an image that no merge ever brings."""
    declared = world.declared.files("new", world.declared.on_upstream)
    git(world.root / "pull-request", "switch", "--quiet", "--create", "feature/new", "origin/main")
    world.commit(declared, "New", branch="feature/new", where="pull-request")
    world.controller("pull-request").preview("feature/new", 8)
    git(world.origin, "branch", "-D", "feature/new")
    world.clock.advance(days=30)


def test_what_gc_would_take_away_is_given_up_once_and_goes_once_it_can(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(place.world.registry), "server_time", lambda *_: None
    )  # it has its own, and not the world's
    retain = "retain: {builds: 1, previews: 7d, deprecated: 1d, disabled: 1d}\n"
    with place.deleting() as world:
        assert warned(world) == []
        world.commit({"desired/web/image.yaml": f"{world.declared.on_base}{retain}"})
        for setup in ("echo two\n", "echo three\n"):
            world.commit({"desired/web/setup.sh": setup})
            assert world.controller().reconcile().exit_code == 0
            world.clock.advance(days=2)
        old = {one.place for one in world.artifacts("web") if one.own("build") == superseded(world)[0]}
    with place.keeping_all() as world:
        # When gc has taken its steps, of which the last is refused
        took = [one for _ in range(3) for one in steps(world)]
        assert [(one.location, one.id) for one in took if one.step == "retire"] == sorted(old)
        assert {"deletes nothing" in one.stays for one in took if one.step == "retire"} == {True}

        # Then nothing of it is recorded, and it is not begun anew, time and again
        assert world.lock("web").leaving == ()
        head = world.head()
        assert (*steps(world), *steps(world)) == ()
        assert world.head() == head
        fates = [one for one in world.controller().collect(apply=False).artifacts if (one.location, one.id) in old]
        assert {(one.goes, one.code, "deletes nothing" in one.why) for one in fates} == {(False, "undeletable", True)}
        assert len(fates) == len(old)
        assert_nothing_planned(world)
    with place.deleting() as world:
        assert len(warned(world)) == len({location for location, _ in old})
        took = [one for _ in range(3) for one in steps(world)]
        assert [(one.location, one.id, one.stays) for one in took if one.step == "retire"] == [
            (*one, "") for one in sorted(old)
        ]
        assert old.isdisjoint(one.place for one in world.artifacts("web"))


def superseded(world: ContainersWorld) -> list[str]:
    """The builds of web that were superseded, by what its artifacts say, the oldest first."""
    return sorted({one.own("build") or "" for one in world.artifacts("web") if one.own("phase") == "superseded"})


def steps(world: ContainersWorld) -> tuple[Took, ...]:
    """What gc does next, and two days pass."""
    done = world.controller().collect()
    assert done.failed == {}
    world.clock.advance(days=2)
    return done.took
