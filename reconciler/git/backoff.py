"""How long to wait before the next try."""

from __future__ import annotations

TRIES = 10
BASE_SECONDS = 1.0
GROWTH = 1.5
CAP_SECONDS = 30.0


def wait_seconds(tries: int, *, chance: float) -> float:
    """Seconds to wait after `tries` failed tries; `chance` is drawn evenly from 0 to 1.

    Full jitter: writers that collided once would meet again if each waited the same.
    (AWS Architecture Blog, "Exponential Backoff And Jitter"; base, growth and cap are those of Kargo's git pusher.)
    """
    return chance * min(CAP_SECONDS, BASE_SECONDS * GROWTH ** (tries - 1))
