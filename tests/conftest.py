"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.needs import MARKS, Watch
from tests.sharing import arrange


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell xdist which tests belong together, and begin with the longest."""
    arrange(items)


@pytest.fixture(scope="session")
def _watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.mktemp("watch"))


@pytest.fixture(autouse=True)
def _marked_by_what_it_needs(
    request: pytest.FixtureRequest, _watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    marked = {mark.name for mark in request.node.iter_markers()}
    if "packer" not in marked:
        monkeypatch.setenv("PATH", str(_watch.folder), prepend=os.pathsep)
    yield
    lacking = _watch.begun() - marked
    assert not lacking, f"it {' and '.join(MARKS[one] for one in sorted(lacking))}, and no mark says so"


@pytest.fixture
def heeded_hangups() -> Iterator[None]:
    """A SIGHUP that does what it does at a terminal, also where the tests were begun with `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
