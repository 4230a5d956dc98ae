"""What may be used of this machine: by a builder, of which each kind looks for itself, and for caches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Builder


class Machine(Protocol):
    """This machine, as the builders of one kind may use it."""

    def best(self) -> str:
        """The value of `Builder.machine` with which a builder runs best here. It may take seconds, once a process.

        Empty where no builder of the kind leaves a choice.
        """

    def refusal(self, builder: Builder, location: str) -> ReconcilerError | None:
        """Why a builder would not get far here, as its template has it; None where nothing is known against it.

        `location` is where what it makes is to be kept.
        """


def cache_of(environment: Mapping[str, str], name: str) -> Path | None:
    """Where a user's cache of that name is: below XDG_CACHE_HOME, else ~/.cache; None where there is neither.

    The XDG base directory specification has relative ones ignored.
    """
    base, home = Path(environment.get("XDG_CACHE_HOME", "")), Path(environment.get("HOME", ""))
    if not base.is_absolute():
        base = home / ".cache"
    return base / "reconciler" / name if base.is_absolute() else None
