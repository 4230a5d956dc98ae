"""Waits for an instance until it lets us in, and watches the connection from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.build.process import Clock
from reconciler.build.smoke.client import Refusal
from reconciler.build.smoke.connection import Connection
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.kind import SSH
from reconciler.model.values import format_duration

# Waits for an instance that boots until it lets us in, or until it is clear that it will not.

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
    way: str = SSH,
) -> str | None:
    """Try until an attempt works; None then, else one line that says why it never did.

    A refused key is no reason to give up: a server that runs already lets nobody in until cloud-init has written the
    key. `pause` takes seconds; `way` is what it is reached by. What `alive` raises counts as "not known".

    Raises:
        Terminal: the fault is this machine's, which says nothing of the image.
    """
    begun = asked = clock()
    while (refused := attempt()) is not None:
        now = clock()
        if refused.kind == "here" or (refused.kind == "unreachable" and now - begun >= timeout):
            raise Terminal(f"it could not be tested here: {refused.text}")
        if now - begun >= timeout:
            return f"no {way} within {format_duration(int(timeout))}: {refused.text}"
        if now - asked >= ASK_SECONDS:
            asked = now
            if (state := gone(alive)) is not None:
                return f"the instance is {state}, before {way} answered"
        pause(RETRY_SECONDS)
    return None


def gone(alive: Callable[[], str]) -> str | None:
    """The state of an instance that is gone; None where it is there, or nobody can say."""
    try:
        state = alive()
    except ReconcilerError:
        return None
    return state if state in GONE else None


# Watches the connection while tests run by it, and ends them when it is gone for good.
#
# Else every test that is left would fail, one connect timeout after the other, and for nothing that is in the image.

PATIENCE_SECONDS = 60.0
"""For an instance that a test restarts to be back."""

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 1.0


class Watch:
    """One run under watch. `stop` is set when there is no use in going on; `found` then says why, unless cancelled."""

    def __init__(
        self,
        connection: Connection,
        *,
        alive: Callable[[], str],
        cancelled: threading.Event,
        clock: Clock,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.stop = threading.Event()
        self.found: str | None = None
        self._connection, self._alive, self._cancelled, self._clock = connection, alive, cancelled, clock
        self._patience = patience
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch for the length of a `with` block. Nobody else may use the connection meanwhile."""
        watcher = threading.Thread(target=self._look, name="smoke-test-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join()
        if self.found is None and self._connection.lost and not self._cancelled.is_set():
            self._restore()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            if self._cancelled.is_set() or (self._connection.lost and not self._restore()):
                self.stop.set()
                return

    def _restore(self) -> bool:
        """Connect anew, as after a restart that a test asked for. False, with `found`, if that can't be."""
        why, until = self._connection.why_lost(), self._clock() + self._patience
        while True:
            try:
                if (state := gone(self._alive)) is not None:
                    self.found = f"the instance was {state} while it was tested"
                    return False
                refused = self._connection.open()
            except ReconcilerError:  # cancelled
                return False
            if refused is None:
                return True
            if refused.kind == "changed-key":
                self.found = f"{refused.text}, while it was tested"
                return False
            if self._clock() >= until:
                self.found = f"the connection was lost while it was tested: {why.text}"
                return False
            self._cancelled.wait(_RETRY_SECONDS)
