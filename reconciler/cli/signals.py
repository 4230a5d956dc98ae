"""TERM, INT and HUP: stop scheduling, let Packer clean up, record what is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from reconciler.cli.workspace import note


@contextmanager
def cancelled_by_signal() -> Iterator[threading.Event]:
    """An event that the first TERM, INT or HUP sets. A second one ends the process as if nobody listened.

    HUP comes when the terminal is closed. Begun with `nohup`, which ignores it, we go on.
    """
    cancelled = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if cancelled.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        cancelled.set()
        note("stopping: nothing new is begun, running builds clean up, what is done is recorded")

    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, *hangup)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
