"""Where a build works: a folder of its own, gone afterwards, also where the run was killed in the middle of it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.build.process import outlived
from reconciler.build.smoke.client import is_plain, plain_folder
from reconciler.model.errors import Terminal, Transient
from reconciler.model.values import BUILD_ID_PATTERN, digest

PACKERS = "run"
"""What Packer writes lies here, in the work folder."""
_TEMPORARY = "tmp"
"""Leads, from the work folder, to where everything that a build starts writes what is temporary."""
_OWN_TEMPORARY = re.compile(r"rec-[0-9a-f]{16}")
_LONGEST_TEMPORARY = 50
"""Characters of the folder that it lies in. Packer's plugins make sockets in it, whose paths may have 107 (unix(7))."""
_LOCK = ".in-use"
_BEGINNING_SECONDS = 60
"""A folder without a lock is one that is being made, or whose run was killed while it made it."""


def below(run_folder: Path) -> Path:
    """Where work folders are made, in the folder of runs."""
    return run_folder / "work"


def for_tests(run_folder: Path) -> Path:
    """Where those of tests are made: there as well, if ssh and pytest read its path as it stands.

    Else in a folder of this checkout's own among the temporary ones, which only we can read. An image must not fail
    its test for the name of the folder in which it is tested.

    Raises Terminal where somebody else has a folder of that name.
    """
    if is_plain(str(run_folder.absolute())):
        return below(run_folder)
    checkout = digest(str(run_folder.absolute())).removeprefix("sha256:")[:12]
    own = Path(plain_folder(), f"reconciler-{os.getuid()}-{checkout}")
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
    except OSError as error:
        raise Terminal(f"{own} cannot be used for tests: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Terminal(f"{own} is not a folder that only this user can read", hint="remove it")
    return below(own)


@contextmanager
def work_folder(root: Path, name: str) -> Iterator[Path]:
    """A new folder below `root` whose name begins with `name`. It is ours for as long as we hold its lock.

    Raises Terminal when the disk refuses.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Not the name alone: two runs in one checkout may begin in the same second.
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise Terminal(f"{name} can't be built: {root} cannot be written ({error.strerror})") from error
    try:
        # The system lets go of it when this process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def temporary(folder: Path) -> Path:
    """A new folder for what a build's programs leave in TMPDIR, keys among it; it goes with the work folder.

    Raises Terminal when the disk refuses.
    """
    own = Path(plain_folder(longest=_LONGEST_TEMPORARY), f"rec-{secrets.token_hex(8)}")
    try:
        # The link is first: of what a killed run made, there is always one that leads there.
        folder.joinpath(_TEMPORARY).symlink_to(own)
        own.mkdir(mode=0o700)
    except OSError as error:
        raise Terminal(f"{own} cannot be made, for what a build writes to TMPDIR ({error.strerror})") from error
    return own


def clear(run_folder: Path) -> tuple[Path, ...]:
    """Remove what killed runs left, of builds and of tests; returns the folders."""
    return tuple(left for root in {below(run_folder), for_tests(run_folder)} for left in sweep(root))


def sweep(root: Path) -> tuple[Path, ...]:
    """Remove the folders of runs that were killed; returns them.

    In them lies what Packer printed, before any secret was taken out, and a copy of the repository. Where a Packer
    outlived its run, the folder stays until that Packer has ended: it would lose its ground, and fail.
    """
    abandoned = tuple(folder for folder in _abandoned(root) if outlived(folder / PACKERS) is None)
    for folder in abandoned:
        _remove(folder)
    return abandoned


def refuse_while_building(root: Path, image: str) -> None:
    """Raise Transient while a Packer that outlived its run still builds this image: it is neither joined nor repeated.

    Two runs that both live may build the same image; the slower one sees what the faster one recorded.
    """
    for folder in _abandoned(root, named=rf"{re.escape(image)}-{BUILD_ID_PATTERN.strip('^$')}-\w+"):
        pid = outlived(folder / PACKERS)
        if pid is not None:
            raise Transient(
                f"{image} is being built by a Packer that outlived its run{f' (process {pid})' if pid else ''}",
                hint=(
                    "let it end, then reconcile again",
                    f"to stop it, and let it clean up: `kill -TERM -{pid}`" if pid else f"it works in {folder}",
                ),
            )


def _remove(folder: Path) -> None:
    """Remove a work folder, and what is temporary of it before: without the link nobody would find that again."""
    with suppress(OSError):
        own = folder.joinpath(_TEMPORARY).readlink()
        found = own.lstat()
        if _OWN_TEMPORARY.fullmatch(own.name) and stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            shutil.rmtree(own, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _abandoned(root: Path, *, named: str = ".*") -> Iterator[Path]:
    folders = (folder for folder in sorted(root.glob("*")) if re.fullmatch(named, folder.name) and folder.is_dir())
    return (folder for folder in folders if _is_abandoned(folder))


def _is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return _age(folder) > _BEGINNING_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _age(folder: Path) -> float:
    """Seconds since something was made in a folder; none where it is gone: its own run removed it just now."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0
