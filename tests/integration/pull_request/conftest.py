"""A fleet of two in two regions that is built and recorded, and no environment but ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.loop.surroundings import clean_environment
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, SETTINGS, World, image_files
from tests.integration.story.conftest import cloud, new_fleet, sandbox

__all__ = ["cloud", "new_fleet", "sandbox"]  # fixtures: the diagram is a story, too


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        wanted = clean_environment(tmp_path_factory.mktemp("home"))
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def _settled(tmp_path_factory: pytest.TempPathFactory) -> World:
    files = {"desired/reconciler.yaml": SETTINGS, **image_files("base", ON_DEBIAN), **image_files("web", ON_BASE)}
    made = World.begin(tmp_path_factory.mktemp("pull-request") / "world", files)
    assert made.controller().reconcile().exit_code == 0
    made.clock.advance(hours=1)
    return made


@pytest.fixture
def world(_settled: World, tmp_path: Path) -> World:
    """base, and web on it, an hour after they were built and recorded; the clone `ci` is there."""
    return _settled.copy_to(tmp_path / "world")
