"""A kind is an adapter: one of less than 300 lines goes through the loop, and no line of the program is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.lockfile import Artifact
from reconciler.ports.builder import BuildRequest
from reconciler.ports.dialect import Made
from tests.doubles import texts
from tests.doubles.registry import MemoryRegistry
from tests.integration.loop.world import FLEET, Controller, World, image_files, statuses

TEMPLATE = """\
source "text" "image" {}
build {
  sources = ["source.text.image"]
  provisioner "shell-local" { script = "${path.root}/setup.sh" }
}
"""


class TextWorld(World):
    """The world of `world.py`, where texts are built."""

    @property
    def shelf(self) -> texts.TextRegistry:
        return texts.TextRegistry(FLEET, now=self.clock)

    def controller(self, name: str = "ci") -> Controller:
        one = super().controller(name)
        one.on_registry = lambda _: self.shelf
        return one

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        assert request.location is not None
        left = self.root / f"{request.build_id}.txt"
        left.write_text(request.build_id)
        made = Made("text.image", "a.text", str(left), (str(left),))
        name = f"{request.image.name}-{request.build_id}"
        return tuple(self.shelf.store(request.location, [made], name=name, tags=request.image_tags))


@pytest.fixture
def shelves(tmp_path: Path, own_home: None, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two shelves, and the kind in the table."""
    texts.put_into_table(monkeypatch)
    return str(tmp_path / "one"), str(tmp_path / "other")


def test_it_has_less_than_three_hundred_lines() -> None:
    assert len(Path(texts.__file__).read_text().splitlines()) < 300


def test_it_is_built_copied_promoted_mended_and_taken_away(tmp_path: Path, shelves: tuple[str, str]) -> None:
    # Given an image of it that is declared
    world = TextWorld(tmp_path / "world", MemoryRegistry(FLEET))
    declared = f"locations: [{', '.join(shelves)}]\nretain: {{builds: 1, deprecated: 1d, disabled: 1d}}\n"
    settings: dict[str, str | None] = {"desired/reconciler.yaml": f"fleet: {FLEET}\n"}
    world.begin_repository(settings | image_files("web", declared, template=TEMPLATE))
    shelf = world.shelf

    # When it is reconciled, then it is in both places, recorded and promoted, and a second run does nothing
    assert statuses(world.controller().reconcile()) == {"web": "built"}
    lock = world.lock("web")
    assert lock.channels.stable == lock.builds[0].id
    assert [one.location for one in shelf.observe(shelves).artifacts] == list(shelves)
    world.clock.advance(hours=1)
    assert world.controller().reconcile().results == ()

    # When one is lost, then it is copied and not built
    (lost,) = shelf.observe(shelves[1:]).artifacts
    shelf.retire(lost, image="web")
    assert world.controller().plan()["web"].actions == ("copy",)
    again = world.controller()
    assert statuses(again.reconcile()) == {"web": "changed"}
    assert (again.built, len(shelf.observe(shelves).artifacts)) == ([], 2)

    # When what goes into it changes, then a new build is stable, and what is kept no longer is taken away
    for number in range(3):
        world.clock.advance(hours=1)
        world.commit({"desired/web/setup.sh": f"echo {number}\n"})
        assert statuses(world.controller().reconcile()) == {"web": "built"}
    stable = world.lock("web").channels.stable
    assert stable != lock.builds[0].id
    for _ in range(4):
        world.clock.advance(days=2)
        world.controller().collect()
    left = {one.own("build") for one in shelf.observe(shelves).artifacts}
    assert stable in left
    assert lock.builds[0].id not in left
