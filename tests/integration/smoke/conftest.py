"""A sandbox for each module, and instances in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.integration.smoke.examination import Examination, Instance, Start, start


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def started(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start an instance, which goes with the sandbox at the latest."""
    return lambda: start(sandbox, tmp_path_factory.mktemp("instance"))


@pytest.fixture(scope="module")
def instance(started: Start) -> Instance:
    """One that no test changes."""
    return started()


@pytest.fixture
def examine(tmp_path: Path) -> Examination:
    return Examination(tmp_path)
