"""Runs one command and leaves nothing of it running: `supervisor.py PARENT GRACE COMMAND…`, a process of its own.

Signals to a group do not reach what made itself a session of its own. On Linux such a process, once its own parent
is gone, becomes a child of the nearest ancestor that asked for orphans (PR_SET_CHILD_SUBREAPER, prctl(2)): of this one,
which kills until it has no child left. Elsewhere it ends the command's group.

It ends the command also when PARENT, the id of the process that started it, is gone: killed, it could not do it itself.
It is run by its path, in a bare interpreter (`python -I -S`), and imports nothing of ours, to be there in no time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

POLL = 0.05
SWEEP_SECONDS = 5.0
"""For killed processes to be gone. One that waits for a disk, or is another user's, may not go at all."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


def keep(command: Sequence[str], *, parent: int, grace: float) -> int:
    """Run a command to its end, or until SIGTERM comes or `parent` is gone; then end all that it started.

    Told to end, the command gets SIGTERM with its group, and `grace` seconds.

    Returns:
        Its exit code, negative for a signal.
    """
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop.request)
    _prctl(_PR_SET_CHILD_SUBREAPER)
    process = subprocess.Popen(command, process_group=0, preexec_fn=_die_with_the_keeper)  # noqa: PLW1509 - one thread
    kill_at: float | None = None
    while process.poll() is None:
        if kill_at is None and (stop.requested or os.getppid() != parent):
            kill_at = time.monotonic() + grace
            _signal_group(process, signal.SIGTERM)
        if kill_at is not None and time.monotonic() >= kill_at:
            break
        time.sleep(POLL)
    if not _LINUX:
        _signal_group(process, signal.SIGKILL)
    process.kill()
    code = process.wait()
    _sweep()
    return code


class _Stop:
    """Whether we were told to end."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, _number: int, _frame: object) -> None:
        """Handle a signal."""
        self.requested = True


def _sweep() -> None:
    """Kill until no child is left: the children of one that was killed are ours when it has ended."""
    until = time.monotonic() + SWEEP_SECONDS
    while _has_children() and time.monotonic() < until:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(POLL / 10)


def _has_children() -> bool:
    """Whether a child is left that has not ended. The kernel's word, as /proc is no picture of one moment."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = folder.joinpath("stat").read_bytes()
        except OSError:  # it has gone meanwhile
            continue
        # proc_pid_stat(5): the parent is field 4. The second field, in parentheses, may hold anything.
        if int(stat.rpartition(b")")[2].split()[1]) == os.getpid():
            yield int(folder.name)


def _die_with_the_keeper() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int = 1) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # nobody is left in it
        return


def _end_like(code: int) -> None:
    """End as the command did, so that whoever follows sees its signal; without a second core file."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:  # those have no handler to take off
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    _, _parent, _grace, *_command = sys.argv
    _end_like(keep(_command, parent=int(_parent), grace=float(_grace)))
