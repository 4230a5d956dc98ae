"""Files that somebody else may have laid out under a name, opened as files: no pipe is waited for, and no device read.

Nor is what the kernel makes up as it is read, below /proc and /sys: it counts as a regular file, has no size, and may
have no end.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import IO

MODE = 0o644
"""That of all that is written beside disks, and of them."""
_MADE_UP = frozenset(
    {
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
        "fusectl", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
    }
)  # fmt: skip
"""File systems in which no file is kept, as proc(5) has their names in /proc/self/mountinfo."""
_MADE_UP_BELOW = tuple(map(Path, ("/proc", "/sys")))
"""Where they are, for those that the list of mounts does not tell of: another container's."""
_MOST_MOUNTS = 16 << 20


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file, for as long as it is read. Raises OSError for what is none, or can't be read."""
    _refuse(path, path.stat())  # to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for somebody who writes
    with os.fdopen(descriptor, "rb") as file:
        _refuse(path, os.fstat(descriptor))
        yield file


def touched(path: Path) -> int:
    """The descriptor of a file that may be there already, to be locked. Raises OSError for a link, and what is none."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, MODE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, and a pipe that nobody reads
            raise _none(path) from error
        raise
    try:
        _refuse(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def new_file(path: Path) -> int:
    """The descriptor of a file that was not there, to be written: for whom the umask leaves of `MODE`."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)


def is_regular(path: Path) -> bool:
    """Whether there is a file that is kept somewhere. Raises OSError where that can't be seen."""
    return path.is_file() and not _is_made_up(path, path.stat().st_dev)


def _refuse(path: Path, found: os.stat_result) -> None:
    if not S_ISREG(found.st_mode):
        raise _none(path)
    if _is_made_up(path, found.st_dev):
        raise OSError(errno.EINVAL, "the kernel makes it up as it is read, and no disk is in it", str(path))


def _none(path: Path) -> OSError:
    return OSError(errno.EINVAL, "it is no file, but a folder, a pipe or a device", str(path))


def _is_made_up(path: Path, device: int) -> bool:
    resolved = Path(os.path.realpath(path))
    return any(resolved.is_relative_to(one) for one in _MADE_UP_BELOW) or _holds_nothing(device)


@cache
def _holds_nothing(device: int) -> bool:
    """Whether a file system, by the number that stat(2) gives its files, keeps none. Of one that is not told, no."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as file:
            mounts = file.read(_MOST_MOUNTS).splitlines()
    except OSError:
        return False
    # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue (proc(5))
    told = (line.partition(" - ") for line in mounts)
    kinds = {after.partition(" ")[0] for before, _, after in told if before.split()[2:3] == [wanted]}
    return bool(kinds & _MADE_UP)
