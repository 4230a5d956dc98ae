"""What a builder can use of the machine that Packer is run on: each kind that leaves a choice looks for itself."""

from __future__ import annotations

from typing import Protocol

from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Builder


class Machine(Protocol):
    """This machine, as the builders of one kind may use it."""

    def best(self) -> str:
        """The value of `Builder.machine` with which a builder runs best here. It may take seconds, once a process."""

    def refusal(self, builder: Builder) -> ReconcilerError | None:
        """Why a builder would not get far here, as its template has it; None where nothing is known against it."""
