"""One look at what is in a location: how long it may take, and how much of others' words it takes in.

Whoever may write there has a disk read by touching it, or by marks that say that it was looked at at another time. What
was read and is not what it is called is noted in this user's cache, by what nobody sets at will, and not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self

from reconciler.model.errors import Terminal, Transient
from reconciler.ports.machine import cache_of

MOST_OF_MARKS = 64 << 10
"""Bytes of the marks of one disk, of which ours take one or two thousand."""
_MOST_OF_ALL, _MOST_MARKED = 16 << 20, 10_000
"""Bytes, and disks, of all marks in a location: a run holds them at once."""
_SECONDS = 600.0
_MOST_KEPT, _MOST_OF_KEPT = 10_000, 8 << 20


class Looking:
    """A look at one location, from its making on. May be used by several threads."""

    def __init__(
        self, location: str, *, cancelled: threading.Event | None = None, seconds: float | None = None
    ) -> None:  # fmt: skip
        """`seconds` are what all that is read in it may take; ten minutes if absent."""
        self._location, self._cancelled = location, cancelled
        self._seconds = seconds if seconds is not None else _SECONDS
        self._until = time.monotonic() + self._seconds
        self._bytes = self._marked = 0
        self._lock = threading.Lock()
        self._file = _file_of(location)
        self._known: dict[str, None] | None = None
        self._before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was found to be another."""
        if self._known is not None and len(self._known) > self._before and self._file is not None:
            _keep(self._file, list(self._known)[-_MOST_KEPT:])

    def goes_on(self) -> None:
        """Raise Transient once it takes too long, or the run is cancelled. Asked for each piece that is read."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise Transient("the run was cancelled")
        if time.monotonic() > self._until:
            raise Transient(
                f"it takes longer than {self._seconds:g} s to look at what was changed in {self._location}",
                hint="see who writes there; what is none of ours and very large is best moved away",
            )

    def had(self, marks: int) -> None:
        """Note the marks of one more disk, of so many bytes. Raises Terminal where all together are too many."""
        with self._lock:
            self._bytes, self._marked = self._bytes + marks, self._marked + 1
        if self._bytes > _MOST_OF_ALL:
            raise Terminal(f"the marks in {self._location} are of more than {_MOST_OF_ALL:,} bytes")
        self.refuse_many(self._marked)
        self.goes_on()

    @property
    def most(self) -> int:
        """How many disks' marks are read."""
        return _MOST_MARKED

    def refuse_many(self, disks: int) -> None:
        """Raise Terminal where there are marks of more disks than are read."""
        if disks > _MOST_MARKED:
            raise Terminal(f"{self._location} has marks of more than {_MOST_MARKED:,} disks")

    def agrees(self, artifact_id: str, stamp: Iterable[object], read: Callable[[], str]) -> bool:
        """Whether a disk is what its id says: `read` returns the `sha256:…` of all its bytes.

        What was found not to be is not read again while its `stamp` is the same.
        """
        if self._known is None:
            self._known = dict.fromkeys(_kept(self._file))
            self._before = len(self._known)
        key = " ".join(map(str, (artifact_id, *stamp)))
        if key in self._known:
            return False
        if read() == artifact_id.partition(".")[0]:
            return True
        self._known[key] = None
        return False


def _file_of(location: str) -> Path | None:
    folder = cache_of(os.environ, "differing")
    return folder / f"{hashlib.sha256(os.fsencode(location)).hexdigest()}.json" if folder is not None else None


def _kept(file: Path | None) -> list[str]:
    """What is kept; nothing where that can't be read."""
    try:
        with (file or Path(os.devnull)).open("rb") as read:
            found = json.loads(read.read(_MOST_OF_KEPT))
    except (OSError, ValueError, RecursionError):
        return []
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _keep(file: Path, known: list[str]) -> None:
    """Have this in place of what is kept. What can't be kept is read anew."""
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as draft:
            try:
                json.dump(known, draft)
                draft.flush()
                Path(draft.name).replace(file)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise
