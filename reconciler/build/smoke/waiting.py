"""Waits for an instance that boots until it lets us in, or until it is clear that it will not."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.build.process import Clock
from reconciler.build.smoke.ssh_words import Refusal
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.values import format_duration

GONE = ("shutting-down", "terminated", "stopping", "stopped")
"""States in which no instance answers any more
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html)."""

RETRY_SECONDS = 2.0
ASK_SECONDS = 10.0
"""How often the cloud is asked whether the instance is still there."""


def wait_for_ssh(
    attempt: Callable[[], Refusal | None],
    *,
    alive: Callable[[], str],
    timeout: float,
    clock: Clock,
    pause: Callable[[float], object],
) -> str | None:
    """Try until an attempt works; None then, else one line that says why it never did.

    A refused key is no reason to give up: a server that runs already lets nobody in until cloud-init has written the
    key. `pause` takes seconds. What `alive` raises counts as "not known".

    Raises:
        Terminal: the fault is this machine's, which says nothing of the image.
    """
    begun = asked = clock()
    while (refused := attempt()) is not None:
        now = clock()
        if refused.kind == "here" or (refused.kind == "unreachable" and now - begun >= timeout):
            raise Terminal(f"it could not be tested here: {refused.text}")
        if now - begun >= timeout:
            return f"no SSH within {format_duration(int(timeout))}: {refused.text}"
        if now - asked >= ASK_SECONDS:
            asked = now
            if (state := gone(alive)) is not None:
                return f"the instance is {state}, before SSH answered"
        pause(RETRY_SECONDS)
    return None


def gone(alive: Callable[[], str]) -> str | None:
    """The state of an instance that is gone; None where it is there, or nobody can say."""
    try:
        state = alive()
    except ReconcilerError:
        return None
    return state if state in GONE else None
