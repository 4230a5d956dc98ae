"""Where a build works: a folder of its own, gone afterwards, also where the run was killed in the middle of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.model.errors import Terminal

_LOCK = ".in-use"
_BEGINNING_SECONDS = 60
"""A folder without a lock is one that is being made, or whose run was killed while it made it."""


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
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(root: Path) -> tuple[Path, ...]:
    """Remove the folders of runs that were killed; returns them.

    In them lies what Packer printed, before any secret was taken out, and a copy of the repository. A Packer that was
    left running loses its ground with them: it fails, and takes its instance down.
    """
    abandoned = tuple(folder for folder in sorted(root.glob("*")) if folder.is_dir() and _is_abandoned(folder))
    for folder in abandoned:
        shutil.rmtree(folder, ignore_errors=True)
    return abandoned


def _is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return time.time() - folder.stat().st_mtime > _BEGINNING_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
