"""The OpenSSH client of one test: its settings in one file, and its errors in our words."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reconciler.model.text import visible
from reconciler.ports.tester import TestRequest

# The settings of the OpenSSH client for one test, all in one file, so that no other has an influence.

ALIAS = "instance"
"""What the instance is called in the file, and in pytest's output: `test_nginx_serves[ssh://instance]`."""

CONNECT_SECONDS = 10
DEAD_SECONDS = 15
"""How long a connection may be silent before it counts as dead: three questions, five seconds apart."""

# A socket's path has at most 104 bytes on macOS and the BSDs, 108 on Linux; while OpenSSH makes it, it has 17 more.
_LONGEST_FOLDER = 104 - 17 - 1 - len("/rec-12345678/s")

_PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")

_TEMPLATE = """\
Host {alias}
  HostName {address}
  Port {port}
  User {user}
  IdentityFile {key}
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  BatchMode yes
  RequestTTY no
  EscapeChar none
  ForwardAgent no
  ForwardX11 no
  StrictHostKeyChecking accept-new
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  UpdateHostKeys no
  HashKnownHosts no
  CheckHostIP no
  ConnectTimeout {connect}
  ServerAliveInterval {interval}
  ServerAliveCountMax 3
  ControlMaster no
  ControlPath {socket}
  LogLevel ERROR
"""


@dataclass(frozen=True)
class ClientConfig:
    """Where the files of one test's client are. None of `known_hosts` and `socket` need be there."""

    file: Path
    key: Path
    known_hosts: Path
    socket: Path


@contextmanager
def written(request: TestRequest) -> Iterator[ClientConfig]:
    """The client's settings for a test, with its key, in a folder that goes at the end.

    The one connection is opened and watched by us; every other client joins it by the socket (`ControlMaster no`), or,
    while it is being opened anew after a reboot, connects by itself. The folder is not the test's own, which lies in
    somebody's checkout: a socket's path must be short, ssh expands `${HOME}` in paths, and testinfra takes a command
    line with a letter beyond ASCII in it for one in the instance's encoding, which it asks the instance for.
    """
    with tempfile.TemporaryDirectory(prefix="rec-", dir=plain_folder(longest=_LONGEST_FOLDER)) as own:
        folder = Path(own)
        config = ClientConfig(folder / "ssh_config", folder / "key", folder / "known_hosts", folder / "s")
        config.key.touch(mode=0o600)
        if request.reached is None:
            config.key.write_bytes(request.private_key.read_bytes())
        config.file.write_text(text(request, config), encoding="utf-8")
        yield config


def is_plain(path: str) -> bool:
    """Whether a path is read as it stands by ssh, testinfra and pytest, whose arguments know `::`, `[` and `$`."""
    return _PLAIN.fullmatch(path) is not None


def plain_folder(*, longest: int | None = None) -> str:
    """A folder for temporary ones, whose path is plain, and has so many characters at most."""
    folder = tempfile.gettempdir()
    fits = is_plain(folder) and (longest is None or len(folder) <= longest)
    return folder if fits else "/tmp"  # noqa: S108 - private folders are made in it


def text(request: TestRequest, config: ClientConfig) -> str:
    """The content of the file (ssh_config(5))."""
    return _TEMPLATE.format(
        alias=ALIAS,
        address=request.address.replace("%", "%%"),  # an IPv6 address may name its interface
        port=request.port,
        user=_quoted(request.user),
        key=_path(config.key),
        known_hosts=_path(config.known_hosts),
        socket=_path(config.socket),
        connect=CONNECT_SECONDS,
        interval=DEAD_SECONDS // 3,
    )


def _path(path: Path) -> str:
    """A path as the file has it: OpenSSH would expand `%h` in it."""
    return _quoted(str(path).replace("%", "%%"))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# What OpenSSH's client says when it fails, in our words.

Kind = Literal["refused", "silent", "unreachable", "denied", "no-command", "changed-key", "here", "other"]
"""`here` is a fault of the client or its machine, and so is `unreachable` once it lasts: neither is the instance's."""

_HERE = re.compile(
    r"Bad configuration option|bad configuration options|Bad owner or permissions|No user exists for uid"
    r"|UNPROTECTED PRIVATE KEY FILE|Load key .{0,1000}?: |too long for Unix domain socket|Cannot allocate memory"
    r"|Too many open files|error while loading shared libraries"
)
_UNREACHABLE = re.compile(r"Network is unreachable|Cannot assign requested address|Address family not supported")

_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}")
_DENIED = re.compile(r"Permission denied \(([^)]{0,1000})\)|Too many authentication failures")
_REFUSED = re.compile(r"Connection refused")
_SILENT = re.compile(
    r"timed out|No route to host|Host is down|Could not resolve|Timeout, server \S{1,300} not responding"
)
_LONGEST = 160


@dataclass(frozen=True)
class Refusal:
    """Why there is no connection. `text` is one line that goes on from "no SSH: "."""

    kind: Kind
    text: str


def refusal(stderr: str, *, where: str, user: str) -> Refusal:
    """Why a connection was not made, or ended. `where` is the address that people know it by."""
    if _CHANGED.search(stderr):
        found = _FINGERPRINT.search(stderr)
        return Refusal("changed-key", f"the host key of {where} changed{f', to {found[0]}' if found else ''}")
    said = last_line(stderr)
    known: tuple[tuple[re.Pattern[str], Kind, str], ...] = (
        (_HERE, "here", f"`ssh` fails on this machine: {said}"),
        (_UNREACHABLE, "unreachable", f"this machine has no way to {where}"),
        (_DENIED, "denied", f"{where} answers, and does not let {visible(user)} in with the key"),
        (_REFUSED, "refused", f"{where} refuses the connection"),
        (_SILENT, "silent", f"{where} does not answer"),
    )
    for pattern, kind, text in known:
        if match := pattern.search(stderr):
            how = f" ({visible(match[1])})" if kind == "denied" and match[1] else ""
            return Refusal(kind, f"{text}{how}")
    return Refusal("other", f"{where}: {said}" if said else f"{where} closes the connection")


def no_command(printed: str, *, where: str, user: str) -> Refusal:
    """The refusal of a login that is let in and then runs no command: a `nologin` shell, a forced command."""
    said = next((f": {visible(line.strip())[:_LONGEST]}" for line in printed.splitlines() if line.strip()), "")
    return Refusal("no-command", f"{where} lets {visible(user)} in, and runs no command{said}")


def last_line(stderr: str) -> str:
    """The last line that says something, of a length that fits one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" \r\n\t@")]
    return visible(lines[-1])[:_LONGEST] if lines else ""
