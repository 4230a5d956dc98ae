"""An SSH server that misbehaves when it is told to. It runs nothing: every command prints nothing and ends well."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

HOST = "127.0.0.1"


class Door:
    """Listens on a port of loopback. Its methods may be called from any thread."""

    def __init__(self, key: Path) -> None:
        """`key` is where the private key that opens it is written."""
        self._loop = asyncio.new_event_loop()
        self._opens = asyncssh.generate_private_key("ssh-ed25519")
        key.touch(mode=0o600)
        key.write_bytes(self._opens.export_private_key())
        self.key = key
        self.port = 0
        self.refuses = False
        self.on_refusal: Callable[[], None] = lambda: None
        """Called once, in a thread of its own, after somebody was not let in."""
        self.forced = b""
        self.logins = 0
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    def open(self) -> None:
        """Listen, with a host key of its own, on the same port each time."""
        self._wait(self._open())

    def close(self) -> None:
        """Listen no more, and drop every connection."""
        self._wait(self._close())

    def change_host_key(self) -> None:
        """Answer new connections with another key; those that are there stay."""
        self._wait(self._close(dropping=False))
        self._wait(self._open())

    def drop(self) -> None:
        """Drop every connection."""
        self._wait(self._drop())

    async def _open(self) -> None:
        self._acceptor = await asyncssh.listen(
            HOST,
            self.port,
            server_factory=lambda: _Server(self),
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            process_factory=self._serve,
            encoding=None,
            config=[],
            reuse_address=True,
        )
        self.port = self._acceptor.get_port()

    async def _close(self, *, dropping: bool = True) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        if dropping:
            await self._drop()

    async def _drop(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        if self.forced:
            process.stdout.write(self.forced)
            process.exit(142)
            return
        if "echo " in command and "exec cat" in command:
            self.logins += 1
            process.stdout.write(command.split()[1].encode() + b"\n")
            await process.stdin.read()
        elif command == "cat":
            process.stdout.write(await process.stdin.read())
        process.exit(0)

    def allows(self, key: asyncssh.SSHKey) -> bool:
        return not self.refuses and key.public_data == self._opens.public_data

    def after_refusal(self) -> None:
        if self.refuses:
            act, self.on_refusal = self.on_refusal, lambda: None
            threading.Thread(target=act).start()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @contextmanager
    def running(self) -> Iterator[Door]:
        """Serve for the length of a `with` block; it is open at first."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self.open()
        try:
            yield self
        finally:
            self.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.run_until_complete(_finish())
            self._loop.close()


class _Server(asyncssh.SSHServer):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._door.connections.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._connection is not None:
            self._door.connections.discard(self._connection)
            self._door.after_refusal()

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, _username: str, key: asyncssh.SSHKey) -> bool:
        return self._door.allows(key)


async def _finish() -> None:
    """Let what was dropped come to its end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
