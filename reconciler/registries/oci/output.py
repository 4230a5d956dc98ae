"""What a command of an engine prints, of which no more is held than was agreed on."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable
from contextlib import suppress

from reconciler.model.errors import Transient

MOST = 4 << 20
"""Bytes of each of a command's two outputs: a list of thirty thousand containers."""
_PIECE = 1 << 16
_LOOK = 0.1
"""Seconds between two looks whether a command is to be ended."""


class TooMuch(Transient):
    """A command prints more than is held."""


def taken(
    process: subprocess.Popen[bytes], *, check: Callable[[], object], last: bool = False, most: int = MOST
) -> tuple[bytes, bytes]:  # fmt: skip
    """Take what a process prints, until it has ended: its two outputs, which are pipes. The process is the caller's.

    `check` is called several times a second, and ends it by raising. With `last` only the end of each output is kept,
    of `most` bytes: else TooMuch is raised for more.
    """
    if process.stdout is None or process.stderr is None:  # they were asked for
        raise AssertionError
    found = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream in (process.stdout, process.stderr):
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            check()
            for key, _ in ready.select(_LOOK):
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    ready.unregister(key.fileobj)
                found[key.fd] += piece
                if len(found[key.fd]) > most:
                    if not last:
                        raise TooMuch(f"it prints more than {most:,} bytes")
                    del found[key.fd][:-most]
    while process.poll() is None:
        check()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
    out, errors = map(bytes, found.values())
    return out, errors
