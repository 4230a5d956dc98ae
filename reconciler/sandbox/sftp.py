"""`python -m reconciler.sandbox.sftp ROOT UID GID HOME`: an SFTP server inside an instance.

Stands in for OpenSSH's sftp-server where the host has none. It is a process of its own so that chroot(2) keeps
it inside: resolving paths ourselves would let a link in the instance lead to a file of the host.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import sys
from typing import Any, cast

from asyncssh.logging import logger
from asyncssh.sftp import SFTPServer, run_sftp_server

_VERSION = 3  # what OpenSSH speaks


class _Input(asyncio.StreamReader):
    """Standard input with the extras that asyncssh asks of a reader."""

    logger = logger

    def get_extra_info(self, _name: str, default: object = None) -> object:
        return default


class _Channel:
    """The part of an SSH channel that asyncssh's SFTP server looks at."""

    logger = logger

    def is_closing(self) -> bool:
        return False


class _Output:
    """Standard output with the face of an SSH writer."""

    channel = _Channel()

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = _Input()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout.buffer)
    channel: Any = _Channel()
    await run_sftp_server(SFTPServer(channel), cast("Any", reader), cast("Any", _Output(transport)), _VERSION)


def main(root: str, uid: str, gid: str, home: str) -> None:
    """Enter the instance for good and serve files over stdin and stdout."""
    # Loads what is needed to tell names, before the host's libraries are out of reach.
    pwd.getpwuid(0)
    grp.getgrgid(0)
    os.chroot(root)
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    os.chdir(home if os.path.isdir(home) else "/")  # noqa: PTH112  pathlib may load modules from outside
    asyncio.run(_serve())


if __name__ == "__main__":
    main(*sys.argv[1:5])
