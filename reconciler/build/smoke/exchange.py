"""Commands on a booted instance, and one question and its answer of bounded size."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Protocol

from reconciler.model.errors import Transient

# Commands on a booted instance, over the one SSH connection that a test has.


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


# One question to an instance and its answer, of which no more is taken than was agreed on.
#
# Whoever built an image decides what it answers. One that never stops would otherwise fill the memory of the job, and
# end it with all that it had still to record.

MOST_BYTES = 16 << 20
"""Of an answer, errors included. The inventory of a machine with 3,000 packages has 1 MB."""

_PIECE = 1 << 16
_AT_ONCE = 512
"""Bytes that a pipe takes without a wait once it takes any (PIPE_BUF of POSIX)."""


def exchange(
    process: subprocess.Popen[bytes],
    given: bytes,
    *,
    check: Callable[[], object],
    poll: float,
    most: int = MOST_BYTES,
) -> Ran:
    """Hand over the input and take the answer, until the process has ended. Its three streams are pipes.

    `check` is called every `poll` seconds at least, and ends the exchange by raising. The process is the caller's to
    end, also where this raises.

    Raises:
        AnsweredTooMuch: it printed more than `most` bytes.
    """
    if process.stdin is None or process.stdout is None or process.stderr is None:  # they were asked for
        raise AssertionError
    answers = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream in (process.stdout, process.stderr):
            ready.register(stream, selectors.EVENT_READ)
        ready.register(process.stdin, selectors.EVENT_WRITE)
        left = memoryview(given)
        while ready.get_map():
            check()
            for key, _ in ready.select(poll):
                if key.fd not in answers:
                    left = _written(key.fd, left)
                    if not left:
                        ready.unregister(process.stdin)
                        _close(process.stdin)
                elif not _taken(key.fd, answers, most=most):
                    ready.unregister(key.fileobj)
    while process.poll() is None:
        check()
        with suppress(subprocess.TimeoutExpired):
            process.wait(poll)
    stdout, stderr = map(bytes, answers.values())
    return Ran(process.returncode, stdout, stderr)


def _taken(pipe: int, answers: dict[int, bytearray], *, most: int) -> bool:
    """Take a piece of an answer; False at its end."""
    piece = os.read(pipe, _PIECE)
    answers[pipe] += piece
    if sum(map(len, answers.values())) > most:
        raise AnsweredTooMuch(f"it answered with more than {most >> 20} MiB")
    return bool(piece)


def _written(pipe: int, left: memoryview) -> memoryview:
    """What is left to write after a piece more; nothing where nobody reads it any more."""
    try:
        return left[os.write(pipe, left[:_AT_ONCE]) :] if left else left
    except BrokenPipeError:
        return left[:0]


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        pipe.close()
