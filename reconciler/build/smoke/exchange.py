"""One question to an instance and its answer, of which no more is taken than was agreed on.

Whoever built an image decides what it answers. One that never stops would otherwise fill the memory of the job, and
end it with all that it had still to record.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from reconciler.build.shell import AnsweredTooMuch, Ran

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
