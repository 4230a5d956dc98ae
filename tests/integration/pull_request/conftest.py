"""A fleet of two in two regions that is built and recorded, and no environment but ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.loop.world import World
from tests.integration.story.conftest import cloud, new_fleet, sandbox

__all__ = ["cloud", "new_fleet", "sandbox"]  # fixtures: the diagram is a story, too


@pytest.fixture(scope="session", autouse=True)
def _own_home(own_home: None) -> None:
    """For every test here."""


@pytest.fixture
def world(built_pair: World, tmp_path: Path) -> World:
    """base, and web on it, an hour after they were built and recorded; the clone `ci` is there."""
    return built_pair.copy_to(tmp_path / "world")
