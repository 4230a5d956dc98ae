"""Machines to take an inventory of: instances of the sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.build.smoke.exchange import Ran
from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import Instance, start

Boot = Callable[..., Instance]
"""Boots the newest Debian, or the AMI that is named."""


@dataclass(frozen=True)
class InstanceShell:
    """A shell on an instance of the sandbox, as the user who logs in or as another."""

    instance: Instance
    become: str = ""

    def run(self, command: str, *, input: bytes = b"", timeout: float) -> Ran:  # noqa: A002 - the Protocol's name
        whole = f"sudo setpriv --reuid {self.become} --clear-groups {command}" if self.become else command
        done = self.instance.run(whole, given=input, options=("-o", f"ConnectTimeout={timeout:.0f}"))
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def boot(sandbox: Sandbox, tmp_path: Path) -> Boot:
    """Boot an instance, which goes with the sandbox."""
    return lambda image=None: start(sandbox, tmp_path, image=image)
