"""One command over SSH: run inside the instance, with its input, output, terminal and end passed on."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import shlex
import signal
import struct
import termios

import asyncssh

from reconciler.sandbox.machine import HOST_ENVIRONMENT, Login, Machine

_SFTP_SERVER = "/usr/lib/openssh/sftp-server"
_CHUNK = 64 * 1024
# How long a command whose client has gone may take to end itself.
_GRACE_SECONDS = 2.0


async def run(process: asyncssh.SSHServerProcess[bytes], machine: Machine, login: Login) -> None:
    """Run what the client asked for, to its end or until the client is gone."""
    arguments = _arguments(process, machine, login)
    if process.term_type is None:
        child = await asyncio.create_subprocess_exec(
            *arguments,
            cwd="/",
            env=HOST_ENVIRONMENT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        pumps = _piped(process, child)
        feed = _feed(process, child.pid, _Pipe(child.stdin))
    else:
        ours, theirs = pty.openpty()
        _resize(ours, process.term_size)
        # setsid, as the command's session needs the terminal as its controlling one.
        child = await asyncio.create_subprocess_exec(
            "setsid", "--ctty", *arguments, cwd="/", env=HOST_ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        pumps = [_from_terminal(ours, process.stdout)]
        feed = _feed(process, child.pid, _Terminal(ours))
    await _until_the_end(process, child, pumps, feed)


async def _until_the_end(
    process: asyncssh.SSHServerProcess[bytes],
    child: asyncio.subprocess.Process,
    pumps: list[asyncio.Task[None]],
    feed: asyncio.Task[None],
) -> None:
    async def finish() -> None:
        await asyncio.gather(child.wait(), *pumps, return_exceptions=True)

    gone = asyncio.ensure_future(process.channel.wait_closed())
    done = asyncio.ensure_future(finish())
    await asyncio.wait([done, gone], return_when=asyncio.FIRST_COMPLETED)
    feed.cancel()
    if not done.done():
        _signal(child.pid, signal.SIGHUP)
        await asyncio.wait([done], timeout=_GRACE_SECONDS)
        _signal(child.pid, signal.SIGKILL)
        await done
    gone.cancel()
    code = await child.wait()
    with contextlib.suppress(OSError):  # the client has gone
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)


def _arguments(process: asyncssh.SSHServerProcess[bytes], machine: Machine, login: Login) -> list[str]:
    if process.subsystem == "sftp":
        command = [login.shell, "-c", _SFTP_SERVER]
    elif process.command is None:
        command = [login.shell, "-l"]
    else:
        command = [login.shell, "-c", process.command]
    variables = login.environment()
    if process.term_type is not None:
        variables["TERM"] = process.term_type
    # What the client sends along (ssh's SendEnv): locale only, as sshd's AcceptEnv has it in Debian.
    variables |= {name: value for name, value in process.env.items() if name == "LANG" or name.startswith("LC_")}
    # By a shell and not by env's --chdir: a home that is missing is no reason to refuse, sshd starts in / then.
    enter = f"cd {shlex.quote(login.home)} 2>/dev/null; exec {shlex.join(command)}"
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return machine.command(["env", "-i", *pairs, "/bin/sh", "-c", enter], uid=login.uid, gid=login.gid)


class _Pipe:
    """Input of a command without a terminal."""

    def __init__(self, writer: asyncio.StreamWriter | None) -> None:
        if writer is None:  # it was asked for
            raise AssertionError
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        self._writer.close()

    def resize(self, size: tuple[int, int, int, int]) -> None:
        """A pipe has no size."""


class _Terminal:
    """Input of a command with a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write(self, data: bytes) -> None:
        await asyncio.to_thread(_write_all, self._descriptor, data)

    def end(self) -> None:
        """End of file is a character to a terminal."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, b"\x04")

    def resize(self, size: tuple[int, int, int, int]) -> None:
        _resize(self._descriptor, size)


def _feed(process: asyncssh.SSHServerProcess[bytes], pid: int, target: _Pipe | _Terminal) -> asyncio.Task[None]:
    async def pump() -> None:
        while True:
            try:
                data = await process.stdin.read(_CHUNK)
            except asyncssh.TerminalSizeChanged as change:
                target.resize(change.term_size)
                continue
            except asyncssh.SignalReceived as received:
                _signal(pid, signal.Signals[f"SIG{received.signal}"])
                continue
            except asyncssh.BreakReceived:
                continue
            if not data:
                target.end()
                return
            await target.write(data)

    async def quietly() -> None:
        # A command may end without reading all of its input.
        with contextlib.suppress(OSError, asyncssh.Error):
            await pump()

    return asyncio.ensure_future(quietly())


def _piped(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> list[asyncio.Task[None]]:
    async def pump(reader: asyncio.StreamReader | None, writer: asyncssh.SSHWriter[bytes]) -> None:
        while reader is not None and (data := await reader.read(_CHUNK)):
            writer.write(data)
            await writer.drain()

    return [
        asyncio.ensure_future(pump(child.stdout, process.stdout)),
        asyncio.ensure_future(pump(child.stderr, process.stderr)),
    ]


def _from_terminal(descriptor: int, writer: asyncssh.SSHWriter[bytes]) -> asyncio.Task[None]:
    def read() -> bytes:
        try:
            return os.read(descriptor, _CHUNK)
        except OSError:
            return b""  # how Linux says that the other end of a terminal is closed

    async def pump() -> None:
        try:
            while data := await asyncio.to_thread(read):
                writer.write(data)
                await writer.drain()
        finally:
            os.close(descriptor)

    return asyncio.ensure_future(pump())


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _resize(descriptor: int, size: tuple[int, int, int, int]) -> None:
    columns, rows, width, height = size
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
