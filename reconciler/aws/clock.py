"""Time as it is handed in, so that a test waits for nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from tenacity import RetryCallState, Retrying
from tenacity.retry import RetryBaseT

from reconciler.model.errors import Transient

SETTLING = 60.0
"""Seconds for which something new may not be known everywhere. EC2 is eventually consistent (EC2 API developer guide).
"""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """What time it is, and how to let it pass. A `sleep` that raises ends the wait, as an interrupt should."""

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def sleep_until(cancelled: threading.Event, seconds: float) -> None:
    """Let time pass; a `sleep` of a `Clock`. Raises Transient once it is cancelled."""
    if cancelled.wait(seconds):
        raise Transient("interrupted while waiting; what was begun goes on in AWS, and the next run takes it up")


def clock_until(cancelled: threading.Event | None) -> Clock:
    """The clock of a run. Its waits end, with Transient, once the run is cancelled."""
    return Clock(sleep=partial(sleep_until, cancelled)) if cancelled is not None else Clock()


@dataclass(frozen=True)
class Polling:
    """Seconds between two looks: doubling from `first` up to `longest`."""

    first: float = 5
    longest: float = 60

    def delays(self) -> Iterator[float]:
        """Yield the delays, without end."""
        delay = self.first
        while True:
            yield delay
            delay = min(delay * 2, self.longest)


def asking_again(retry: RetryBaseT, *, patience: float, clock: Clock) -> Retrying:
    """Repeat an idempotent call for `patience` seconds while `retry` says so; the last answer or error is the call's.

    What was slept counts, not a clock, so that a handed-in sleep ends it as well.
    """

    def wait(state: RetryCallState) -> float:
        return min(2.0 ** (state.attempt_number - 1), max(patience - state.idle_for, 0.0), 8.0)

    def last(state: RetryCallState) -> object:
        if state.outcome is None:
            raise AssertionError("a call that was made has an outcome")
        return state.outcome.result()

    return Retrying(
        retry=retry, wait=wait, stop=lambda state: state.idle_for >= patience, sleep=clock.sleep,
        retry_error_callback=last,
    )  # fmt: skip
