"""Time as it is handed in, so that a test waits for nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """What time it is, and how to let it pass. A `sleep` that raises ends the wait, as an interrupt should."""

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


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
