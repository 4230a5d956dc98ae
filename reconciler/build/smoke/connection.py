"""One SSH connection to an instance, which everything that asks the instance something goes through."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from reconciler.build.process import Clock
from reconciler.build.smoke.client import ALIAS, CONNECT_SECONDS, ClientConfig, Refusal, no_command, refusal
from reconciler.build.smoke.exchange import AnsweredTooMuch, CommandTimedOut, ConnectionLost, Ran, exchange
from reconciler.model.errors import Terminal, UserError
from reconciler.ports.bench import Reached

CANCELLED = "the smoke test was cancelled"

# The remote end of the connection says that it is up, and lives as long as our end of its stdin: if we are killed,
# nothing of it is left. Any shell understands it.
_READY = b"reconciler-is-connected"
_HOLD = f"echo {_READY.decode()} && exec cat >/dev/null"

_ATTEMPT_SECONDS = 3.0 * CONNECT_SECONDS
"""ConnectTimeout does not cover all of it: a server that accepts and is then silent may take this long."""
_MOST_SAID = 1 << 16
"""Bytes that are read of a greeting, and of what the client complains of. A server may have it print anything."""
_MOST_KEPT = 16 << 20
"""Bytes that a client's error output may take on the disk before the connection counts as lost."""
_POLL = 0.1
_SSH_FAILED = 255


@dataclass(frozen=True)
class Login:
    """The host that is connected to and the user who logs in there, as messages name them."""

    where: str
    user: str


class Connection:
    """A connection that can be opened, lost and opened anew. It is a `Shell`. Not for two threads at once.

    `environment` is the whole environment of `ssh`, or of the command by which the instance is `reached` instead.
    """

    def __init__(
        self,
        config: ClientConfig,
        login: Login,
        *,
        environment: Mapping[str, str],
        cancelled: threading.Event,
        clock: Clock = time.monotonic,
        reached: Reached | None = None,
    ) -> None:
        self._config, self._login, self._environment = config, login, dict(environment)
        self._reached = reached
        self._cancelled, self._clock = cancelled, clock
        self._master: subprocess.Popen[bytes] | None = None
        self._stderr = config.file.with_name("ssh.stderr")

    def open(self) -> Refusal | None:
        """Try once to connect; None if it worked, else why not.

        Raises:
            UserError: there is no OpenSSH client.
            Terminal: cancelled.
        """
        self.close()
        # A killed client leaves its socket, and the next one would do without.
        self._config.socket.unlink(missing_ok=True)
        with self._stderr.open("wb") as stderr:
            master = self._start("-o", "ControlMaster=yes", command=_HOLD, stderr=stderr)
        self._master = master
        printed = self._greeting(master)
        if _READY in printed:
            return None
        silent = master.poll() is None and len(printed) < _MOST_SAID
        self.close()
        if silent:
            return Refusal("silent", f"{self._login.where} accepts the connection, and is silent then")
        said = self._said()
        if master.returncode == _SSH_FAILED and self._reached is None:
            return refusal(said, where=self._login.where, user=self._login.user)
        text = printed.decode(errors="replace") or said
        return no_command(text, where=self._login.where, user=self._login.user)

    @property
    def lost(self) -> bool:
        """Whether the connection that was opened is gone."""
        if self._master is not None and self._stderr.stat().st_size > _MOST_KEPT:
            self.close()
        return self._master is None or self._master.poll() is not None

    def why_lost(self) -> Refusal:
        """Why it is gone, as the client says."""
        return refusal(self._said(), where=self._login.where, user=self._login.user)

    def run(self, command: str, *, input: bytes = b"", timeout: float) -> Ran:  # noqa: A002 - as Shell has it
        """Run a command; see `Shell.run`."""
        if self.lost:
            raise ConnectionLost(f"the connection to {self._login.where} is lost")
        process = self._start(command=command, stderr=subprocess.PIPE)
        ended = self._until_ended(process, given=input, timeout=timeout)
        if ended.status == _SSH_FAILED and self._is_lost_now():
            raise ConnectionLost(f"the connection to {self._login.where} was lost")
        return ended

    def knock(self, *, timeout: float) -> Refusal | None:
        """Log in once more, by a connection of its own; None if the same host let us in, else what went wrong."""
        process = self._start("-o", "ControlPath=none", command="exit 0", stderr=subprocess.PIPE)
        try:
            ended = self._until_ended(process, given=b"", timeout=timeout)
        except (CommandTimedOut, AnsweredTooMuch):
            return Refusal("silent", f"{self._login.where} does not answer a second login")
        if ended.status == 0 or (ended.status != _SSH_FAILED and self._reached is None):
            return None
        return refusal(ended.stderr.decode(errors="replace"), where=self._login.where, user=self._login.user)

    def close(self) -> None:
        """End the connection, and with it whatever still runs by it here. No error if there is none."""
        if self._master is not None:
            _end(self._master)

    def _said(self) -> str:
        """The end of what the client complained of."""
        with self._stderr.open("rb") as file:
            file.seek(max(0, self._stderr.stat().st_size - _MOST_SAID))
            return file.read(_MOST_SAID).decode("utf-8", "replace")

    def _greeting(self, master: subprocess.Popen[bytes]) -> bytes:
        """What it printed until it was connected, had ended, or took too long."""
        printed, until = b"", self._clock() + _ATTEMPT_SECONDS
        if master.stdout is None:  # it was asked for
            raise AssertionError
        while _READY not in printed and len(printed) < _MOST_SAID and self._clock() < until:
            self._check_cancelled()
            if select.select([master.stdout], [], [], _POLL)[0]:
                piece = os.read(master.stdout.fileno(), 1 << 12)
                if not piece:
                    # Nothing more will come; the exit code is a moment away.
                    master.wait(_ATTEMPT_SECONDS)
                    break
                printed += piece
        return printed

    def _until_ended(self, process: subprocess.Popen[bytes], *, given: bytes, timeout: float) -> Ran:
        until = self._clock() + timeout

        def check() -> None:
            self._check_cancelled()
            if self._clock() >= until:
                raise CommandTimedOut(f"no answer within {timeout:g} s")

        try:
            return exchange(process, given, check=check, poll=_POLL)
        finally:
            _end(process)

    def _is_lost_now(self) -> bool:
        """Whether the connection is gone, when a command has just failed: the two processes end in either order."""
        if self._master is not None:
            try:
                self._master.wait(1.0)
            except subprocess.TimeoutExpired:
                return False
        return True

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            self.close()
            raise Terminal(CANCELLED)

    def _start(self, *options: str, command: str, stderr: BinaryIO | int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._arguments(options, command),
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )

    def _arguments(self, options: Sequence[str], command: str) -> list[str]:
        if self._reached is not None:
            return [*self._reached.command, "sh", "-c", command]
        return [client(self._environment), "-F", str(self._config.file), *options, ALIAS, command]


def client(environment: Mapping[str, str], *, program: str = "ssh") -> str:
    """Where the OpenSSH client, or another program of its package, is.

    Raises:
        UserError: it is not on the PATH.
    """
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise UserError(
            f"images are tested over SSH, and there is no `{program}` on the PATH",
            hint="install it: `apt-get install openssh-client`, `dnf install openssh-clients`",
        )
    return found


@contextmanager
def closing(connection: Connection) -> Iterator[Connection]:
    """The connection, closed at the end."""
    try:
        yield connection
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a client, if it has not ended, and let go of its pipes."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
