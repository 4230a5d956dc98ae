"""Takes an instance's inventory within the time that is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.build.lines import logged
from reconciler.build.process import Clock
from reconciler.build.shell import CommandTimedOut, Ran, Shell
from reconciler.build.smoke.connection import CANCELLED
from reconciler.build.smoke.session import Session
from reconciler.build.smoke.waiting import gone
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.inventory import Inventory

TakeInventory = Callable[[Shell], Inventory]

LEAST_SECONDS = 60.0
"""What the inventory gets even where the tests took all their time: it is wanted most of an image that failed."""


def take_stock(session: Session, take_inventory: TakeInventory) -> tuple[Inventory | None, str | None]:
    """The inventory, or None with one line that says why there is none.

    Raises:
        Terminal: cancelled.
    """
    session.tell("taking the inventory")
    until = max(session.until, session.clock() + LEAST_SECONDS)
    try:
        return take_inventory(_InTime(session.connection, until, session.clock)), None
    except ReconcilerError as error:
        if session.cancelled.is_set():
            raise Terminal(CANCELLED) from error
        session.log.write("".join(f"{logged(line)}\n" for line in session.redact(str(error)).split("\n")))
        if session.connection.lost and (state := gone(session.request.alive)) is not None:
            return None, f"the instance was {state} while its inventory was taken"
        return None, f"the inventory could not be taken: {session.redact(error.what)}"


@dataclass(frozen=True)
class _InTime:
    """A shell whose commands all end by a certain time."""

    shell: Shell
    until: float
    clock: Clock

    def run(self, command: str, *, input: bytes = b"", timeout: float) -> Ran:  # noqa: A002 - as Shell has it
        left = self.until - self.clock()
        if left <= 0:
            raise CommandTimedOut("no time was left for it")
        return self.shell.run(command, input=input, timeout=min(timeout, left))
