"""What both sorts of location do with a disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from reconciler.model.lockfile import Artifact
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.ports.registry import Located, Remains

_FLEET = f"{TAG_PREFIX}fleet"


def is_that(name: str, tags: Mapping[str, str], *, there: str, marked: Mapping[str, str]) -> bool:
    """Whether what is `there`, `marked` so, is it: two fleets that build the same in one second give it one name."""
    return name == there and tags.get(_FLEET) == marked.get(_FLEET)


def size_of(disk: Located) -> int | None:
    """How large a disk is, in bytes, where a record says it."""
    return disk.size if isinstance(disk, Artifact) else None


class Shelf(Protocol):
    """Where disks are kept: one way to do so for all locations of a sort."""

    fleet: str

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """See `Registry.find`."""

    def listed(self, location: str) -> Iterator[Seen]:
        """See `PlainRegistry.listed`."""

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """See `Registry.tag`."""

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """See `Registry.is_same`."""

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """See `Registry.retire`: the marks go last, so that what is half gone is found again."""

    def taken(self, source: Located) -> AbstractContextManager[tuple[Path, Mapping[str, str]]]:
        """A file of this machine's with the disk in it, for as long as it is asked for, and its tags.

        Raises Terminal for what was not stored here.
        """

    def path(self, location: str, artifact_id: str, *, size: int | None = None) -> Path:
        """A file of this machine's with the disk in it, which stays.

        How large it is, where it is kept says before it is read. Raises UserError where that is more than a disk may
        have, and Terminal where that is not the `size` that is recorded, else what its marks say; or where its bytes
        are others.
        """

    def keep(
        self, file: Path, location: str, *, name: str, tags: Mapping[str, str], wanted: str | None = None
    ) -> str:  # fmt: skip
        """Store a file under its digest, once for each name, and return its id.

        Raises Terminal where it is not the `wanted` one, a `sha256:…`.
        """

    def size(self, location: str, artifact_id: str) -> int:
        """How large a disk is that is there, in bytes."""

    def drafting(self, location: str) -> AbstractContextManager[Path]:
        """A folder of one's own to make a disk in, for as long as it is asked for."""

    def keep_draft(self, draft: Path, location: str, *, name: str, tags: Mapping[str, str]) -> str:
        """Store a file that was made in such a folder, as `keep` does; it may be gone from there."""
