"""TERM and INT: stop scheduling, let Packer clean up, record what is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from reconciler.cli.workspace import note


@contextmanager
def cancelled_by_signal() -> Iterator[threading.Event]:
    """An event that the first TERM or INT sets. A second one ends the process as if nobody listened."""
    cancelled = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if cancelled.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        cancelled.set()
        note("stopping: nothing new is begun, running builds clean up, what is done is recorded")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
