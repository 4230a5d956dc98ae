"""A server as it is from far away: what it answers arrives so many milliseconds later. Counts what is asked.

It is asked once for each thing: what is measured is who asks, and on two cores it would be in the way. Reads alone.

python far.py HOST:PORT MILLISECONDS prints the address to ask, and for each line that it is sent the requests so far.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection


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
    asked, known, meetings = 0, dict[bytes, bytes](), set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        meetings.add(asyncio.current_task())  # asyncio itself forgets a task that nobody holds
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                asked += 1
                line = request.partition(b"\r\n")[0]
                if line not in known:
                    known[line] = await asyncio.to_thread(_answer, host, request.decode())
                await asyncio.sleep(seconds)
                writer.write(known[line])
        writer.close()

    listening = await asyncio.start_server(meet, "127.0.0.1", 0)
    sys.stdout.write(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        sys.stdout.write(f"{asked}\n")
        sys.stdout.flush()


def _answer(host: str, request: str) -> bytes:
    """What the server answers a GET or a HEAD, as one that keeps the connection."""
    line, *rest = request.split("\r\n")
    method, path, _ = line.split(" ")
    headers = dict(one.split(": ", 1) for one in rest if one)
    server = HTTPConnection(host)
    server.request(method, path, headers={"Accept": headers["Accept"]})
    answer = server.getresponse()
    body = answer.read()
    dropped = ("connection", "content-length", "transfer-encoding")
    told = [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in dropped]
    server.close()
    lines = (f"HTTP/1.1 {answer.status} {answer.reason}", *told, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode() + body


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]) / 1000))
