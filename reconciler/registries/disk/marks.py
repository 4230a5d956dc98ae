"""What stands beside a disk in a folder, in a file of its own: its marks."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from pydantic import ValidationError

from reconciler.model.errors import Terminal
from reconciler.model.values import Instant, Model, format_instant, told_instant
from reconciler.registries.disk.dialect import DISK
from reconciler.registries.disk.files import stamp
from reconciler.registries.disk.looking import MOST_OF_MARKS, Looking, refuse_long
from reconciler.registries.disk.regular import new_file, opened

_ID = re.compile(DISK.id_form)
MARKS = ".json"


class Marks(Model):
    """What stands beside a disk. `seen` is the file's size and time when its digest was last looked at."""

    id: str
    name: str
    created: Instant
    seen: tuple[int, int]
    tags: dict[str, str]

    def write(self, folder: Path) -> None:
        """Put them beside their disk, whole: by a file that is new, whatever link somebody laid out there.

        Raises Terminal for more than are read.
        """
        text = f"{self.model_dump_json(indent=2)}\n"
        refuse_long(text, self.id, str(folder))
        draft = folder / f".marks-{token_hex(8)}"
        with os.fdopen(new_file(draft), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(folder / f"{self.id}{MARKS}")


def marks_at(location: str, artifact_id: str) -> Path:
    """Where the marks of a disk are. Raises Terminal for an id that is none: a lockfile may say anything."""
    if not _ID.fullmatch(artifact_id):
        raise Terminal(f"{artifact_id!r} in {location} is no id of a disk")
    return Path(location, f"{artifact_id}{MARKS}")


def read_marks(path: Path, looking: Looking | None = None) -> Marks:
    """Raises Terminal for what was not written here: for no file, too, and for marks of another disk."""
    found: Marks | None = None
    try:
        with opened(path) as file:
            written = file.read(MOST_OF_MARKS + 1)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        written = b""  # it is no file
    if looking is not None:
        looking.had(len(written))
    with suppress(ValidationError):
        found = Marks.model_validate_json(written) if len(written) <= MOST_OF_MARKS else None
    if found is None or f"{found.id}{MARKS}" != path.name:
        raise Terminal(f"{path} holds no marks of a disk", hint="restore it, or move it away")
    return found


def read_or_begin(path: Path) -> Marks:
    """The marks of a disk; of one that somebody else laid there under its digest those that it would begin with.

    Its bytes were not looked at then: nothing counts as seen of them.
    """
    if path.is_file():
        return read_marks(path)
    size, changed = stamp(path.with_suffix(""))
    created = told_instant(changed / 1e9) or format_instant(datetime.now(UTC))  # of a year that no calendar has
    return Marks(id=path.stem, name=path.stem, created=created, seen=(size, 0), tags={})
