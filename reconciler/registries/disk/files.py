"""Files of this machine that are disks, read whole and copied; and the folders that they are in, told apart."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import IO
from urllib.parse import unquote

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.ports.machine import cache_of
from reconciler.registries.disk.dialect import BUCKET, DISK, SHA256
from reconciler.registries.disk.regular import is_regular, new_file, opened

_ID = re.compile(DISK.id_form)
_OURS = ".reconciler"
"""The file that says of which fleets a folder holds disks: an empty folder may be one where nothing is mounted.

Each has a line with its name. One without any is of all: a person made it, or an older version.
"""
_MOST_FLEETS = 1 << 20  # bytes
_PIECE = 1 << 20


def is_ours(folder: Path, fleet: str) -> bool:
    """Whether a folder says that it holds disks of a fleet; with "", of any."""
    fleets = _fleets(folder)
    return fleets is not None and (not fleets or not fleet or fleet in fleets)


def _fleets(folder: Path) -> list[str] | None:
    try:
        with opened(folder / _OURS) as file:
            return file.read(_MOST_FLEETS).decode(errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None


def say_ours(folder: Path, fleet: str) -> None:
    """Have it say so, under its lock: by a file that is new, whatever is under its name."""
    if not is_ours(folder, fleet):
        draft = folder / f"{_OURS}-{token_hex(8)}"
        with os.fdopen(new_file(draft), "w", encoding="utf-8") as file:
            file.writelines(f"{one}\n" for one in (*(_fleets(folder) or ()), fleet))
        draft.replace(folder / _OURS)


def not_ours(location: str) -> Transient:
    """For a folder that should hold disks of ours, and does not say so."""
    touched = f"`touch {shlex.quote(f'{location}/{_OURS}')}`"
    return Transient(
        f"{location} holds no disks of ours: is it mounted?",
        hint=f"if it is, and what is recorded there is lost: {touched}, and all is made anew",
    )


def unkeepable(location: str) -> Transient | None:
    """Why no disk can be kept in a folder, before one is made; None where one can, and of what is in a bucket.

    A folder that is not there is made, as long as what it is in is there. That is not made: mostly it is what is not
    mounted, and disks would fill what lies below.
    """
    folder = Path(location)
    at = folder if folder.is_dir() else folder.parent
    if location.startswith(BUCKET):
        return None
    for one in (folder, at):
        if one.exists() and not one.is_dir():
            return Transient(f"{one} is no folder", hint="declare another, or move away what is there")
    if not at.is_dir():
        return Transient(
            f"{location} is not there, nor is {at} to make it in: is it mounted?",
            hint=f"mount it, or make it: `mkdir -p {shlex.quote(location)}`",
        )
    if os.access(at, os.W_OK | os.X_OK):
        return None
    what = f"{at} can't be written to by this user" + (f", and {location} is not there" if at != folder else "")
    return Transient(what, hint="let it write there, or declare another folder")


def is_same(location: str, other: str, *, artifact_id: str = "") -> bool:
    """Whether two folders are one, or two files of an id in them, by whatever links and mounts that is.

    A file of two hard links is not one: whichever goes, the other has it. Raises Transient where that can't be seen.
    """
    with reaching(location):
        folders = Path(location), Path(other)
        if _is_one(*folders):
            return True
        if not is_id(artifact_id):
            return False
        one, another = (folder / artifact_id for folder in folders)
        return _is_one(one, another) and (one.stat().st_nlink == 1 or one.resolve() == another.resolve())


def _is_one(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _on() -> None:
    """Nothing: what is read takes as long as it takes."""


def is_still(file: Path, artifact_id: str, goes_on: Callable[[], None] = _on, *, most: int | None = None) -> bool:
    """Whether a file is there, and is what an id says. `goes_on` and `most` are as for `digest_of`."""
    return is_regular(file) and digest_of(file, goes_on, most=most) == artifact_id.partition(".")[0]


def is_id(text: str) -> bool:
    """Whether a text has the form of a disk's id."""
    return _ID.fullmatch(text) is not None


def refuse_larger(size: int, what: str, *, most: int) -> None:
    """Raise UserError for a disk of more bytes than are read, fetched or kept: all of them are read, at some time."""
    if size > most:
        raise UserError(
            f"{what} is of {size:,} bytes, and no disk of more than {most >> 30:,} GiB is taken",
            hint="if it is meant to be so large: `limits: {max_file_gib: …}` in desired/reconciler.yaml",
        )


def changed(file: Path, digest: str) -> Terminal:
    """For a file that is no longer what was stored."""
    return Terminal(f"{file} is not what it was: {digest}", hint="it was changed since it was stored")


def another(location: str, artifact_id: str) -> Terminal:
    """For a disk that is not what its id says, by all of its bytes."""
    return Terminal(
        f"{artifact_id} in {location} is not what it is called: its bytes are others",
        hint="remove it, so that it is copied anew or built; and see who may write there",
    )


def is_as_large(file: Path, other: Path) -> bool:
    """Whether a file is there, and is as large as another."""
    return file.is_file() and file.stat().st_size == other.stat().st_size


def names_in(folder: Path, begin: str, end: str = "", *, most: int) -> list[Path]:
    """What is called so in a folder, `most` at most: somebody may have filled it.

    All at once, as what others write meanwhile may hide a name that was not read yet.
    """
    with os.scandir(folder) as entries:
        named = (folder / one.name for one in entries if one.name.startswith(begin) and one.name.endswith(end))
        return list(islice(named, most))


def stamp(file: Path) -> tuple[int, int]:
    """The size of a file in bytes, and when it was changed last, in nanoseconds since 1970."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def cache_folder() -> Path:
    """Where disks are kept that were fetched. Raises UserError where this machine has no place for that."""
    folder = cache_of(os.environ, "disks")
    if folder is None:
        raise UserError("there is no place to keep disks in: neither XDG_CACHE_HOME nor HOME is set")
    return folder


def digest_of(file: Path, goes_on: Callable[[], None] = _on, *, most: int | None = None) -> str:
    """The `sha256:…` of a file; `goes_on` is asked for each piece of it, and raises where it is not to.

    Of one that grows meanwhile, that of what it began with and a byte. Raises UserError for one of more than `most`
    bytes, also where it has come into the place of another since that was looked at.
    """
    found = hashlib.sha256()
    with opened(file) as read:
        left = _size_of(read, file, most=most) + 1
        while left > 0 and (piece := read.read(min(_PIECE, left))):
            goes_on()
            found.update(piece)
            left -= len(piece)
    return f"{SHA256}{found.hexdigest()}"


def copied(file: Path, to: Path, *, most: int | None = None) -> str:
    """Copy a file, and return the `sha256:…` of what was written: it is counted while it is flushed.

    Raises UserError for one of more than `most` bytes, before any is copied.
    """
    with opened(file) as read, os.fdopen(new_file(to), "wb") as written:
        size = _size_of(read, file, most=most)
        for begin, end in _data(read.fileno(), size):
            _copy_range(read.fileno(), written.fileno(), begin, end)
        written.truncate(size)
    with ThreadPoolExecutor(1) as beside:
        flushed = beside.submit(_flush, to)
        digest = digest_of(to)
        flushed.result()
    return digest


def _size_of(read: IO[bytes], file: Path, *, most: int | None) -> int:
    size = os.fstat(read.fileno()).st_size
    if most is not None:
        refuse_larger(size, str(file), most=most)
    return size


def write_with_holes(pieces: Iterable[bytes], file: IO[bytes]) -> None:
    """Write what comes in pieces to an empty file; zeros become holes, which take no room."""
    size = 0
    for piece in pieces:
        for at in range(0, len(piece), _HOLE):
            block = piece[at : at + _HOLE]
            if block != _ZEROS[: len(block)]:
                file.seek(size + at)
                file.write(block)
        size += len(piece)
    file.truncate(size)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, in order; what is between is holes, which take no room (lseek(2), SEEK_DATA)."""
    at = 0
    while at < size:
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
            end = min(os.lseek(file, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from there on
                return
            if error.errno != errno.EINVAL:
                raise
            begin, end = at, size  # a file system that knows of no holes
        yield begin, end
        at = end


def _copy_range(read: int, written: int, begin: int, end: int) -> None:
    """Copy a part of a file to the same place of another: by the file system, which may share it, where it can."""
    at, shared = begin, True
    os.lseek(written, begin, os.SEEK_SET)
    while at < end:
        most, done = min(end - at, _MOST_COPIED), 0
        if shared:
            try:
                done = os.copy_file_range(read, written, most, at, at)
            except OSError as error:
                if error.errno not in _NOT_SHARED:
                    raise
            shared = done > 0
            os.lseek(written, at + done, os.SEEK_SET)
        else:
            done = os.sendfile(written, read, at, most)
            if done == 0:  # it was cut short meanwhile: its digest tells
                return
        at += done


def _flush(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


_MENDED = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
"""What a person mends who declares a path; all else may be otherwise the next time."""


_HOLE = 64 << 10
"""The least zeros, in bytes, that are not written: of 4 KiB on, file systems have holes."""
_ZEROS = bytes(_HOLE)
_MOST_COPIED = 1 << 30
"""Bytes that are copied by one call."""
_NOT_SHARED = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})
"""What copy_file_range(2) ends with where two file systems, or one of them, can't do it."""


@contextmanager
def reading(url: str) -> Iterator[Path]:
    """The file of a source, for as long as it is read.

    Raises UserError where there is none, or none that may be read; Transient where the machine fails to.
    """
    path = Path(unquote(url.removeprefix("file://")) if url.startswith("file://") else url)
    try:
        with opened(path):
            pass
        if path.stat().st_size == 0:
            raise UserError(f"source {url} is empty, and no disk", hint="check the path")
        yield path
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"source {url} is no file on this machine", hint="check the path") from error
    except OSError as error:
        if error.errno not in _MENDED:
            raise Transient(f"source {url}: {error.strerror or error}") from error
        hint = "check the path, and whether whoever runs reconciler may read it"
        raise UserError(f"source {url} can't be read: {error.strerror}", hint=hint) from error


def is_file(path: Path) -> bool:
    """Whether there is a file. False where that can't be seen."""
    try:
        return is_regular(path)
    except OSError:
        return False


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Turn what the system says of a folder into what a registry says."""
    try:
        yield
    except FileNotFoundError as error:
        raise Transient(f"{error.filename} is not there: is {location} mounted?") from error
    except OSError as error:
        raise Transient(f"{error.filename or location}: {error.strerror or error}") from error
