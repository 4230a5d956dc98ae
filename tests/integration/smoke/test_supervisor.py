"""Nothing that tests start outlives them, nor whoever runs them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.build.smoke import supervisor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody takes in orphans")

LONGEST_WAIT = 30_000  # milliseconds
DEAF = "trap : TERM HUP INT; while :; do sleep 1000; done"


def kept(script: str, *, parent: str | None = None) -> list[str]:
    """The command line of a script for the shell, with a supervisor before it."""
    before = [sys.executable, "-I", "-S", supervisor.__file__, parent or str(os.getpid()), "0.1"]
    return [*before, "sh", "-c", script]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A pipe with a name, on which a script tells the id of what it started."""
    path = tmp_path / "told"
    os.mkfifo(path)
    return path


def has_ended(pidfd: int) -> bool:
    """Whether a process ends; it waits for that."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(LONGEST_WAIT))


@contextmanager
def watched(told: Path) -> Iterator[int]:
    """What was told of: a descriptor of the process, that nobody else gets the id of."""
    pidfd = os.pidfd_open(int(told.read_text()))
    try:
        yield pidfd
    finally:
        os.close(pidfd)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 5", 5), ("kill -9 $$", -9), ("kill -SEGV $$", -11)])
def test_it_ends_as_the_command_did(script: str, code: int) -> None:
    assert subprocess.run(kept(script), check=False, stdin=subprocess.DEVNULL).returncode == code


def test_what_is_left_in_a_session_of_its_own_is_ended(told: Path) -> None:
    # Its parent has ended before: it never was a child of what the supervisor runs.
    orphan = f'setsid sh -c "echo \\$\\$ > {told}; {DEAF}" &'
    process = subprocess.Popen(kept(f"setsid sh -c '{orphan}'; read _"), stdin=subprocess.PIPE)
    with watched(told) as left:
        process.communicate()
        assert has_ended(left)
    assert process.returncode == 1


def test_told_to_end_it_ends_what_is_deaf(told: Path) -> None:
    process = subprocess.Popen(kept(f"setsid sh -c 'echo $$ > {told}; sleep 1000' & {DEAF}"))
    with watched(told) as left:
        process.terminate()
        assert has_ended(left)
        assert process.wait() == -signal.SIGKILL


def test_it_ends_with_whoever_started_it(told: Path) -> None:
    start = "import os, subprocess, sys; subprocess.run([one.format(me=os.getpid()) for one in sys.argv[1:]])"
    command = kept(f"echo $$ > {told}; {DEAF}", parent="{me}")
    starter = subprocess.Popen([sys.executable, "-c", start, *command])
    with watched(told) as left:
        starter.kill()
        assert has_ended(left)
    starter.wait()


def test_killed_it_takes_the_command_with_it(told: Path) -> None:
    process = subprocess.Popen(kept(f"echo $$ > {told}; exec sleep 1000"))
    with watched(told) as left:
        process.kill()
        assert has_ended(left)
    process.wait()
