"""Folders of disks: each file under its digest, its marks in a JSON file beside it.

Nothing is written over, and all is written whole: to a name that nobody reads, then under its own. A disk without marks
is one whose run was killed in between; the next run that makes the same finds it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from secrets import token_hex
from stat import S_ISREG
from tempfile import mkdtemp
from typing import IO

from pydantic import ValidationError

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.observation import Seen, State
from reconciler.model.values import Instant, Model, format_instant, told_instant
from reconciler.ports.registry import Located, Remains
from reconciler.registries.disk.dialect import DISK, SHA256
from reconciler.registries.disk.files import (
    MODE,
    TOUCHED,
    copied,
    digest_of,
    is_ours,
    is_still,
    new_file,
    not_ours,
    reaching,
    say_ours,
    stamp,
)
from reconciler.registries.disk.formats import FIRST, form_of
from reconciler.registries.disk.shelf import is_that
from reconciler.registries.plain import PlainRegistry

_ID = re.compile(DISK.id_form)
_MARKS = ".json"
_LOCK = ".lock"
_DRAFT = ".draft-"
_MOST_MARKS = 1 << 20  # bytes
_LOCKED_SECONDS, _LOOK = 600.0, 0.05


class _Marks(Model):
    """What stands beside a disk. `seen` is the file's size and time when its digest was last looked at."""

    id: str
    name: str
    created: Instant
    seen: tuple[int, int]
    tags: dict[str, str]

    def write(self, folder: Path) -> None:
        """Put them beside their disk, whole: by a file that is new, whatever link somebody laid out there."""
        draft = folder / f".marks-{token_hex(8)}"
        with os.fdopen(new_file(draft), "w", encoding="utf-8") as file:
            file.write(f"{self.model_dump_json(indent=2)}\n")
        draft.replace(folder / f"{self.id}{_MARKS}")


def _marks_at(location: str, artifact_id: str) -> Path:
    """Where the marks of a disk are. Raises Terminal for an id that is none: a lockfile may say anything."""
    if not _ID.fullmatch(artifact_id):
        raise Terminal(f"{artifact_id!r} in {location} is no id of a disk")
    return Path(location, f"{artifact_id}{_MARKS}")


def _read(path: Path) -> _Marks:
    """Raises Terminal for what was not written here: for no file, too, and for marks of another disk."""
    found: _Marks | None = None
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for somebody who writes
    with os.fdopen(descriptor, "rb") as file, suppress(ValidationError):
        if S_ISREG(os.fstat(descriptor).st_mode):
            found = _Marks.model_validate_json(file.read(_MOST_MARKS))
    if found is None or f"{found.id}{_MARKS}" != path.name:
        raise Terminal(f"{path} holds no marks of a disk", hint="restore it, or move it away")
    return found


def _read_or_begin(path: Path) -> _Marks:
    """The marks of a disk; of one that somebody else laid there under its digest those that it would begin with.

    Its bytes were not looked at then: nothing counts as seen of them.
    """
    if path.is_file():
        return _read(path)
    size, changed = stamp(path.with_suffix(""))
    created = told_instant(changed / 1e9) or format_instant(datetime.now(UTC))  # of a year that no calendar has
    return _Marks(id=path.stem, name=path.stem, created=created, seen=(size, 0), tags={})


class Folders(PlainRegistry):
    """The disks of one fleet that are in folders: a `Shelf`."""

    def __init__(self, *, fleet: str, recorded: Collection[str] = ()) -> None:
        """Take the fleet's name, and where state/ records disks of it: none of these folders begins empty."""
        self.fleet, self._recorded = fleet, recorded

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one disk, or None. See `Registry.find`. What was written is there at once."""
        del patience
        with reaching(location):
            marks = _marks_at(location, artifact_id)
            if marks.is_file() or marks.with_suffix("").is_file():
                return _seen(location, _read_or_begin(marks))
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
            before.model_copy(update={"tags": {**before.tags, **tags}}).write(path.parent)

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete a disk: its marks last, so that what is half gone is found again. See `Registry.retire`."""
        with reaching(artifact.location), _alone(Path(artifact.location)):
            marks = _marks_at(artifact.location, artifact.id)
            if not marks.is_file():
                return Remains()
            self.refuse_others(_seen(artifact.location, _read(marks)), image)
            marks.with_name(artifact.id).unlink(missing_ok=True)
            marks.unlink(missing_ok=True)
        return Remains()

    def listed(self, location: str) -> Iterator[Seen]:
        """Every disk in a folder; see `PlainRegistry.listed`."""
        folder, ours = Path(location), False
        with reaching(location):
            for path in folder.glob(f"{SHA256}*{_MARKS}") if folder.is_dir() else ():
                seen = _seen(location, _read(path))
                ours = ours or seen.own("fleet") == self.fleet
                yield seen
            if not ours and location in self._recorded and not is_ours(folder, self.fleet):
                raise not_ours(location)

    @contextmanager
    def taken(self, source: Located) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """See `Shelf.taken`. Its bytes are looked at by whoever keeps them."""
        with reaching(source.location):
            tags = _read(_marks_at(source.location, source.id)).tags
        yield Path(source.location, source.id), tags

    def path(self, location: str, artifact_id: str) -> Path:
        """See `Shelf.path`."""
        _marks_at(location, artifact_id)
        with reaching(location):
            if not is_still(Path(location, artifact_id), artifact_id):
                raise another(location, artifact_id)
        return Path(location, artifact_id)

    def keep(
        self, file: Path, location: str, *, name: str, tags: Mapping[str, str], wanted: str | None = None
    ) -> str:  # fmt: skip
        """See `Shelf.keep`."""
        with self.drafting(location) as own, reaching(location):
            draft = own / "disk"
            digest = copied(file, draft)
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
            digest = digest_of(draft)
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
    for draft in folder.glob(f"{_DRAFT}*"):
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
        marks = folder / f"{own}{_MARKS}"
        if not marks.exists():
            break
        if is_that(name, tags, there=(there := _read(marks)).name, marked=there.tags):
            if not is_still(folder / own, digest):  # it is what we have in hand that was asked for
                draft.replace(folder / own)
                there.model_copy(update={"seen": stamp(folder / own)}).write(folder)
            return own
    created = format_instant(datetime.now(UTC))
    _Marks(id=own, name=name, created=created, seen=stamp(draft), tags=dict(tags)).write(folder)
    draft.replace(folder / own)
    return own


def _seen(location: str, marks: _Marks) -> Seen:
    """A disk as it is now. One that was touched since is looked at again; what is another by now can't be used."""
    file = Path(location, marks.id)
    if not file.is_file():
        state: State = "failed"
    elif (now := stamp(file)) != marks.seen and not (now[0] == marks.seen[0] and is_still(file, marks.id)):
        state = "unusable"
    else:
        state = "available"
    seen = Seen(DISK.name, location, marks.id, marks.name, state, marks.created, marks.tags, hearsay=True)
    if state != "available":
        return seen
    if now != marks.seen:
        _remember(Path(location), marks, now)
    with file.open("rb") as disk:
        return replace(seen, format=form_of(disk.read(FIRST)), size=stamp(file)[0])


def _remember(folder: Path, marks: _Marks, seen: tuple[int, int]) -> None:
    """Write down that a disk was looked at, so that it need not be the next time.

    Nothing where nobody may write there, and where somebody else does just now.
    """
    with suppress(OSError, ReconcilerError), os.fdopen(os.open(folder / _LOCK, TOUCHED, MODE), "ab") as lock:
        if _locks(lock) and _read(folder / f"{marks.id}{_MARKS}") == marks and stamp(folder / marks.id) == seen:
            marks.model_copy(update={"seen": seen}).write(folder)


def changed(file: Path, digest: str) -> Terminal:
    """For a file that is no longer what was stored."""
    return Terminal(f"{file} is not what it was: {digest}", hint="it was changed since it was stored")


def another(location: str, artifact_id: str) -> Terminal:
    """For a disk that is not what its id says, by all of its bytes."""
    return Terminal(
        f"{artifact_id} in {location} is not what it is called: its bytes are others",
        hint="remove it, so that it is copied anew or built; and see who may write there",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes marks there meanwhile. Raises Transient where somebody holds the lock all too long."""
    with os.fdopen(os.open(folder / _LOCK, TOUCHED, MODE), "ab") as lock:
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
