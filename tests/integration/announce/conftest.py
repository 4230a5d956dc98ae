"""A receiver on loopback that answers as it is told, and an announcement to send it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reconciler.announce.access import RetryPolicy
from reconciler.model.announcement import Announcement, RecordedImage, announcement
from reconciler.model.lockfile import Artifact, Build

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
_OURS = ("AWS_", "CIRCLE", "GITHUB_", "RECONCILER_", "REQUESTS_")


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered: a status, headers and a body. Without a status, nothing is until the test is over."""

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


class Receiver:
    """Answers as it was told, the last answer again and again; keeps what came. Untold, it answers 200."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._replies: list[Reply] = []
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        # Polled often, since shutting down waits for one poll.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answers(self, *statuses: int | None, headers: Mapping[str, str] | None = None, body: bytes = b"{}") -> None:
        """Add answers, one a status. None is no answer, until the test is over."""
        self._replies += [Reply(status, headers or {}, body) for status in statuses]

    def _next(self) -> Reply:
        return self._replies.pop(0) if len(self._replies) > 1 else next(iter(self._replies), Reply(200))

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's below
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.command, self.path, headers, body))
                reply = receiver._next()
                if reply.status is None:
                    receiver._over.wait()
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_PATCH = do_DELETE = do_POST  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Say nothing."""

        return Handler


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token, proxy or AWS of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that were waited, had it been in earnest."""
    return []


@pytest.fixture
def policy(pauses: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=pauses.append, chance=lambda: 1.0, now=lambda: NOW)


@pytest.fixture
def build() -> Build:
    return Build(
        id="20261122T101530Z-1a2b3c4",
        key="sha256:1a2b3c4",
        components={},
        commit="9c0d1e2f" * 5,
        artifacts=tuple(
            Artifact(kind="ami", builder="amazon-ebs.web", location=region, id=f"ami-{number}")
            for number, region in enumerate(("us-east-1", "cn-north-1"))
        ),
        phase="candidate",
    )


Announce = Callable[[Build], Announcement]


@pytest.fixture
def announced() -> Announce:
    """How a build is announced as the candidate of `web`."""

    def announced(build: Build) -> Announcement:
        return announcement(
            "candidate",
            build,
            of=RecordedImage("acme/images", "web", "main", "acme/images", "state/web.lock.json"),
            previous=None,
        )

    return announced


@pytest.fixture
def news(build: Build, announced: Announce) -> Announcement:
    return announced(build)
