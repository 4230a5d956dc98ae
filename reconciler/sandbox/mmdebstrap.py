"""mmdebstrap, as the sandbox runs it: in mounts of its own, each step told, and what went wrong in one sentence."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel
from reconciler.sandbox.archive import MIRROR, OLD_KEYRING, SUITE
from reconciler.sandbox.published import apt_proxies

Tell = Callable[[str], None]

NEEDED_BYTES = 900 * 1024**2  # 330 MB stay, and the packages lie beside them while they are unpacked
ELSEWHERE = "name another folder of root's for caches: XDG_CACHE_HOME"
"""The hint where the cache's folder does not do."""

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
_FULL = re.compile(r"No space left on device|enough free space", re.IGNORECASE)
_GRACE_SECONDS = 2  # mmdebstrap may wait for a package script to end, which has no reason to


def run(
    draft: Path, *, lines: Sequence[str], packages: Sequence[str], removed: Sequence[str], kept: int, tell: Tell
) -> None:
    """Make a Debian with these packages in `draft`, from an archive by its lines of sources.list.

    `removed` are patterns of files that go in the end. Whatever runs keeps the file `kept` open, so that the draft of
    one who was killed is not swept while it is still written. However this ends, nothing goes on or stays mounted.

    Raises:
        UserError: the archive can't be reached, is not trusted, or failed in the middle; or there is no room.
    """
    hidden = " ".join(f'"$1"/{path}' for path in removed)
    process = subprocess.Popen(
        [
            # What it mounts in the draft, and what it starts, nobody else sees, and all of it ends with it, as it does
            # with whoever began it.
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *("unshare", "--mount-proc", "--propagation", "private", "--pid", "--fork", "--kill-child", "--"),
            *("mmdebstrap", "--verbose", "--mode=root", "--variant=minbase", "--format=directory"),
            f"--include={','.join(packages)}",
            *(f"--aptopt=Acquire::Retries {_TRIES - 1}", "--aptopt=Acquire::http::Timeout 15"),
            "--dpkgopt=force-unsafe-io",
            *(f"--aptopt={line.rstrip(';')}" for line in apt_proxies().splitlines()),
            *_trusted(),
            f"--customize-hook=rm -f -- {hidden}",
            *(SUITE, str(draft), *lines),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        env=_environment(draft.parent),
        start_new_session=True,
        umask=0o022,  # what package scripts make is as on any Debian
        pass_fds=[kept],
    )
    said: deque[str] = deque(maxlen=400)
    try:
        with process:
            try:
                _listen(process, said, lists=max(_LISTS, len(lines)), tell=tell)
            except BaseException:
                _end(process)
                raise
    finally:
        for left in draft.parent.glob("mmdebstrap.*"):
            shutil.rmtree(left, ignore_errors=True)
    if process.returncode != 0:
        raise _failure(list(said), draft.parent)


def _listen(process: subprocess.Popen[str], said: deque[str], *, lists: int, tell: Tell) -> None:
    """Note what it says, and tell of each step; end it where the archive is taken to be down."""
    failed, patience = 0, _PATIENCE
    for line in process.stderr or ():
        said.append(line.rstrip())
        if step := next((step for sign, step in _STEPS if line.startswith(f"I: {sign}")), None):
            tell(step)
            failed = 0
            patience = _TRIES * lists if step == _STEPS[0][1] else _PATIENCE
        failed += bool(_FAILED.match(line))
        if failed > patience:
            said.append(_SILENT)
            _end(process)
            return


def _end(process: subprocess.Popen[str]) -> None:
    """End a process, which is not reaped yet, so that its group is still its own, and with it all that it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _trusted() -> list[str]:
    """Have Debian's keys trusted besides those of /etc/apt/trusted.gpg.d: mmdebstrap finds them with gpg's help only.

    Apt takes one file more, and that place may be taken.
    """
    return [] if OLD_KEYRING.exists() else [f"--keyring={kernel.keyring()}"]


def _environment(folder: Path) -> dict[str, str]:
    """What mmdebstrap and the scripts of packages start with: of the caller's, only the way to the archive."""
    proxies = {name: value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy"}}
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *kernel.ROOTS])
    settled = {"LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    return {**proxies, **settled, "PATH": path, "TMPDIR": str(folder)}  # it takes the draft's, once there is one


def _failure(said: Sequence[str], folder: Path) -> UserError:
    text = "\n".join(said)
    if _FULL.search(text):
        return no_room(folder, "it was full in the middle")
    if refused := next((line for line in said if line.startswith("unshare: ")), ""):
        return UserError(
            f"the sandbox's Debian could not be made: the kernel refused mounts of its own ({refused[:200]})",
            hint=kernel.WHERE_ALLOWED,
        )
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


def no_room(folder: Path, found: str) -> UserError:
    """The error for a folder without room; `found` says what was seen."""
    return UserError(
        f"the sandbox's Debian does not fit in {folder}: {found}, {NEEDED_BYTES // 1024**2} MB are needed",
        hint=f"make room, or {ELSEWHERE}",
    )
