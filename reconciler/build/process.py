"""Runs one process whose output is a file that is followed, and leaves nothing of it running.

Why a file and not a pipe: Packer dies by SIGPIPE, without cleaning up, when the reader of its output dies. Writing to
a file in a session of its own it outlives us, finishes, and what it built is adopted by the next run (seen with 1.6.6).

Why the group and not the process: Packer is a wrapper, the real Packer and one process per plugin. SIGINT to the
wrapper alone is swallowed, SIGTERM to it alone orphans what shell-local started, SIGKILL to it alone stops nothing.

Whether a process outlived us is seen by the lock on its stdout, which it shares with us; see `outlived`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from reconciler.model.errors import UserError

Clock = Callable[[], float]

GRACE = 15 * 60.0
"""Seconds between SIGTERM and SIGKILL.

Packer's clean-up after SIGTERM is not limited by Packer. It waits for the instance to terminate, at most 40 polls
15 seconds apart with the amazon plugin's defaults, and then deletes the security group and the key pair. 15 minutes
hold that; killed earlier, Packer leaves a running instance behind, which costs more than the wait.
"""

MOST_OUTPUT = 512 << 20
"""Bytes that a process may print before it is ended: a build with Packer's own log, and of hours, has a tenth."""

_POLL = 0.05
_PIECE = 1 << 16


@dataclass(frozen=True)
class Command:
    """What to run. `environment` is the whole environment of the process, nothing is inherited beside it."""

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Exit:
    """How a process ended. `code` is negative for a signal, as in `subprocess`; `seconds` since it was started."""

    code: int
    seconds: float
    cancelled: bool = False
    timed_out: bool = False
    flooded: bool = False
    """A process that printed without end."""
    killed: bool = False
    """It outlasted the grace after SIGTERM. What it had created may still exist."""


def follow(
    command: Command,
    on_output: Callable[[bytes], None],
    *,
    stdout: Path,
    stderr: Path,
    timeout: float,
    cancelled: threading.Event,
    grace: float = GRACE,
    clock: Clock = time.monotonic,
    most: int = MOST_OUTPUT,
) -> Exit:
    """Run a process to its end and hand over what it prints on stdout, piece by piece, as it appears.

    Both files are created, readable by their owner only; they must not exist. stderr has a file of its own: a line of
    it that came between two halves of a line on stdout would destroy an artifact's record. The process and all its
    group get SIGTERM when `cancelled` is set, after `timeout` seconds, or after `most` bytes of output, and SIGKILL
    `grace` seconds later.

    Raises:
        UserError: the program cannot be started.
    """
    started = clock()
    with _private(stdout) as out, _private(stderr) as err, stdout.open("rb") as reader, _noted(stdout) as note:
        fcntl.flock(out, fcntl.LOCK_EX)
        process = _start(command, out, err)
        note(process.pid)
        stop = _Stop(process, clock=clock, grace=grace)
        try:
            while not _has_ended(process):
                behind = _hand_over(reader, on_output)
                if cancelled.is_set():
                    stop.request(cancelled=True)
                elif clock() - started >= timeout:
                    stop.request(timed_out=True)
                elif os.fstat(out.fileno()).st_size + os.fstat(err.fileno()).st_size > most:
                    stop.request(flooded=True)
                stop.enforce()
                if not behind:
                    _pause(cancelled, stopping=stop.since is not None)
            while _hand_over(reader, on_output):
                pass
        finally:
            # Also when on_output raised: a build that nobody follows must not go on.
            stop.finish()
    return Exit(
        code=process.returncode,
        seconds=clock() - started,
        cancelled=stop.cancelled,
        timed_out=stop.timed_out,
        flooded=stop.flooded,
        killed=stop.killed,
    )


def outlived(folder: Path) -> int | None:
    """The process that still writes to one of the files in `folder`: its id, 0 if that is not known; None if none does.

    Asked of a folder whose own run is gone. The id names the process group, too.
    """
    return next((pid for stdout in folder.glob("*.stdout") if (pid := _writer(stdout)) is not None), None)


def _writer(stdout: Path) -> int | None:
    try:
        with stdout.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # removed just now, by another run
        return None
    except BlockingIOError:
        with suppress(FileNotFoundError):
            return int(_note(stdout).read_text() or 0)
        return 0
    return None


def _note(stdout: Path) -> Path:
    return stdout.with_suffix(".pid")


@contextmanager
def _noted(stdout: Path) -> Iterator[Callable[[int], object]]:
    """Note the process beside its stdout, for as long as it is followed."""
    with _private(_note(stdout)) as file:
        try:
            yield lambda pid: (file.write(b"%d" % pid), file.flush())
        finally:
            _note(stdout).unlink(missing_ok=True)


class _Stop:
    """The way from running to stopped: SIGTERM, a grace, SIGKILL, always to the whole group."""

    def __init__(self, process: subprocess.Popen[bytes], *, clock: Clock, grace: float) -> None:
        self._process, self._clock, self._grace = process, clock, grace
        self.since: float | None = None
        self.cancelled = self.timed_out = self.flooded = self.killed = False

    def request(self, *, cancelled: bool = False, timed_out: bool = False, flooded: bool = False) -> None:
        """Ask the process to end. Only the first request counts."""
        if self.since is None:
            self.since, self.cancelled, self.timed_out = self._clock(), cancelled, timed_out
            self.flooded = flooded
            _signal_group(self._process, signal.SIGTERM)

    def enforce(self) -> None:
        """Kill what was asked to end and did not within the grace."""
        if self.since is not None and not self.killed and self._clock() - self.since >= self._grace:
            self.killed = True
            _signal_group(self._process, signal.SIGKILL)

    def finish(self) -> None:
        """Wait for the end, asking for it if need be, then end whatever the process left in its group."""
        if not _has_ended(self._process):
            self.request()
        while not _has_ended(self._process):
            self.enforce()
            threading.Event().wait(_POLL)
        _signal_group(self._process, signal.SIGKILL)
        self._process.wait()


def _start(command: Command, out: BinaryIO, err: BinaryIO) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(command.arguments),
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{command.arguments[0]} cannot be started in {command.folder}: {error.strerror}") from error


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "wb") as file:
        yield file


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended. It is not reaped: until then its id, which names the group too, is given to nobody else."""
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        # Nobody is left in the group. macOS says PermissionError where only the ended leader is.
        return


def _hand_over(reader: BinaryIO, on_output: Callable[[bytes], None]) -> bool:
    """Hand one piece over. Whether there may be more: one at a time, so that endless output delays no time limit."""
    piece = reader.read(_PIECE)
    if piece:
        on_output(piece)
    return len(piece) == _PIECE


def _pause(cancelled: threading.Event, *, stopping: bool) -> None:
    # A set event does not wait, so once the process was asked to end another one measures the time.
    (threading.Event() if stopping else cancelled).wait(_POLL)
