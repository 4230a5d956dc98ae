"""The folder where a sandbox keeps its files: held for one of them, and read by whoever asks what runs there."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.model.errors import UserError


@contextmanager
def held(directory: Path) -> Iterator[int | None]:
    """Hold a folder for one sandbox; yield what a process inherits to go on holding it, None if somebody else does.

    From before its Debian is made until it has ended, so that no other starts there meanwhile.

    Raises:
        UserError: it can't be opened.
    """
    with told_plainly(directory):
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield opened
    finally:
        os.close(opened)


@contextmanager
def told_plainly(directory: Path) -> Iterator[None]:
    """Translate what a file system refuses: no room, no right, or something else in the folder's place.

    Raises:
        UserError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the sandbox can't keep its files in {directory}: {error.strerror or error}",
            hint="make room there, or name another folder: --folder",
        ) from error


def new_log(path: Path) -> BinaryIO:
    """A new log that only its owner can read; an old one is gone.

    Raises:
        UserError: it can't be made.
    """
    with told_plainly(path.parent):
        path.unlink(missing_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@contextmanager
def in_memory() -> Iterator[int]:
    """Open a file that is on no disk: why a sandbox could not start is said even where that is full."""
    file = os.memfd_create("failure", os.MFD_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def is_owners(path: Path) -> bool:
    """Whether a sandbox of this user wrote a file: what a commit brought is not the owner's alone, or is a link."""
    there = path.lstat()
    return stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid() and there.st_mode & 0o077 == 0


def read(path: Path) -> dict[str, Any] | None:
    """What was written there, whole; None where there is no such file, or a damaged one.

    Raises:
        UserError: another user's sandbox wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except PermissionError as error:
        raise UserError(f"the sandbox of {path.parent} is another user's", hint="it is root's: use sudo") from error
    return content if isinstance(content, dict) else None
