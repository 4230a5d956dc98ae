"""What the person's cache keeps for Packer: programs that were got, and a folder of plugins; and their digests."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shlex
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from reconciler.model.errors import Transient, UserError
from reconciler.ports.machine import cache_of

# What a program is, byte by byte: the digest of its file.


def program_digest(path: str) -> str | None:
    """The `sha256:…` of a program's file; None where it cannot be read. Packer's 100 MB take a tenth of a second."""
    program = Path(path)
    try:
        found = program.stat()
        return _digest(program, found.st_mtime_ns, found.st_size)
    except OSError:
        return None


@cache
def _digest(program: Path, _modified: int, _size: int) -> str:
    with program.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


# What the person's cache keeps for Packer: programs that were got, and a folder of plugins.
#
# Programs found there are run, so an entry is used only where nobody else could have put or changed it, and where it is
# whole: its digest stands beside it. An entry is made in a folder of its own that takes its place in one step.

Tell = Callable[[str], None]
"""Takes a line for the person who waits."""

_NOTE = "made.json"
_UNFINISHED = ".unfinished-"
_POLL = 0.2
_ELSEWHERE = "or set XDG_CACHE_HOME to a folder of yours"


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where the cache is: below XDG_CACHE_HOME, else ~/.cache; None where the environment has neither."""
    return cache_of(environment, "packer")


def made_folder(folder: Path) -> Path:
    """The cache's folder, or one in it, made if need be.

    Raises:
        UserError: it cannot be made, or somebody else could write to it.
    """
    with told_plainly(folder):
        make_folders(folder)
    refuse_foreign(folder)
    return folder


def make_folders(folder: Path) -> None:
    """Make a folder, and what it is in, for their owner alone to write: the umask of many systems lets a group, too.

    Raises:
        OSError: as `mkdir`.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(exist_ok=True)  # for the error where a file is in its place


def refuse_foreign(path: Path) -> None:
    """Raises UserError where somebody else owns or may change what the cache has at this path, or what it is in.

    In the cache nobody else may write; above it, nobody may put another in its place.
    """
    while True:
        found = path.lstat()
        if found.st_uid not in {0, os.geteuid()}:
            raise UserError(f"{path} belongs to {_name(found.st_uid)}: nothing in it is run",
                            hint=(f"remove it, {_ELSEWHERE}",))  # fmt: skip
        if stat.S_ISLNK(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            link = stat.S_ISLNK(found.st_mode)
            what = "is a symbolic link" if link else "may be written by others"
            hint = f"remove it, {_ELSEWHERE}" if link else f"`chmod go-w {shlex.quote(str(path))}`, {_ELSEWHERE}"
            raise UserError(f"{path} {what}: nothing in it is run", hint=hint)
        if path.name == "reconciler":
            break
        path = path.parent
    trusted = {0, os.geteuid(), *_unmapped()}
    for above in path.resolve().parents:
        found = above.stat()
        others = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX  # in /tmp each has his own alone
        if found.st_uid not in trusted or others:
            whose = "may be written by others" if others else f"belongs to {_name(found.st_uid)}"
            raise UserError(f"{path} is in {above}, which {whose}: nothing in it is run",
                            hint="set XDG_CACHE_HOME to a folder of yours")  # fmt: skip


def _unmapped() -> set[int]:
    """The user that folders above belong to in a user namespace which has no number for their owner, as for the root.

    What is everybody's in none: there the kernel shows each owner as he is (user_namespaces(7)).
    """
    with suppress(OSError):
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
            return {int(Path("/proc/sys/kernel/overflowuid").read_text())}
    return set()


def find_program(folder: Path, entry: str, program: str) -> Path | None:
    """A program that the cache keeps, whole; None where there is no such entry.

    Raises:
        UserError: it is damaged, or somebody else's.
    """
    path = folder / entry / program
    if not path.parent.exists():
        return None
    try:
        for one in (path, path.parent / _NOTE):
            refuse_foreign(one)
        note = json.loads((path.parent / _NOTE).read_text(encoding="utf-8"))
        whole = note["digest"] == program_digest(str(path))
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise UserError(f"{path.parent} is damaged: it is not what was put there", hint=f"remove {path.parent}")
    return path


@contextmanager
def locked(folder: Path, *, tell: Tell | None = None, cancelled: threading.Event | None = None) -> Iterator[None]:
    """Keep other processes and threads from changing this folder, which is made if need be. Waits for their end.

    Raises:
        UserError: the folder can't be made or opened.
        Transient: `cancelled` was set meanwhile.
    """
    with told_plainly(folder):
        make_folders(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while not _lock(descriptor):
            if tell is not None:
                tell(f"another process is at work in {folder}; waiting for it")
                tell = None
            if (cancelled or threading.Event()).wait(_POLL):
                raise Transient(f"interrupted while waiting for another process that is at work in {folder}")
        for left in folder.glob(f"{_UNFINISHED}*"):  # whoever made it is gone: it had the lock
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A folder in the cache for what is not ready yet. Nothing of it is left, however it ends.

    Raises:
        UserError: there is no room, or it can't be written.
    """
    with told_plainly(folder):
        made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def made_entry(folder: Path, entry: str, program: str) -> Iterator[Path]:
    """A folder to make an entry's program in. At a good end it takes its place in the cache, which has to be `locked`.

    Raises:
        UserError: there is no room, or it can't be written.
    """
    with unfinished(folder) as made:
        yield made
        (made / program).chmod(0o755)
        note = {"digest": program_digest(str(made / program))}
        (made / _NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")
        (made / _NOTE).chmod(0o644)
        made.chmod(0o755)
        if (folder / entry).exists():
            with unfinished(folder) as old:
                (folder / entry).rename(old / entry)
        made.rename(folder / entry)


@contextmanager
def told_plainly(folder: Path) -> Iterator[None]:
    """Translate what a file system refuses: no room, no right to write."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or folder}: {error.strerror or error}"
        raise UserError(
            f"the cache can't be written: {what}",
            hint=("Packer takes 400 MB there with its plugins", f"make room, {_ELSEWHERE}"),
        ) from error


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
