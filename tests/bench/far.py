"""A server as it is from far away: what it answers arrives so many milliseconds later. Counts what is asked.

python far.py HOST:PORT MILLISECONDS prints the address to ask, and for each line that it is sent the requests so far.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Far:
    """Such a server, seen from here."""

    host: str
    _process: subprocess.Popen[str]

    def asked(self) -> int:
        """How many requests it has had."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def away(host: str, *, milliseconds: int) -> Iterator[Far]:
    """Put a server far away, in a process of its own."""
    command = [sys.executable, __file__, host, str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Far(process.stdout.readline().strip(), process)
        finally:
            process.terminate()


async def _serve(host: str, seconds: float) -> None:
    asked, meetings = 0, set()
    server, _, port = host.rpartition(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool) -> None:
        nonlocal asked
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                if not late:
                    asked += 1  # a client sends a request at once, and no other before it has the answer
                    writer.write(piece)
                else:
                    loop.call_later(seconds, writer.write, piece)
        loop.call_later(seconds if late else 0, writer.close)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        meetings.add(asyncio.current_task())  # asyncio itself forgets a task that nobody holds
        there, back = await asyncio.open_connection(server, int(port))
        await asyncio.gather(relay(reader, back, late=False), relay(there, writer, late=True))

    listening = await asyncio.start_server(meet, "127.0.0.1", 0)
    sys.stdout.write(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{asked}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]) / 1000))
