"""Commands on a booted instance, over the one SSH connection that a test has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reconciler.model.errors import Transient


class ConnectionLost(Transient):
    """The connection is gone, and with it whatever the command had still to say. No later command will run."""


class CommandTimedOut(Transient):
    """The command did not end in time, and was ended. Later commands run."""


class AnsweredTooMuch(Transient):
    """The command printed more than anybody reads, and was ended. Later commands run."""


@dataclass(frozen=True)
class Ran:
    """What a command left. `status` is its exit code, 255 where a signal ended it (OpenSSH tells no more)."""

    status: int
    stdout: bytes
    stderr: bytes


class Shell(Protocol):
    """Whoever runs commands on the instance. One command at a time."""

    def run(self, command: str, *, input: bytes = b"", timeout: float) -> Ran:  # noqa: A002 - as subprocess.run has it
        """Run a command line in the login user's shell, with `input` as its stdin. An exit code is no exception.

        The user need not be root: `sudo -n` where it is there. `timeout` is in seconds.

        Raises:
            ConnectionLost: the instance or its SSH is gone.
            CommandTimedOut: it takes longer than `timeout`.
            AnsweredTooMuch: it prints without end.
            Terminal: the test was cancelled meanwhile.
        """
