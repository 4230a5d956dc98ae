"""A new fleet for every test, and one that was built once and is copied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.loop.repositories import ContainersWorld, Ground, ground, no_engine
from tests.integration.loop.world import (
    ON_BASE,
    ON_DEBIAN,
    ON_TOOLBOX,
    RETAIN,
    SETTINGS,
    World,
    image_files,
)

FLEET_FILES = {
    "desired/reconciler.yaml": SETTINGS,
    **image_files("base", ON_DEBIAN),
    **image_files("web", ON_BASE),
    **image_files("api", ON_BASE),
    **image_files("tools", ON_TOOLBOX),
}


@pytest.fixture(scope="session", autouse=True)
def _own_home(own_home: None) -> None:
    """For every test here."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fleet that is declared and not yet built: base, web and api on base, and tools on its own."""
    return World.begin(tmp_path / "world", FLEET_FILES)


@pytest.fixture(scope="session")
def _settled(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World.begin(tmp_path_factory.mktemp("settled") / "world", FLEET_FILES)
    assert made.controller().reconcile().exit_code == 0
    return made.settle()


@pytest.fixture
def settled(_settled: World, tmp_path: Path) -> World:
    """The same fleet an hour after it was built and recorded; the clone `ci` is there."""
    return _settled.copy_to(tmp_path / "world")


@pytest.fixture
def pair(built_pair: World, tmp_path: Path) -> World:
    """A fleet of two, base and web on it, an hour after it was built and recorded."""
    return built_pair.copy_to(tmp_path / "world")


@pytest.fixture(scope="session")
def kept_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A registry for the container images of worlds."""
    with ground(tmp_path_factory.mktemp("ground")) as one:
        yield one


@pytest.fixture(scope="session")
def _containers(own_home: None, kept_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> ContainersWorld:
    root = tmp_path_factory.mktemp("containers") / "world"
    world = ContainersWorld.made(root, kept_ground, kept_ground.declares().pair)
    with no_engine(lambda: world):
        assert world.controller().reconcile().exit_code == 0
    world.settle()
    kept_ground.keep("built")
    return world


@pytest.fixture
def containers_pair(_containers: ContainersWorld, kept_ground: Ground, tmp_path: Path) -> Iterator[ContainersWorld]:
    """The same two as container images."""
    kept_ground.restore("built")
    world = _containers.copy_to(tmp_path / "world")
    with no_engine(lambda: world):
        yield world


@pytest.fixture(scope="session")
def _grown(built_pair: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = built_pair.copy_to(tmp_path_factory.mktemp("grown") / "world")
    made.commit({"desired/web/image.yaml": f"{ON_BASE}{RETAIN}"})
    for setup in ("echo two\n", "echo three\n"):
        made.commit({"desired/web/setup.sh": setup})
        assert made.controller().reconcile("web").exit_code == 0
        made.clock.advance(hours=1)
    made.clock.advance(days=2)
    return made.settle()


@pytest.fixture
def grown(_grown: World, tmp_path: Path) -> World:
    """A fleet whose web has a stable build, the one that it would fall back to, and one that no lockfile has."""
    return _grown.copy_to(tmp_path / "world")
