"""The SSH side of instances: a listener per address that lets in whoever has the instance's key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TypeVar

import asyncssh

from reconciler.sandbox import session
from reconciler.sandbox.machine import Login, Logins, Machine

_Result = TypeVar("_Result")
# Without ChaCha20, which OpenSSH would rather have, and which asyncssh puts together anew for each packet, in Python.
_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"]


class SecureShell:
    """Opens and closes the doors of instances. Its methods are called from the threads that answer AWS calls."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # One key for all: an address is used again by other instances, and `ssh` would call that an attack.
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._doors: dict[str, asyncssh.SSHAcceptor] = {}
        self._inside: dict[str, set[asyncssh.SSHServerConnection]] = {}
        self._entering: dict[str, set[asyncio.Future[Login]]] = {}

    def open(self, address: str, machine: Machine, logins: Logins, *, port: int, impostor: bool = False) -> None:
        """Listen on `address` for `machine`; return once a client can connect. An impostor has another host key."""
        host_key = asyncssh.generate_private_key("ssh-ed25519") if impostor else self._host_key
        key = asyncssh.import_public_key(logins.public_key) if logins.public_key else None
        inside = self._inside[address] = set()
        entering = self._entering[address] = set()

        async def listen() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(
                address,
                port,
                server_factory=lambda: _Door(machine, logins, key, inside, entering),
                server_host_keys=[host_key],
                encryption_algs=_CIPHERS,
                encoding=None,
                line_editor=False,
                # Not the settings of the person at the keyboard.
                config=[],
                agent_forwarding=False,
                gss_host=None,
            )

        self._doors[address] = self._wait(listen())

    def close(self, address: str) -> None:
        """Stop listening on `address` and drop its connections."""
        door = self._doors.pop(address, None)
        if door is None:
            return

        async def shut() -> None:
            door.close()
            # Whoever has logged in is made ready first: Packer's key is in an image also if it ran nothing there.
            await asyncio.gather(*self._entering.pop(address), return_exceptions=True)
            for connection in list(self._inside.pop(address)):
                connection.abort()
            await door.wait_closed()

        self._wait(shut())

    def _wait(self, work: Coroutine[None, None, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Door(asyncssh.SSHServer):
    """One connection."""

    def __init__(
        self,
        machine: Machine,
        logins: Logins,
        key: asyncssh.SSHKey | None,
        inside: set[asyncssh.SSHServerConnection],
        entering: set[asyncio.Future[Login]],
    ) -> None:
        self._machine = machine
        self._logins = logins
        self._key = key
        self._name = ""
        self._inside = inside
        self._entering = entering
        self._login: asyncio.Future[Login] | None = None
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._inside.add(conn)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._connection is not None:
            self._inside.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._name = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        offered = key.public_data
        if self._key is not None and offered == self._key.public_data:
            return True
        login = self._logins.find(username)
        return login is not None and offered in _authorized(self._machine, login)

    def auth_completed(self) -> None:
        self._login = asyncio.ensure_future(asyncio.to_thread(self._logins.become, self._name))
        self._entering.add(self._login)
        self._login.add_done_callback(self._entering.discard)

    def session_requested(self) -> asyncssh.SSHServerProcess[bytes]:
        return _Session(self._run)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if self._login is None:  # nobody asks for a session before that
            raise AssertionError
        await session.run(process, self._machine, await asyncio.shield(self._login))


class _Session(asyncssh.SSHServerProcess[bytes]):
    """A session whose every request, SFTP too, is a command inside the instance."""

    def __init__(self, runner: Callable[[asyncssh.SSHServerProcess[bytes]], Coroutine[None, None, None]]) -> None:
        super().__init__(runner, None, 3, allow_scp=False)

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp"

    def session_started(self) -> None:
        # asyncssh would serve SFTP itself here, from the host's files.
        if self._conn is None or self._chan is None:  # a session that starts has both
            raise AssertionError
        reader = asyncssh.SSHReader(self, self._chan)
        writer = asyncssh.SSHWriter(self, self._chan)
        errors = asyncssh.SSHWriter(self, self._chan, asyncssh.EXTENDED_DATA_STDERR)
        handler = self._start_process(reader, writer, errors)
        if handler is not None:
            self._conn.create_task(handler)


def _authorized(machine: Machine, login: Login) -> set[bytes]:
    """The keys that the image itself brings for this user."""
    keys: set[bytes] = set()
    with contextlib.suppress(OSError):
        for line in machine.read(f"{login.home}/.ssh/authorized_keys").splitlines():
            with contextlib.suppress(asyncssh.KeyImportError):
                keys.add(asyncssh.import_public_key(line).public_data)
    return keys
