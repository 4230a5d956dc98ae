"""What `gc` judged of each artifact, and what it did. Its JSON is an interface (docs/formats.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.lockfile import Conversion
from reconciler.model.values import Digest, Instant, Model, is_empty

FORMAT: Literal["1.0"] = "1.0"
Step = Literal["deprecate", "disable", "retire"]
Why = Literal[
    "superseded", "rejected", "preview",  # it goes
    "channel", "held", "newest", "revoked", "fallback", "child", "attempt", "live", "young", "pending", "used",
    "shared", "protected", "unread", "suspended", "invalid", "undeclared", "unrecorded", "stranger", "sibling",
    "undeletable",
]  # fmt: skip
STEPS: tuple[Step, ...] = ("deprecate", "disable", "retire")


class Fate(Model):
    """One artifact: whether it may go, why, and what comes next."""

    image: str
    build: str | None = Field(description="As its tags or its record have it; null where neither names one.")
    kind: str
    location: str
    id: str
    goes: bool
    code: Why = Field(description="Why it goes or stays (docs/lifecycle.md).")
    why: str = Field(description="The same for people, in one line.")
    step: Step | None = Field(None, description="What is done with it next; null where it stays.")
    due: Instant | None = Field(None, description="From when that may be done; null where it stays, and for now.")
    undo: Instant | None = Field(
        None, description="Until when at least a hold brings it back; null where it stays, and where nothing does."
    )
    conversions: tuple[Conversion, ...] = Field(
        (), description="The same in other formats, which goes with it; none where it stays.", exclude_if=is_empty
    )


class Took(Model):
    """One step that was taken."""

    image: str
    build: str | None
    step: Step
    location: str
    id: str
    parts: tuple[str, ...] = Field((), description="What it was stored in and stays, as something else uses it.")
    conversions: tuple[Conversion, ...] = Field(
        (), description="The same in other formats: each step is taken with it.", exclude_if=is_empty
    )
    stays: str = Field("", description="Why it is there still, though nothing is recorded of it; empty: it is not.")


class Unmanaged(Model):
    """Something of the account that no fleet's marks are on. It is listed, and never touched."""

    kind: str = Field(description="As of an artifact; `snapshot` is one that was made for an AMI that is gone.")
    location: str
    id: str
    name: str = ""


class Abandoned(Model):
    """Something that a build made to work with, and left as it was killed. No run of this fleet uses it any more."""

    image: str = Field(description="The image that was built, as its tags say; empty where they say none.")
    kind: str = Field(description="instance, key pair, volume or security group.")
    location: str
    id: str
    run: str = Field(description="The run that it was made by, as its tags say.")
    since: Instant | None = Field(description="When it was made; null where the registry does not tell.")


class Collection(Model):
    """What may go of a fleet, what stays, and what was done about it."""

    format_version: Literal["1.0"] = FORMAT
    head: Digest = Field(description="The commit that was looked at.")
    applied: bool = Field(description="Whether steps were taken, or only judged.")
    artifacts: tuple[Fate, ...]
    unread: dict[str, str] = Field({}, description="Locations that could not be read, and why: all stays there.")
    proposed: tuple[str, ...] = Field(
        (), description="Images of which the steps are proposed, and taken once that is merged.", exclude_if=is_empty
    )
    restorable: dict[str, int | None] = Field(
        {}, description="For how many days what is removed can be restored, by location in which that comes next; "
        "null: not known.",
    )  # fmt: skip
    unmanaged: dict[str, tuple[Unmanaged, ...] | None] = Field(
        {}, description="With --unmanaged: what no fleet's marks are on, by location; null: not known."
    )
    took: tuple[Took, ...] = ()
    abandoned: tuple[Abandoned, ...] = Field(
        (), description="What killed builds left to work with: what is removed next, or, once applied, what was."
    )
    failed: dict[str, str] = Field(
        {},
        description="Images, and what builds left in a location, of which a step failed, and why. "
        "The next run goes on.",
    )
    put_off: int = Field(0, ge=0, description="How many images had to wait for another run (limits.max_actions).")

    @property
    def going(self) -> tuple[Fate, ...]:
        """What may go."""
        return tuple(one for one in self.artifacts if one.goes)
