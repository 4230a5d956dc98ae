"""What differs between the insides of two builds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.inventory import SECTIONS, PackageKind
from reconciler.model.values import Instant, Model

Change = Literal["added", "removed", "upgraded", "downgraded", "changed"]


class Moved(Model):
    """One thing that was another before. Empty text where it was not known."""

    old: str
    new: str


class PackageChange(Model):
    """One package. `old` is absent where it was added, `new` where it was removed."""

    name: str
    kind: PackageKind
    architecture: str
    change: Change = Field(description="`changed` where nobody can say which of the two versions is the newer.")
    old: str | None = None
    new: str | None = None


class Listed(Model):
    """What is there now and was not, and what was there and is not."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything came or went."""
        return bool(self.added or self.removed)


class Difference(Model):
    """What the newer of two inventories has, and has not. What was not known on either side is in `unknown`."""

    os: Moved | None = None
    kernel: Moved | None = None
    packages: tuple[PackageChange, ...] = Field((), description="By name.")
    services: Listed = Listed()
    ports: Listed = Field(Listed(), description="As `tcp 0.0.0.0:22 (sshd)`.")
    users: Listed = Field(Listed(), description="As `deploy (1000, /bin/bash)`.")
    suid: Listed = Listed()
    unknown: dict[str, str] = Field({}, description="Why a section could not be compared, by its name.")

    @property
    def nothing(self) -> bool:
        """Whether no change was seen. What is unknown may have changed."""
        return not (self.os or self.kernel or any(getattr(self, section.name) for section in SECTIONS))

    @property
    def same(self) -> bool:
        """Whether everything was compared, and nothing has changed."""
        return self.nothing and not self.unknown


class Comparison(Model):
    """The answer of `reconciler diff`: two builds of one image, and what differs inside them."""

    format_version: Literal["1.0"] = "1.0"
    image: str
    old: str = Field(description="A build id.")
    new: str = Field(description="A build id.")
    difference: Difference


class StableChange(Model):
    """An image whose stable build is another one than it was."""

    image: str
    was: str | None = Field(description="The image's name then, or null where nothing of it was recorded.")
    old: str | None = Field(description="The stable build id then; null where there was none.")
    new: str | None = Field(description="The stable build id now; null where there is none.")
    difference: Difference | None = Field(None, description="What differs inside; null where that is not known.")
    unknown: str | None = Field(None, description="Why it is not.")


class Changes(Model):
    """The answer of `reconciler diff --since`: every image whose stable build changed, by name."""

    format_version: Literal["1.0"] = "1.0"
    since: Instant
    old: str | None = Field(description="The commit that was the newest then; null where all are younger.")
    new: str = Field(description="The commit that is looked at.")
    images: int = Field(description="How many images were looked at.")
    complete: bool = Field(description="False in a clone whose history begins later than that.")
    changed: tuple[StableChange, ...]
