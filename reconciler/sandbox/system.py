"""The Debian that every instance stands on: made once by mmdebstrap, kept in the user's cache, never written again.

It has what a cloud image has, and nothing of the machine that made it. A root is kept under a name that says what is
in it: suite, architecture, and a digest of packages, archive and recipe. So another version of the sandbox that wants
other packages makes another one. Whoever uses or makes a root holds its lock; one that nobody has used for a month
goes when the next is made.
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
import signal
import stat
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel
from reconciler.sandbox.published import apt_proxies

Tell = Callable[[str], None]

SUITE = "bookworm"
NAME = "the sandbox's own Debian 12"
"""What is inside of every published image, whoever publishes it, as people are told."""
MIRROR = "RECONCILER_SANDBOX_MIRROR"
"""The variable that names another Debian archive, for a machine that reaches no public one."""

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
_NEEDED_BYTES = 900 * 1024**2  # 330 MB stay, and the packages lie beside them while they are unpacked
_UNUSED_SECONDS = 30 * 24 * 3600
_STEPS = (
    ("running apt-get update", "reading the archive's lists"),
    ("downloading packages", "downloading packages"),
    ("extracting archives", "unpacking the essential ones"),
    ("installing essential", "installing the essential ones"),
    ("installing remaining", "installing the others"),
    ("cleaning package lists", "tidying up"),
)
STEPS = len(_STEPS)
"""How many steps a making tells of, after its first line."""

_OLD_KEYRING = Path("/etc/apt/trusted.gpg")
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Cannot initiate the connection"
    r"|Connection (?:failed|timed out|refused)|Network is unreachable|Could not wait for server"
    r"|Error reading from server|Remote end closed connection|Undetermined Error"
)
_FAILED = re.compile(r"(?:Ign|Err):\d+ ")
"""A line of apt about a file that it did not get, and may try again. An indented line below says why, if any does."""
_PATIENCE = 5
"""So many files that failed, and the mirror is taken to be down. apt would wait four times half a minute for each."""
_TRIES = 4
"""How often apt asks for a file. Only the last time does it say why it can't have it, such as for want of a network.
The lists are few: it is left to come to that."""
_LISTS = 3
"""Of suites, where mmdebstrap chooses the archive."""
_SILENT = "it stopped answering in the middle"
_UNTRUSTED = re.compile(r"signatures? .*verified|is not signed|NO_PUBKEY|EXPKEYSIG|Missing key", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|not enough free space", re.IGNORECASE)
_ELSEWHERE = "name another folder of root's for caches: XDG_CACHE_HOME"


def cache_folder() -> Path:
    """Where roots are kept, as the XDG base directory specification has it."""
    named, home = Path(os.environ.get("XDG_CACHE_HOME", "")), Path(os.environ.get("HOME", ""))
    if not home.is_absolute():
        home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    return (named if named.is_absolute() else home / ".cache") / "reconciler" / "sandbox"


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
    archive = _archive()
    root = cache_folder() / _name(archive)
    _make_folder(root.parent)
    with _locked(root.with_name(f"{root.name}.lock"), tell=tell) as lock:
        if not root.exists():
            _lock(lock, fcntl.LOCK_EX, tell=tell)
            if not root.exists():  # somebody else may have made it in between
                _make(root, archive=archive, lock=lock, tell=tell)
            fcntl.flock(lock, fcntl.LOCK_SH)
        _require_own(root)
        _require_whole(root, lock)
        os.utime(root.with_name(f"{root.name}.lock"))
        yield root, lock


def _name(archive: Sequence[str]) -> str:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise UserError(
            f"the sandbox has no Debian for {machine}", hint="run it on one of: " + ", ".join(sorted(_ARCHITECTURES))
        )
    content = json.dumps([_RECIPE, SUITE, _PACKAGES, _NOT_PUBLISHED, list(archive)])
    return f"debian-{SUITE}-{_ARCHITECTURES[machine]}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _archive() -> list[str]:
    """The lines of sources.list: a person's mirror, else this machine's own for the suite, else mmdebstrap's default.

    The machine's own, as a company's machines may reach that one only.
    """
    if named := os.environ.get(MIRROR):
        if not re.fullmatch(r"(?:https?|file|copy)://[^\s\"']+", named):
            raise UserError(f"{MIRROR} is {named!r}", hint="set it to an address, such as http://deb.debian.org/debian")
        return [f"deb {named} {SUITE} main"]
    if shutil.which("apt-get") is None:
        return []
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    known = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    wanted = [line.split() for line in told.stdout.splitlines()]
    lines = [f"deb {uri} {suite} main" for uri, suite, component in wanted if suite in known and component == "main"]
    return list(dict.fromkeys(lines)) if any(line.split()[2] == SUITE for line in lines) else []


def _make_folder(folder: Path) -> None:
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
            hint=f"make room, or remove what is in the way, or {_ELSEWHERE}",
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
        hint=("remove it, and it is made anew", f"or {_ELSEWHERE}"),
    )


def _require_nobody_elses(above: Path, folder: Path) -> None:
    """Whoever may write to a folder above puts another in the place of what was looked at, and is root by that."""
    found = above.stat()
    others = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or others:
        whose = f"owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}"
        raise UserError(
            f"{folder} is in {above}, which is somebody else's too ({whose}): its programs would run as root",
            hint=_ELSEWHERE,
        )


def _require_whole(root: Path, lock: int) -> None:
    """Refuse a root of which files were removed, as by whoever tidies caches: instances would break in odd ways."""
    noted = os.pread(lock, 32, 0).decode("ascii", errors="replace").strip()  # nothing where an older version made it
    found = str(_count(root)) if noted else ""
    if noted != found:
        raise UserError(
            f"{root} is damaged: {noted} files were made, and {found} are there",
            hint="remove it, and it is made anew",
        )


def _count(root: Path) -> int:
    return sum(len(folders) + len(files) for _, folders, files in os.walk(root))


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


def _make(root: Path, *, archive: Sequence[str], lock: int, tell: Tell) -> None:
    """Make the root whole, or not at all."""
    kernel.require_for_making()
    draft = root.with_name(f"{root.name}.draft")
    with _told_plainly(draft, "removed"):
        _remove(draft)  # of a maker that was killed
        _remove_unused(root.parent)
    free = shutil.disk_usage(root.parent).free
    if free < _NEEDED_BYTES:
        raise _no_room(root.parent, f"{free // 1024**2} MB are free")
    tell(
        f"Making the sandbox's Debian 12, once: half a minute to three, 330 MB in {root.parent}. "
        "Later runs find it there."
    )
    try:
        _run_mmdebstrap(draft, archive=archive, lock=lock, tell=tell)
        with _told_plainly(root, "made"):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{_count(draft)}\n".encode(), 0)
            draft.rename(root)
    finally:
        _remove(draft)


def _run_mmdebstrap(draft: Path, *, archive: Sequence[str], lock: int, tell: Tell) -> None:
    hidden = " ".join(f'"$1"/{path}' for path in _NOT_PUBLISHED)
    process = subprocess.Popen(
        [
            *("mmdebstrap", "--verbose", "--mode=root", "--variant=minbase", "--format=directory"),
            f"--include={','.join(_PACKAGES)}",
            *(f"--aptopt=Acquire::Retries {_TRIES - 1}", "--aptopt=Acquire::http::Timeout 15"),
            "--dpkgopt=force-unsafe-io",
            *(f"--aptopt={line.rstrip(';')}" for line in apt_proxies().splitlines()),
            *_trusted(),
            f"--customize-hook=rm -f -- {hidden}",
            *(SUITE, str(draft), *archive),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        env=_environment(),
        start_new_session=True,
        umask=0o022,  # what package scripts make is as on any Debian
        pass_fds=[lock],  # so that the draft of one who was killed is not swept while it is still written
    )
    said: deque[str] = deque(maxlen=400)
    failed, patience = 0, _PATIENCE
    with process:
        try:
            for line in process.stderr or ():
                said.append(line.rstrip())
                if step := next((step for sign, step in _STEPS if line.startswith(f"I: {sign}")), None):
                    tell(step)
                    failed = 0
                    patience = _TRIES * max(_LISTS, len(archive)) if step == _STEPS[0][1] else _PATIENCE
                failed += bool(_FAILED.match(line))
                if failed > patience:
                    said.append(_SILENT)
                    os.killpg(process.pid, signal.SIGTERM)
                    break
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)  # it is not reaped yet, so its group is still its own
            raise
    if process.returncode != 0:
        raise _failure(list(said), draft.parent)


def _trusted() -> list[str]:
    """Have Debian's keys trusted besides those of /etc/apt/trusted.gpg.d: mmdebstrap finds them with gpg's help only.

    Apt takes one file more, and that place may be taken.
    """
    return [] if _OLD_KEYRING.exists() else [f"--keyring={kernel.keyring()}"]


def _environment() -> dict[str, str]:
    """What mmdebstrap and the scripts of packages start with: of the caller's, only the way to the archive."""
    proxies = {name: value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy"}}
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *kernel.ROOTS])
    return {**proxies, "PATH": path, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}


def _failure(said: Sequence[str], folder: Path) -> UserError:
    text = "\n".join(said)
    if _FULL.search(text):
        return _no_room(folder, "it was full in the middle")
    reasons = [reason.strip() for line, reason in pairwise(said) if _FAILED.match(line) and reason.startswith(" ")]
    causes = reasons + [line for line in said if re.match(r"E: |dpkg: error", line)]
    reachable = [line.strip() for line in said if _UNREACHABLE.search(line)]
    reachable += [_SILENT] if _SILENT in said and not reasons else []
    if reachable:
        return UserError(
            f"the sandbox's Debian could not be made: its archive can't be reached ({reachable[0][:200]})",
            hint=("it needs the network, this once; nothing half-made was kept", f"another archive: {MIRROR}=http://…"),
        )
    untrusted = [line for line in said if _UNTRUSTED.search(line)]
    if untrusted:
        return UserError(
            f"the sandbox's Debian could not be made: its archive is signed with no key that is known here "
            f"({untrusted[0][:200]})",
            hint=("Debian's keys: apt-get install debian-archive-keyring", f"another archive: {MIRROR}=http://…"),
        )
    cause = next((line for line in causes if "mmdebstrap" not in line and "apt-get" not in line), "")
    cause = cause or next(iter(causes), "") or "".join(said[-1:])
    return UserError(
        f"the sandbox's Debian could not be made: {cause[:300]}",
        hint=("nothing half-made was kept: try again", f"another archive: {MIRROR}=http://…"),
    )


def _no_room(folder: Path, found: str) -> UserError:
    return UserError(
        f"the sandbox's Debian does not fit in {folder}: {found}, {_NEEDED_BYTES // 1024**2} MB are needed",
        hint=f"make room, or {_ELSEWHERE}",
    )


def _remove_unused(folder: Path) -> None:
    for path in folder.glob("*.lock"):
        root = path.with_suffix("")
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # in use, or our own
            if time.time() - path.stat().st_mtime > _UNUSED_SECONDS:
                _remove(root)
                path.unlink()


def _remove(tree: Path) -> None:
    if tree.exists():
        shutil.rmtree(tree)
