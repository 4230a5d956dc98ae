"""How long receivers are waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Patience:
    """Tries, timeouts and pauses, with time and chance handed in.

    Three tries of ten seconds: a receiver that is down costs a run half a minute and not an hour. What it missed it
    is told by the next run.
    """

    tries: int = 3
    timeout: float = 10.0
    """Seconds to connect, and again to the first byte of the answer."""
    whole: float = 30.0
    """Seconds for all of one try. A receiver that drips its answer starts `timeout` anew with each byte."""
    base: float = 1.0
    """Seconds of the longest first pause; each further one is twice as long."""
    longest_pause: float = 30.0
    """Seconds. A receiver that asks for a longer pause is left to the next run."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    now: Callable[[], datetime] = _utc_now

    def pause(self, failures: int) -> float:
        """Seconds to wait after this many failed tries, with full jitter."""
        return self.chance() * min(self.longest_pause, self.base * 2.0 ** (failures - 1))
