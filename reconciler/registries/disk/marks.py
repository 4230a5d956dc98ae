"""What stands beside a disk, in a file or an object of its own: its marks, as they are written and read everywhere."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Generic, TypeVar

from pydantic import ValidationError

from reconciler.model.errors import Terminal
from reconciler.model.values import Instant, Model, format_instant
from reconciler.registries.disk.files import is_id
from reconciler.registries.disk.looking import MOST_OF_MARKS

MARKS = ".json"
"""What the name of a disk's marks ends with, which begins with its id."""

Changed = TypeVar("Changed", int, str)
"""What tells that a disk was written anew: of a file when that was, in nanoseconds since 1970; of an object its ETag.
"""


class Marks(Model, Generic[Changed]):
    """What stands beside a disk. `seen` is its size in bytes, and what tells of writing, when it was last looked at."""

    id: str
    name: str
    created: Instant
    seen: tuple[int, Changed]
    tags: dict[str, str]

    def written(self, location: str) -> bytes:
        """These marks as they are kept. Raises Terminal for more than are read."""
        text = f"{self.model_dump_json(indent=2)}\n".encode()
        if len(text) > MOST_OF_MARKS:
            raise Terminal(
                f"the marks of {self.id} in {location} take {len(text):,} bytes, of {MOST_OF_MARKS:,} at most",
                hint="declare fewer or shorter `tags`",
            )
        return text


def new_marks(artifact_id: str, seen: tuple[int, Changed], *, created: Instant | None = None) -> Marks[Changed]:
    """The marks that a disk begins with which somebody else laid there: nothing but its id is known of it."""
    now = created or format_instant(datetime.now(UTC))
    return Marks(id=artifact_id, name=artifact_id, created=now, seen=seen, tags={})


def read(written: bytes, form: type[Marks[Changed]], *, artifact_id: str, place: str) -> Marks[Changed]:
    """The marks that were written at a place, in one of the two forms, of one disk.

    Raises Terminal for what are none, for more than are read, and for those of another disk.
    """
    found: Marks[Changed] | None = None
    if len(written) <= MOST_OF_MARKS:
        with suppress(ValidationError):
            found = form.model_validate_json(written)
    if found is None or found.id != artifact_id:
        raise Terminal(f"{place} holds no marks of a disk", hint="restore it, or move it away")
    return found


def refuse_no_id(location: str, artifact_id: str) -> None:
    """Raise Terminal for an id that is none: a lockfile may say anything."""
    if not is_id(artifact_id):
        raise Terminal(f"{artifact_id!r} in {location} is no id of a disk")
