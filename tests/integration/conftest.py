"""What several kinds of tests share: a home that is not the reader's, a fleet that is built once, an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from tests import containers
from tests.integration.loop.surroundings import clean_environment
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, SETTINGS, World, image_files


@pytest.fixture(scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An environment in which git knows nothing of the machine's owner, from the first test that needs it on."""
    with pytest.MonkeyPatch.context() as patch:
        wanted = clean_environment(tmp_path_factory.mktemp("home"))
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def built_pair(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    """base and web on it, an hour after they were built and recorded; the clone `ci` is there. To be copied."""
    files = {"desired/reconciler.yaml": SETTINGS, **image_files("base", ON_DEBIAN), **image_files("web", ON_BASE)}
    made = World.begin(tmp_path_factory.mktemp("pair") / "world", files)
    assert made.controller().reconcile().exit_code == 0
    return made.settle()


@pytest.fixture(scope="session")
def engines_variables() -> Iterator[Mapping[str, str]]:
    """A container engine, and the variables by which it is reached."""
    containers.refuse_without_engine()
    with containers.engine() as variables:
        yield variables


@pytest.fixture
def engine(engines_variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine, for `docker` and whoever runs it."""
    for name, value in engines_variables.items():
        monkeypatch.setenv(name, value)
