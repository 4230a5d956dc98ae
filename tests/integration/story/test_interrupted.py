"""A run that is stopped half-way: nothing is half-recorded, and the next run converges."""

from __future__ import annotations

import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud

pytestmark = [pytest.mark.sandbox, pytest.mark.packer, pytest.mark.long]

LIMIT_SECONDS = 60


class Held:
    """A `reconcile` whose build of `base` waits at the gate: provisioned, not yet an image."""

    def __init__(self, fleet: Checkout, gate: Path) -> None:
        os.mkfifo(gate)
        self.gate = gate
        self.process = fleet.begin("reconcile", environment={"PKR_VAR_gate": str(gate)})
        self.told: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if "local shell script" in line:
                break
        self.packer = self._packer()

    def stop(self, number: signal.Signals) -> int:
        """Send a signal to the command alone, and return how it ended."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=LIMIT_SECONDS)
        self.told.append(rest)
        return self.process.returncode

    def open_gate(self) -> None:
        """Let the build go on."""
        self.gate.write_text("")

    def wait_for_packer(self) -> None:
        """Wait until Packer, whose parent is gone, has ended."""
        try:
            watch = os.pidfd_open(self.packer)
        except ProcessLookupError:
            return
        try:
            assert select.select([watch], [], [], LIMIT_SECONDS)[0], "Packer does not end"
        finally:
            os.close(watch)

    def kill_packer(self) -> None:
        """Kill Packer and everything that it started, as a machine that is lost does."""
        os.killpg(self.packer, signal.SIGKILL)

    def _packer(self) -> int:
        """The Packer that this command started: it leads a session of its own."""
        children = [
            int(child)
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir()
            for child in (thread / "children").read_text().split()
        ]
        started = os.fsencode(shutil.which("packer") or "")
        (packer,) = (child for child in children if Path(f"/proc/{child}/cmdline").read_bytes().startswith(started))
        return packer


@pytest.fixture
def held(pair: Checkout, tmp_path: Path, cloud: Cloud, heeded_signals: None) -> Iterator[Held]:
    del heeded_signals
    holding = Held(pair, tmp_path / "gate")
    yield holding
    if holding.process.poll() is None:
        holding.process.kill()
    holding.process.communicate()
    cloud.clear("us-east-1")


def converges(fleet: Checkout, cloud: Cloud) -> None:
    """The next run builds what is missing, and there is one artifact per key and region."""
    ended = fleet.reconciler("reconcile")
    assert ended.code == 0, ended
    for image in ("base", "web"):
        key = fleet.lockfile(image)["builds"][0]["key"]
        for region, ami in fleet.recorded(image).items():
            assert cloud.complete(region, fleet=fleet.name, key=key) == [ami]
    assert "web found: laid by base" in fleet.log_of("web")
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def nothing_is_recorded(fleet: Checkout) -> bool:
    fleet.git("fetch", "--quiet", "--tags")
    return (
        fleet.lockfiles() == {}
        and fleet.git("tag") == ""
        and fleet.git("log", "--format=%s", "origin/main") == "Declare the images"
        and fleet.git("status", "--porcelain") == ""
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_packer_clean_up_and_the_next_run_converges(
    pair: Checkout, cloud: Cloud, held: Held, number: signal.Signals
) -> None:
    assert cloud.leftovers("us-east-1") != []

    assert held.stop(number) == 130

    told = "".join(held.told)
    assert "stopping: nothing new is begun, running builds clean up, what is done is recorded" in told
    assert "Traceback" not in told
    assert cloud.leftovers("us-east-1") == []
    assert nothing_is_recorded(pair)
    converges(pair, cloud)


def test_killed_while_packer_lives_on_the_next_run_converges(pair: Checkout, cloud: Cloud, held: Held) -> None:
    assert held.stop(signal.SIGKILL) == -signal.SIGKILL
    held.open_gate()
    held.wait_for_packer()

    assert cloud.leftovers("us-east-1") == [], "Packer went on to its end"
    assert nothing_is_recorded(pair)
    converges(pair, cloud)


def test_while_a_packer_outlives_its_run_the_next_one_leaves_its_image_alone(
    pair: Checkout, cloud: Cloud, held: Held
) -> None:
    held.stop(signal.SIGKILL)

    done = pair.reconciler("reconcile")

    assert done.code == 3, done
    assert "base is being built by a Packer that outlived its run" in done.err
    assert "removed what a killed run left" not in done.err
    assert nothing_is_recorded(pair)
    held.open_gate()
    held.wait_for_packer()
    converges(pair, cloud)


def test_killed_together_with_packer_the_next_run_converges(pair: Checkout, cloud: Cloud, held: Held) -> None:
    held.kill_packer()
    held.process.kill()
    held.process.communicate()

    assert nothing_is_recorded(pair)
    converges(pair, cloud)
