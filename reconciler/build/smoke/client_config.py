"""The settings of the OpenSSH client for one test, all in one file, so that no other has an influence."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.build.tester import TestRequest

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
