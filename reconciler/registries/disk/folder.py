"""Folders of disks: each file under its digest, its marks in a JSON file beside it.

Nothing is written over, and all is written whole: to a name that nobody reads, then under its own. A disk without marks
is one whose run was killed in between; the next run that makes the same finds it.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from typing import IO

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.observation import TAG_PREFIX, Seen, State
from reconciler.model.values import format_instant, told_instant
from reconciler.ports.registry import Located, Remains
from reconciler.registries.disk.dialect import DISK, SHA256
from reconciler.registries.disk.files import (
    another,
    changed,
    copied,
    digest_of,
    is_as_large,
    is_ours,
    is_still,
    names_in,
    not_ours,
    reaching,
    refuse_larger,
    say_ours,
    stamp,
)
from reconciler.registries.disk.formats import FIRST, form_of
from reconciler.registries.disk.looking import MOST_OF_MARKS, Looking
from reconciler.registries.disk.marks import MARKS, Marks, new_marks, read, refuse_no_id
from reconciler.registries.disk.regular import is_regular, new_file, opened, touched
from reconciler.registries.disk.shelf import is_that
from reconciler.registries.plain import PlainRegistry

_LOCK = ".lock"
_DRAFT, _MOST_DRAFTS = ".draft-", 1000
_FLEET = f"{TAG_PREFIX}fleet"
_LOCKED_SECONDS, _LOOK = 600.0, 0.05


class Folders(PlainRegistry):
    """The disks of one fleet that are in folders: a `Shelf`."""

    def __init__(
        self, *, fleet: str, largest: int, recorded: Collection[str] = (), cancelled: threading.Event | None = None
    ) -> None:  # fmt: skip
        """Take the fleet's name, and where state/ records disks of it: none of these folders begins empty.

        None of more than `largest` bytes is read or kept. Once the run is `cancelled`, no disk is read on.
        """
        self.fleet, self._recorded, self._cancelled, self._largest = fleet, recorded, cancelled, largest

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one disk, or None. See `Registry.find`. What was written is there at once."""
        del patience
        with reaching(location), self._looking(location) as looking:
            marks = _marks_at(location, artifact_id)
            if marks.is_file() or marks.with_suffix("").is_file():
                return _seen(location, _read_or_begin(marks), looking, largest=self._largest)
            if not is_ours(Path(location), self.fleet):
                raise not_ours(location)
            return None

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set marks. See `Registry.tag`."""
        with reaching(artifact.location), _alone(Path(artifact.location)):
            path = _marks_at(artifact.location, artifact.id)
            if not path.is_file():
                if not path.with_suffix("").is_file():
                    raise Terminal(f"{artifact.id} is not in {artifact.location}")
                say_ours(path.parent, self.fleet)
            before = _read_or_begin(path)
            _write(path.parent, before.model_copy(update={"tags": {**before.tags, **tags}}))

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete a disk: its marks last, so that what is half gone is found again. See `Registry.retire`."""
        with reaching(artifact.location), _alone(Path(artifact.location)):
            marks = _marks_at(artifact.location, artifact.id)
            if not marks.is_file():
                return Remains()
            self.refuse_others(_seen(artifact.location, _read_marks(marks), largest=self._largest), image)
            marks.with_name(artifact.id).unlink(missing_ok=True)
            marks.unlink(missing_ok=True)
        return Remains()

    def listed(self, location: str) -> Iterator[Seen]:
        """Every disk in a folder; see `PlainRegistry.listed`.

        One of another fleet is not read: where it was touched, it counts as one that can't be used.
        """
        folder, ours = Path(location), False
        with reaching(location), self._looking(location) as looking:
            there = names_in(folder, SHA256, MARKS, most=looking.most + 1) if folder.is_dir() else []
            looking.refuse_many(len(there))
            for path in there:
                marks = _read_marks(path, looking)
                is_own = marks.tags.get(_FLEET) == self.fleet
                ours = ours or is_own
                yield _seen(location, marks, looking if is_own else None, largest=self._largest)
            if not ours and location in self._recorded and not is_ours(folder, self.fleet):
                raise not_ours(location)

    @contextmanager
    def taken(self, source: Located) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """See `Shelf.taken`. Its bytes are looked at by whoever keeps them."""
        with reaching(source.location):
            tags = _read_marks(_marks_at(source.location, source.id)).tags
        yield Path(source.location, source.id), tags

    def path(self, location: str, artifact_id: str, *, size: int | None = None) -> Path:
        """See `Shelf.path`."""
        marks, file = _marks_at(location, artifact_id), Path(location, artifact_id)
        with reaching(location):
            if not is_regular(file):
                raise another(location, artifact_id)
            found, there = stamp(file)[0], _read_or_begin(marks).seen[0]
            refuse_larger(found, f"{artifact_id} in {location}", most=self._largest)
            goes_on = self._looking(location, math.inf).goes_on
            if found != (there if size is None else size) or not is_still(
                file, artifact_id, goes_on, most=self._largest
            ):
                raise another(location, artifact_id)
        return file

    def _looking(self, location: str, seconds: float | None = None) -> Looking:
        return Looking(location, cancelled=self._cancelled, seconds=seconds)

    def keep(
        self, file: Path, location: str, *, name: str, tags: Mapping[str, str], wanted: str | None = None
    ) -> str:  # fmt: skip
        """See `Shelf.keep`."""
        with self.drafting(location) as own, reaching(location):
            refuse_larger(stamp(file)[0], file.name, most=self._largest)
            draft = own / "disk"
            digest = copied(file, draft, most=self._largest)
            if wanted not in (None, digest):
                raise changed(file, digest)
            with _alone(own.parent):
                return _take(own.parent, draft, digest, name=name, tags=tags)

    def size(self, location: str, artifact_id: str) -> int:
        """See `Shelf.size`."""
        with reaching(location):
            return stamp(Path(location, artifact_id))[0]

    def keep_draft(self, draft: Path, location: str, *, name: str, tags: Mapping[str, str]) -> str:
        """See `Shelf.keep_draft`: it is given its own name, and not copied."""
        with reaching(location):
            refuse_larger(stamp(draft)[0], name, most=self._largest)
            digest = digest_of(draft, most=self._largest)
            with _alone(Path(location)):
                return _take(Path(location), draft, digest, name=name, tags=tags)

    @contextmanager
    def drafting(self, location: str) -> Iterator[Path]:
        """See `Shelf.drafting`: in the folder itself, so that what is whole needs only its own name.

        What another process left there that was killed goes first.
        """
        folder = Path(location)
        with reaching(location):
            self._refuse_bare(location)
            folder.mkdir(exist_ok=True)
            with _alone(folder):
                say_ours(folder, self.fleet)
                _sweep(folder)
                own = Path(mkdtemp(prefix=_DRAFT, dir=folder))
                held = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(held, fcntl.LOCK_SH)
        try:
            yield own
        finally:
            os.close(held)
            shutil.rmtree(own, ignore_errors=True)

    def _refuse_bare(self, location: str) -> None:
        """Raise Transient for a folder that should hold disks of ours and does not."""
        if location in self._recorded and not is_ours(Path(location), self.fleet):
            for _ in self.listed(location):
                pass  # it raises once it has seen none


def _sweep(folder: Path) -> None:
    """Remove the drafts that no process holds any more: a lock ends with its process."""
    for draft in names_in(folder, _DRAFT, most=_MOST_DRAFTS):
        with suppress(OSError):
            held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(draft, ignore_errors=True)
            finally:
                os.close(held)


def _take(folder: Path, draft: Path, digest: str, *, name: str, tags: Mapping[str, str]) -> str:
    """Give a whole file its place: that of the same fleet, name and content, else the first that is free.

    Its marks come first: of what is killed between them, they tell.
    """
    for number in count(1):
        own = digest if number == 1 else f"{digest}.{number}"
        marks = folder / f"{own}{MARKS}"
        if not marks.exists():
            break
        if is_that(name, tags, there=(there := _read_marks(marks)).name, marked=there.tags):
            same = is_as_large(folder / own, draft) and is_still(folder / own, digest)
            if not same:  # it is what we have in hand that was asked for
                draft.replace(folder / own)
                _write(folder, there.model_copy(update={"seen": stamp(folder / own)}))
            return own
    created = format_instant(datetime.now(UTC))
    _write(folder, Marks[int](id=own, name=name, created=created, seen=stamp(draft), tags=dict(tags)))
    draft.replace(folder / own)
    return own


def _seen(location: str, marks: Marks[int], looking: Looking | None = None, *, largest: int) -> Seen:
    """A disk as it is now. One that was touched since is looked at again; what is another by now can't be used.

    Without a look nothing is read of it but its beginning.
    """
    file = Path(location, marks.id)
    if not is_regular(file):
        state: State = "failed"
    elif (now := stamp(file)) != marks.seen and not (
        looking is not None and now[0] == marks.seen[0] <= largest and _agrees(file, marks.id, looking)
    ):
        state = "unusable"
    else:
        state = "available"
    seen = Seen(DISK.name, location, marks.id, marks.name, state, marks.created, marks.tags, hearsay=True)
    if state != "available":
        return seen
    if now != marks.seen:
        _remember(Path(location), marks, now)
    with opened(file) as disk:
        return replace(seen, format=form_of(disk.read(FIRST)), size=stamp(file)[0])


def _agrees(file: Path, artifact_id: str, looking: Looking) -> bool:
    """Whether a disk is what its id says, as far as a look may read. Nobody sets the last of these times."""
    now = file.stat()
    stamped = now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns
    return looking.agrees(artifact_id, stamped, lambda: digest_of(file, looking.goes_on))


def _remember(folder: Path, marks: Marks[int], seen: tuple[int, int]) -> None:
    """Write down that a disk was looked at, so that it need not be the next time.

    Nothing where nobody may write there, and where somebody else does just now.
    """
    with suppress(OSError, ReconcilerError), os.fdopen(touched(folder / _LOCK), "ab") as lock:
        if _locks(lock) and _read_marks(folder / f"{marks.id}{MARKS}") == marks and stamp(folder / marks.id) == seen:
            _write(folder, marks.model_copy(update={"seen": seen}))


def _marks_at(location: str, artifact_id: str) -> Path:
    """Where the marks of a disk are. Raises Terminal for an id that is none."""
    refuse_no_id(location, artifact_id)
    return Path(location, f"{artifact_id}{MARKS}")


def _read_marks(path: Path, looking: Looking | None = None) -> Marks[int]:
    """Raises Terminal for what was not written here: for no file, too, and for marks of another disk."""
    try:
        with opened(path) as file:
            written = file.read(MOST_OF_MARKS + 1)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        written = b""  # it is no file
    if looking is not None:
        looking.had(len(written))
    return read(written, Marks[int], artifact_id=path.stem, place=str(path))


def _read_or_begin(path: Path) -> Marks[int]:
    """The marks of a disk; of one that somebody else laid there under its digest those that it would begin with.

    Its bytes were not looked at then: nothing counts as seen of them.
    """
    if path.is_file():
        return _read_marks(path)
    size, changed_at = stamp(path.with_suffix(""))
    return new_marks(path.stem, (size, 0), created=told_instant(changed_at / 1e9))  # None of a year no calendar has


def _write(folder: Path, marks: Marks[int]) -> None:
    """Put marks beside their disk, whole: by a file that is new, whatever link somebody laid out there.

    Raises Terminal for more than are read.
    """
    text = marks.written(str(folder))
    draft = folder / f".marks-{token_hex(8)}"
    with os.fdopen(new_file(draft), "wb") as file:
        file.write(text)
    draft.replace(folder / f"{marks.id}{MARKS}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes marks there meanwhile. Raises Transient where somebody holds the lock all too long."""
    with os.fdopen(touched(folder / _LOCK), "ab") as lock:
        until = time.monotonic() + _LOCKED_SECONDS
        while not _locks(lock):
            if time.monotonic() > until:
                raise Transient(f"{folder / _LOCK} is held for {_LOCKED_SECONDS:.0f} s by somebody else")
            time.sleep(_LOOK)
        yield


def _locks(lock: IO[bytes]) -> bool:
    """Whether a lock is ours now. Whoever may read its file may hold it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
