"""What instances answer to the sandbox: whoever is root in one decides what its shell is, and what its files say."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from reconciler.sandbox import instances
from reconciler.sandbox.answer import TooLong, answer
from reconciler.sandbox.machine import Logins


def test_it_is_heard_whole_with_its_code() -> None:
    done = answer(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], environment={})
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)


@pytest.mark.parametrize("beside", ["", ">&2"])
def test_one_without_end_is_heard_as_far_as_any_and_the_command_is_ended(beside: str) -> None:
    with pytest.raises(TooLong, match="more than 1,000,000 bytes"):
        answer(["/bin/sh", "-c", f"exec cat /dev/zero {beside}"], environment={"PATH": "/bin"}, most=1_000_000)


def test_one_that_never_comes_is_given_up() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        answer([sys.executable, "-c", "import signal; signal.pause()"], environment={}, seconds=0.1)


class Hostile:
    """A machine in which every command answers without end."""

    def __init__(self, passwd: str = "") -> None:
        self.passwd = passwd
        self.said: list[str] = []

    def command(self, arguments: object) -> list[str]:
        del arguments
        return ["/bin/cat", "/dev/zero"]

    def read(self, path: str) -> str:
        del path
        return self.passwd

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_shell_that_answers_without_end_fills_no_memory() -> None:
    machine: Any = Hostile("admin:x:1000:1000::/home/admin:/bin/sh\n")
    assert instances.default_user(machine) is None
    instances.record_boot(machine, "i-1")
    assert Logins(machine, public_key=b"key").become("admin").uid == 1000
    assert [line.rpartition(": ")[2] for line in machine.said] == ["it answers more than 1,048,576 bytes"] * len(
        machine.said
    )
    assert len(machine.said) > 1


@pytest.mark.parametrize("uid", ["x", "-1", "", "9" * 5000, "٣"])
def test_who_has_no_number_is_no_user(uid: str) -> None:
    machine: Any = Hostile(f"admin:x:{uid}:1000::/home/admin:/bin/sh\n")
    assert Logins(machine, public_key=None).find("admin") is None
