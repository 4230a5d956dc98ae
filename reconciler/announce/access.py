"""How receivers are reached: tokens and secrets from the environment, and how long an answer is waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.model.errors import Terminal

# Tokens and secrets, by the environment variables that hold them.


@dataclass(frozen=True)
class Credential:
    """A value, which is never shown, and the variable that it came from, which is."""

    variable: str
    value: str

    def __repr__(self) -> str:
        """Without the value: a dataclass would print it into every log."""
        return f"Credential({self.variable!r}, …)"


def credential(environment: Mapping[str, str], *variables: str, purpose: str) -> Credential:
    """The first of these variables that holds something, without the blanks around it.

    Raises Terminal when none does, or when it could not stand in a header. `purpose` says what it is for.
    """
    for variable in variables:
        value = environment.get(variable, "").strip()
        if value:
            if not (value.isascii() and value.isprintable()):
                raise Terminal(
                    f"{variable} holds line breaks or characters that are not ASCII",
                    hint="it may be a file's content or a wrong paste; set it anew",
                )
            return Credential(variable, value)
    raise Terminal(
        f"no {purpose}: {' and '.join(variables)} {'is' if len(variables) == 1 else 'are'} not set",
        hint=f"set {variables[0]} where this runs (in CI as a secret of the job)",
    )


# How long receivers are waited for.


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class RetryPolicy:
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
