"""An annotated tag that no repository has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass
class SimulatedTag:
    """What a clone tells of a tag, with how often somebody asked for its signature, which takes git a process."""

    name: str
    message: str = ""
    signed: bool = False
    named_before: str = ""
    """The name that it was made for; empty for the one that it has."""
    asked: int = 0

    @property
    def made_for(self) -> str:
        """The name that it was made for."""
        return self.named_before or self.name

    def is_signed(self, since: Iterable[datetime] = ()) -> bool:
        """Whether it is under a good signature."""
        del since
        self.asked += 1
        return self.signed
