"""What a registry keeps of what was removed, and what was brought back. Its JSON is an interface (docs/formats.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from reconciler.model.values import Digest, Instant, Model

FORMAT: Literal["1.0"] = "1.0"
Outcome = Literal["restored", "there", "gone", "failed"]


@dataclass(frozen=True)
class Binned:
    """An artifact that was removed, and that its location keeps for a while. `until` is when it is gone for good."""

    kind: str
    location: str
    id: str
    name: str
    until: Instant | None


class Restorable(Model):
    """An artifact of the fleet that was removed, and can be brought back."""

    image: str
    build: str
    kind: str
    location: str
    id: str
    until: Instant | None = Field(description="From when it is gone for good; null: the registry does not say.")


class Restored(Model):
    """One artifact of a build, and what became of it."""

    kind: str
    location: str
    id: str
    outcome: Outcome = Field(
        description="restored: it is back. there: nothing had to be done. gone: nothing keeps it. failed: the next run "
        "tries again."
    )
    why: str = Field("", description="Why it is not back; empty where it is.")
    until: Instant | None = Field(None, description="Until when it could have been restored, where that is known.")


class Restoration(Model):
    """What was brought back of a build; without one, what of the fleet can be."""

    format_version: Literal["1.0"] = FORMAT
    head: Digest = Field(description="The commit that was looked at.")
    image: str | None = None
    build: str | None = None
    artifacts: tuple[Restored, ...] = ()
    commit: str | None = Field(None, description="What records it; null where nothing had to be recorded.")
    proposed: bool = Field(False, description="Whether that commit is proposed, and waits to be merged.")
    remarks: tuple[str, ...] = Field((), description="What is not as it was, and what comes of it, for people.")
    restorable: tuple[Restorable, ...] = Field((), description="Without a build: what can be brought back.")
    kept_for: dict[str, int | None] = Field(
        {}, description="For how many days each location keeps what is removed from now on; 0: it is gone for good; "
        "null: not known.",
    )  # fmt: skip
    unread: dict[str, str] = Field({}, description="Locations of which it is not known what they keep, and why.")

    @property
    def is_back(self) -> bool:
        """Whether every artifact is there."""
        return all(one.outcome in ("restored", "there") for one in self.artifacts)
