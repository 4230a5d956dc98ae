"""What the sandbox needs of the host: five system calls, and programs."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from reconciler.model.errors import UserError

# The system calls that give the sandbox a mount table of its own, and what it makes a place on the disk.
#
# Called through libc: Python has no mount(2), and `os.unshare` only from 3.12 on.

MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_CLONE_NEWNS = 0x20000
_MNT_DETACH = 0x2
_UMOUNT_NOFOLLOW = 0x8

_libc = ctypes.CDLL(None, use_errno=True)


def own_mounts() -> None:
    """Give this process a mount table that nobody else sees.

    It must run before any thread starts: the mount table belongs to the calling thread and to those it starts.

    Raises:
        UserError: the kernel refuses, as it does without root, in most containers, and in a chroot that is no mount.
    """
    if os.geteuid() != 0:
        raise root_needed()
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise _refused("a mount namespace of its own", ctypes.get_errno())
    if _libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) != 0:
        if ctypes.get_errno() == errno.EINVAL:  # what `/` is here, is in the middle of what is mounted
            raise UserError(
                "the sandbox can't keep its mounts to itself in a chroot whose folder is no mount",
                hint="from outside, before chroot: `mount --rbind FOLDER FOLDER`",
            )
        raise _refused("mounts of its own", ctypes.get_errno())


def root_needed() -> UserError:
    """The error for a sandbox without root. sudo has a PATH of its own, which lacks what pipx and uv install."""
    program = shutil.which("reconciler")
    return UserError(
        "the sandbox needs root: it mounts a file system for each instance and listens on port 22 of loopback",
        hint="run it with sudo" + (f": `sudo {shlex.quote(program)} …`" if program else ""),
    )


def mount(
    source: str | None, target: str | Path, *, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    """Mount `source` on `target`.

    Raises:
        UserError: the kernel refuses.
    """
    result = _libc.mount(
        source.encode() if source is not None else None,
        str(target).encode(),
        kind.encode() if kind is not None else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    if result != 0:
        raise _refused(f"mounting {kind or source or 'privately'} on {target}", ctypes.get_errno())


def unmount(target: str | Path) -> None:
    """Detach what is mounted on `target`, with all that is mounted below it. Nothing there is no error."""
    _libc.umount2(str(target).encode(), _MNT_DETACH)


def unmount_below(folder: Path) -> None:
    """Detach all that this process sees mounted on `folder` or below it, so that whoever removes it removes no more.

    Raises:
        OSError: the kernel refuses one.
    """
    while mounted := _mounted_below(folder):
        for target in reversed(mounted):  # the last that was mounted is on top
            if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(target))


def _mounted_below(folder: Path) -> list[Path]:
    """Where something is mounted, as proc(5) has it: the fifth word of a line, blanks and the like in octal."""
    top = folder.parent.resolve() / folder.name  # a link is none of what it leads to
    words = [line.split(b" ")[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]
    places = [re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), word) for word in words]
    return [place for place in map(Path, map(os.fsdecode, places)) if place.is_relative_to(top)]


def sync(folder: Path) -> None:
    """Wait until all that was written to the file system of `folder` would outlast a power cut.

    Raises:
        OSError: it could not be written, or `folder` can't be opened.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(opened) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(opened)


WHERE_ALLOWED = ("in a container: start it with --privileged", "elsewhere: run the sandbox with sudo")
"""The hint where the kernel refuses."""


def _refused(what: str, number: int) -> UserError:
    return UserError(
        f"the kernel refused {what}: {os.strerror(number)}",
        hint=WHERE_ALLOWED,
    )


# The programs of the host that the sandbox runs.

# And the package that each is in, on Debian and Ubuntu.
_NEEDED = {
    "cp": "coreutils",
    "nsenter": "util-linux",
    "openssl": "openssl",  # signs the proxy's certificates
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
}
_NEEDED_FOR_MAKING = {
    "apt-get": "apt",
    "dpkg": "dpkg",
    "mmdebstrap": "mmdebstrap",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
_KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
# Where root's programs are. Debian leaves these folders out of everybody else's PATH, and `su` keeps that PATH.
ROOTS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def make_findable() -> None:
    """Let this process and its children find root's programs."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *ROOTS])


def require() -> None:
    """Check that every program is there that a sandbox runs.

    Raises:
        UserError: some are missing.
    """
    _require(_NEEDED)


def require_for_making() -> None:
    """Check that every program is there that the making of the sandbox's Debian runs.

    Raises:
        UserError: some are missing.
    """
    _require(_NEEDED_FOR_MAKING)
    keyring()


def keyring() -> Path:
    """The keys of Debian's archive. Ubuntu and Debian's derivatives do not trust them by themselves.

    Raises:
        UserError: they are not here.
    """
    for place in map(Path, _KEYRINGS):
        if place.is_file():
            return place
    raise UserError(
        "the sandbox's Debian can't be made: the keys of Debian's archive are not here",
        hint="apt-get install debian-archive-keyring",
    )


def _require(needed: Mapping[str, str]) -> None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ROOTS])
    missing = [name for name in needed if shutil.which(name, path=path) is None]
    if missing:
        packages = sorted({needed[name] for name in missing})
        raise UserError(
            f"the sandbox needs programs that are not here: {', '.join(missing)}",
            hint=f"apt-get install {' '.join(packages)}",
        )
