"""What one test works with, from the first connection on."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from reconciler.build.process import Clock
from reconciler.build.redact import Redactor
from reconciler.build.smoke.client_config import ClientConfig
from reconciler.build.smoke.connection import Connection, client
from reconciler.build.smoke.environment import pytest_command
from reconciler.build.smoke.pytest_run import PytestRun, run_pytest
from reconciler.build.smoke.ssh_words import last_line
from reconciler.build.smoke.watch import Watch
from reconciler.build.tester import TestRequest
from reconciler.model.errors import Terminal
from reconciler.model.events import Listener, Testing

_KEYGEN_SECONDS = 30


@dataclass(frozen=True)
class Session:
    """One test of one instance. `until` is when its time is over, by `clock`."""

    request: TestRequest
    config: ClientConfig
    connection: Connection
    environment: Mapping[str, str]
    log: TextIO
    redact: Redactor
    listener: Listener
    cancelled: threading.Event
    clock: Clock
    until: float

    @property
    def left(self) -> float:
        """Seconds that are left, at least a moment."""
        return max(self.until - self.clock(), 0.1)

    def tell(self, what: str) -> None:
        """Say what is being done."""
        self.listener(Testing(self.request.image, what))

    def run(self, target: Path, *, name: str, shown: Callable[[str], str]) -> PytestRun:
        """Run the tests of a file or folder. `name` is for files and the log; `shown` names a test for people."""
        self.log.write(f"--- {name} ---\n")
        self.log.flush()
        folder = self.request.folder.absolute()
        command = pytest_command(
            target.absolute(), self.config, folder=folder, environment=self._for_tests(), limit=self.left
        )
        watch = Watch(self.connection, alive=self.request.alive, cancelled=self.cancelled, clock=self.clock)
        return run_pytest(
            command,
            name=name,
            folder=folder,
            log=self.log,
            redact=self.redact,
            watch=watch,
            timeout=self.left,
            clock=self.clock,
            on_test=lambda test: self.tell(shown(test)),
        )

    def _for_tests(self) -> dict[str, str]:
        return {
            **self.environment,
            "RECONCILER_IMAGE": self.request.image,
            "RECONCILER_BUILD": self.request.build_id,
            "RECONCILER_PUBLIC_KEY": _public_key(self.config.key, self.environment),
            "RECONCILER_HOST_KEY": _host_key(self.config.known_hosts),
            "RECONCILER_PACKER_KEYS": " ".join(sorted(self.request.packer_keys)),
        }


def _public_key(private: Path, environment: Mapping[str, str]) -> str:
    arguments = [client(environment, program="ssh-keygen"), "-y", "-P", "", "-f", str(private)]
    try:
        done = subprocess.run(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_KEYGEN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Terminal(f"`ssh-keygen` did not answer within {_KEYGEN_SECONDS} s") from error
    if done.returncode != 0:
        said = last_line(done.stderr.decode(errors="replace"))
        raise Terminal(f"the key to the instance cannot be used: {said}")
    return done.stdout.decode().strip()


def _host_key(known_hosts: Path) -> str:
    """The key that the instance answered with, in base64: the last word but for a comment of what ssh noted."""
    lines = known_hosts.read_text(encoding="utf-8").splitlines()
    return lines[-1].split()[2] if lines else ""
