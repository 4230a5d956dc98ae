"""The settings of the OpenSSH client for one test, all in one file, so that no other has an influence."""

from __future__ import annotations

import os
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
_LONGEST_SOCKET = 104 - 17 - 1

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
    known_hosts: Path
    socket: Path


@contextmanager
def written(request: TestRequest) -> Iterator[ClientConfig]:
    """The client's settings for a test, written to its folder.

    The one connection is opened and watched by us; every other client joins it by the socket (`ControlMaster no`), or,
    while it is being opened anew after a reboot, connects by itself. The socket is in a folder of its own, as its path
    must be short; the folder goes at the end.
    """
    folder = request.folder.absolute()
    with tempfile.TemporaryDirectory(prefix="rec-", dir=_short_folder()) as sockets:
        config = ClientConfig(folder / "ssh_config", folder / "known_hosts", Path(sockets, "s"))
        config.file.write_text(text(request, config), encoding="utf-8")
        yield config


def text(request: TestRequest, config: ClientConfig) -> str:
    """The content of the file (ssh_config(5))."""
    return _TEMPLATE.format(
        alias=ALIAS,
        address=request.address.replace("%", "%%"),  # an IPv6 address may name its interface
        port=request.port,
        user=_quoted(request.user),
        key=_path(request.private_key.absolute()),
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


def _short_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len("/rec-12345678/s") <= _LONGEST_SOCKET else "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
