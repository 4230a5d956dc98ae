"""What a command in an instance answers: bounded, as whoever is root there decides what `/bin/sh` is."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence

MOST = 1 << 20
"""Bytes of an answer, and of what is said beside it."""
SECONDS = 60.0


class TooLong(OSError):
    """A command answers more bytes than are heard."""


def answer(
    command: Sequence[str], *, environment: Mapping[str, str], seconds: float = SECONDS, most: int = MOST
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, and return what it wrote to stdout and stderr, and its exit code.

    Raises subprocess.TimeoutExpired once it takes longer; TooLong for more bytes than `most` to one of the two. It
    is ended then.
    """
    with subprocess.Popen(
        command, cwd="/", env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            out, errors = _heard(process, until=time.monotonic() + seconds, most=most)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _heard(process: subprocess.Popen[bytes], *, until: float, most: int) -> tuple[bytes, bytes]:
    """What a process writes until it has ended."""
    out, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, heard in ((process.stdout, out), (process.stderr, errors)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, heard)
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, SECONDS)
            for key, _ in selector.select(timeout=left):
                part = os.read(key.fd, 1 << 16)
                if not part:
                    selector.unregister(key.fileobj)
                key.data.extend(part)
                if len(key.data) > most:
                    raise TooLong(f"it answers more than {most:,} bytes")
    process.wait(max(0, until - time.monotonic()))
    return bytes(out), bytes(errors)
