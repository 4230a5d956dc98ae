"""The Debian that every instance stands on: made once by mmdebstrap, kept in the user's cache, never written again.

It has what a cloud image has, and nothing of the machine that made it. A root is kept under a name that says what is
in it: suite, architecture, and a digest of packages, archive and recipe. So another version of the sandbox that wants
other packages makes another one. Whoever uses a root holds its lock, and whoever makes one the folder's. One that
nobody has used for a month goes when the next is made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import pwd
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reconciler.model.errors import UserError
from reconciler.ports.machine import cache_of
from reconciler.sandbox import archive, kernel, mmdebstrap
from reconciler.sandbox.mmdebstrap import ELSEWHERE, NEEDED_BYTES, Tell, no_room

SUITE, MIRROR = archive.SUITE, archive.MIRROR
NAME = "the sandbox's own Debian 12"
"""What is inside of every published image, whoever publishes it, as people are told."""

# What Debian's own cloud images have and provisioners count on. The Python is Ansible's, the rest is for people.
_PACKAGES = (
    "apt-utils", "ca-certificates", "cloud-init", "curl", "dbus", "gpg", "iproute2", "less", "netbase",
    "openssh-server", "procps", "python3", "python3-apt", "sudo", "systemd-sysv", "wget",
)  # fmt: skip
# mmdebstrap copies the first three from its host, and package scripts make host keys, which a published image has not.
_NOT_PUBLISHED = (
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/ssh/ssh_host_*",
)
_RECIPE = 1
"""Raised when a root that was made before would differ in another way than by its packages."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_UNUSED_SECONDS = 30 * 24 * 3600
_UNFIT = r"[:\"\\\x00-\x1f]"


def cache_folder() -> Path:
    """Where roots are kept: in the cache of whoever runs it, also where the environment names no home."""
    of_user = {"HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    folder = cache_of(os.environ, "sandbox") or cache_of(of_user, "sandbox")
    if folder is None:
        raise UserError("there is no place to keep the sandbox's Debian in: set XDG_CACHE_HOME to a folder")
    return folder


@contextmanager
def held(tell: Tell) -> Iterator[tuple[Path, int]]:
    """Hold the root, made first where there is none: its folder, and the open lock for a process that goes on using it.

    `tell` hears what is made and how long it takes, then one line a step; nothing where the root is there.

    Raises:
        UserError: no root can be made: not root, no mmdebstrap, no room, no permission, or the archive can't be
            reached or failed in the middle.
    """
    if os.geteuid() != 0:
        raise kernel.root_needed()
    folder = cache_folder()
    _make_folder(folder)
    lines = archive.found(folder, named=_name)
    root = folder / _name(lines)
    with _locked(root.with_name(f"{root.name}.lock"), tell=tell) as lock:
        if not root.exists():
            with _making(folder, tell=tell) as making:
                if not root.exists():  # somebody else may have made it in between
                    _make(root, lines=lines, lock=lock, making=making, tell=tell)
        _require_own(root)
        _require_whole(root, lock)
        os.utime(root.with_name(f"{root.name}.lock"))
        yield root, lock


def _name(lines: Sequence[str]) -> str:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise UserError(
            f"the sandbox has no Debian for {machine}", hint="run it on one of: " + ", ".join(sorted(_ARCHITECTURES))
        )
    content = json.dumps([_RECIPE, SUITE, _PACKAGES, _NOT_PUBLISHED, list(lines)])
    return f"debian-{SUITE}-{_ARCHITECTURES[machine]}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _make_folder(folder: Path) -> None:
    if unfit := re.search(_UNFIT, str(folder)):
        raise UserError(f"the sandbox's Debian can't be made in {folder}: apt takes no {unfit[0]!r} in a path",
                        hint=ELSEWHERE)  # fmt: skip
    with _told_plainly(folder, "made"):
        # For its owner alone to write, whatever the umask: Packer's part of the cache is beside it, and is run.
        for parent in reversed(folder.parents):
            if not parent.exists():
                parent.mkdir(exist_ok=True, mode=0o755)
        folder.mkdir(exist_ok=True, mode=0o700)
    _require_own(folder)
    for above in folder.resolve().parents:
        _require_nobody_elses(above, folder)


@contextmanager
def _told_plainly(path: Path, what: str) -> Iterator[None]:
    """Translate what a file system refuses: no room, no right, or something else in its place."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path} can't be {what}: {error.strerror or error}",
            hint=f"make room, or remove what is in the way, or {ELSEWHERE}",
        ) from error


def _require_own(folder: Path) -> None:
    """Programs in it run as root, so it has to be root's, and nobody else's to write."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else "is no folder"
    elif found.st_uid != os.geteuid() or found.st_mode & 0o022:
        mode = f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
        what = f"is not this user's alone ({mode}), and its programs would run as root"
    else:
        return
    raise UserError(
        f"{folder} {what}",
        hint=("remove it, and it is made anew", f"or {ELSEWHERE}"),
    )


def _require_nobody_elses(above: Path, folder: Path) -> None:
    """Whoever may write to a folder above puts another in the place of what was looked at, and is root by that."""
    found = above.stat()
    others = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or others:
        whose = f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
        raise UserError(
            f"{folder} is in {above}, which is somebody else's too ({whose}): its programs would run as root",
            hint=ELSEWHERE,
        )


def _require_whole(root: Path, lock: int) -> None:
    """Refuse a root of which files were removed, as by whoever tidies caches: instances would break in odd ways."""
    noted = os.pread(lock, 64, 0).decode("ascii", errors="replace").split()
    found = [str(number) for number in _extent(root)][: len(noted)]  # older versions noted files alone, or nothing
    for before, now, what in zip(noted, found, ("files", "bytes"), strict=False):
        if before != now:
            raise UserError(
                f"{root} is damaged: {before} {what} were made, and {now} are there",
                hint="remove it, and it is made anew",
            )


def _extent(root: Path) -> tuple[int, int]:
    """How many files and folders there are, and how many bytes in the files."""
    files = size = 0
    folders = [os.fspath(root)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                files += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
    return files, size


@contextmanager
def _locked(path: Path, *, tell: Tell) -> Iterator[int]:
    """Hold a lock file shared with others. One that was removed while it was waited for is taken anew."""
    while True:
        with _told_plainly(path, "opened"):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(lock, fcntl.LOCK_SH, tell=tell)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(lock).st_ino:
                    yield lock
                    return
        finally:
            os.close(lock)


def _lock(lock: int, how: int, *, tell: Tell) -> None:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        tell("Another process is making the sandbox's Debian; waiting for it.")
        fcntl.flock(lock, how)


@contextmanager
def _making(folder: Path, *, tell: Tell) -> Iterator[int]:
    """Hold the folder itself for a making: one at a time, and none waits for those who use what is there."""
    with _told_plainly(folder, "opened"):
        making = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(making, fcntl.LOCK_EX, tell=tell)
        yield making
    finally:
        os.close(making)


def _make(root: Path, *, lines: Sequence[str], lock: int, making: int, tell: Tell) -> None:
    """Make the root whole, or not at all."""
    kernel.require_for_making()
    draft = root.with_name(f"{root.name}.draft")
    with _told_plainly(draft, "removed"):
        _remove(draft)  # of a maker that was killed
        _remove_unused(root.parent)
    free = shutil.disk_usage(root.parent).free
    if free < NEEDED_BYTES:
        raise no_room(root.parent, f"{free // 1024**2} MB are free")
    tell(
        f"Making the sandbox's Debian 12, once: half a minute to three, 330 MB in {root.parent}. "
        "Later runs find it there."
    )
    try:
        mmdebstrap.run(draft, lines=lines, packages=_PACKAGES, removed=_NOT_PUBLISHED, kept=making, tell=tell)
        with _told_plainly(root, "made"):
            files, size = _extent(draft)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{files} {size}\n".encode(), 0)
            kernel.sync(draft)
            draft.rename(root)
    except BaseException:
        with suppress(OSError):  # the next making sweeps what this could not, and what went wrong is said
            _remove(draft)
        raise


def _remove_unused(folder: Path) -> None:
    for path in folder.glob("*.lock"):
        root = path.with_suffix("")
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # in use, or our own
            _remove(path.with_suffix(".draft"))  # of a maker that was killed
            if time.time() - path.stat().st_mtime > _UNUSED_SECONDS:
                _remove(root)
                path.unlink()


def _remove(tree: Path) -> None:
    """Remove a tree, and nothing that is mounted in it: an older version's mmdebstrap left /sys there, if killed."""
    if os.path.lexists(tree):
        kernel.unmount_below(tree)
        shutil.rmtree(tree)
