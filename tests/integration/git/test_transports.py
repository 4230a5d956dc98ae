"""The ways to a remote: git's own protocol, HTTP and SSH, by real servers on loopback."""

from __future__ import annotations

import os
import shlex
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.git.objects import Recorded, TagRequest
from reconciler.git.recorder import Recorder
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from tests.integration.git.conftest import Origin, Waits, git, writing

RecorderIn = Callable[..., Recorder]


class _Daemon(socketserver.ThreadingTCPServer):
    """`git daemon`, one process for each connection, as inetd runs it."""

    daemon_threads = True

    def __init__(self, origin: Origin, *options: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={origin.path.parent}", *options]

    @property
    def url(self) -> str:
        return f"git://127.0.0.1:{self.server_address[1]}/fleet.git"


class _Connection(socketserver.BaseRequestHandler):
    server: _Daemon

    def handle(self) -> None:
        ended = subprocess.run(
            self.server.command, stdin=self.request, stdout=self.request, stderr=subprocess.DEVNULL, check=False
        )
        assert ended.returncode is not None


class _Http(ThreadingHTTPServer):
    """`git http-backend`; or one status and body for whatever is asked."""

    daemon_threads = True

    def __init__(self, origin: Origin) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.root = origin.path.parent
        self.refusal: tuple[int, bytes] | None = None
        self.refuses_pushes_alone = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/fleet.git"


class _Requests(BaseHTTPRequestHandler):
    server: _Http

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        refusal = self.server.refusal
        if refusal is not None and (not self.server.refuses_pushes_alone or "receive-pack" in self.path):
            self._send(refusal[0], [("Content-Type", "text/plain")], refusal[1])
            return
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        ended = subprocess.run(
            ["git", "http-backend"], input=body, capture_output=True, check=False,
            env={
                **os.environ, "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
                "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "bot",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            },
        )  # fmt: skip
        head, _, rest = ended.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self._send(status, [(name, value) for name, value in headers if name != "Status"], rest)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(origin: Origin, clone: Path) -> Iterator[_Http]:
    """The clone's origin by HTTP."""
    with _Http(origin) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(clone, "remote", "set-url", "origin", server.url)
        yield server
        server.shutdown()


@pytest.fixture
def by_ssh(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The clone's origin by SSH, where a script stands for the client: it is given the host and a command."""
    git(clone, "remote", "set-url", "origin", "git@git.example.org:fleet.git")

    def script(body: str) -> None:
        program = tmp_path / "ssh"
        program.write_text(f"#!/bin/sh\nfor command; do :; done\ncd {shlex.quote(str(clone.parent))}\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(program))

    return script


def record(recorder: Recorder, clone: Path) -> Recorded:
    tag = TagRequest("image/web/1", git(clone, "rev-parse", "HEAD"), "built")
    result = recorder.record(writing("web", "{}\n", tag))
    assert result is not None
    return result


def refusal(recorder: Recorder, clone: Path) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as raised:
        record(recorder, clone)
    return raised.value


@pytest.mark.parametrize("atomic", ["true", "false"])
def test_a_record_goes_by_gits_own_protocol(
    atomic: str, *, origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(origin.path, "config", "receive.advertiseAtomic", atomic)
    with _Daemon(origin, "--enable=receive-pack") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(clone, "remote", "set-url", "origin", server.url)
        result = record(recorder_in(clone), clone)
        server.shutdown()

    assert origin.head() == result.commit
    assert git(origin.path, "tag", "--list") == "image/web/1"


def test_a_daemon_that_takes_no_pushes_ends_it_at_once(
    origin: Origin, clone: Path, recorder_in: RecorderIn, waits: Waits
) -> None:
    with _Daemon(origin, "--disable=receive-pack", "--informative-errors") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(clone, "remote", "set-url", "origin", server.url)
        error = refusal(recorder_in(clone), clone)
        server.shutdown()

    assert isinstance(error, Terminal)
    assert "service not enabled" in error.what
    assert waits == []


@pytest.mark.parametrize("atomic", ["true", "false"])
def test_a_record_goes_by_http(
    atomic: str, *, served: _Http, origin: Origin, clone: Path, recorder_in: RecorderIn
) -> None:
    git(origin.path, "config", "receive.advertiseAtomic", atomic)

    result = record(recorder_in(clone), clone)

    assert (origin.head(), result.tries) == (result.commit, 1)
    assert git(origin.path, "tag", "--list") == "image/web/1"


@pytest.mark.usefixtures("served")
def test_what_a_hook_says_comes_by_http(origin: Origin, clone: Path, recorder_in: RecorderIn) -> None:
    origin.hook("pre-receive", "echo 'Rejected: commit author bot is not a member of team' >&2; exit 1")

    error = refusal(recorder_in(clone), clone)

    assert "Rejected: commit author bot is not a member of team" in error.what
    assert "`git.author`" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "tries"), [(401, Terminal, 1), (403, Terminal, 1), (404, UserError, 1), (503, Transient, 10)]
)
def test_a_status_is_read_as_what_it_means(
    status: int, kind: type[ReconcilerError], tries: int, *, served: _Http, clone: Path, recorder_in: RecorderIn,
    waits: Waits,
) -> None:  # fmt: skip
    recorder = recorder_in(clone)
    served.refusal = status, b"Write access to repository not granted.\n"

    error = refusal(recorder, clone)

    assert type(error) is kind
    assert len(waits) == tries - 1


def test_what_a_server_says_to_a_push_is_shown_and_steers_no_terminal(
    served: _Http, clone: Path, recorder_in: RecorderIn
) -> None:
    served.refuses_pushes_alone = True
    served.refusal = 403, b"this repository is \x1b[1mfrozen\x1b[0m until Monday\nask release@example.org\n"

    error = refusal(recorder_in(clone), clone)

    assert isinstance(error, Terminal)
    assert r"origin: this repository is \x1b[1mfrozen\x1b[0m until Monday" in error.hint
    assert "origin: ask release@example.org" in error.hint


def test_a_record_goes_by_ssh(
    origin: Origin, clone: Path, recorder_in: RecorderIn, by_ssh: Callable[[str], None]
) -> None:
    by_ssh('eval "$command"')

    result = record(recorder_in(clone), clone)

    assert origin.head() == result.commit


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ERROR: The key you are authenticating with has been marked as read only.", Terminal),
        ("git@git.example.org: Permission denied (publickey).", Terminal),
        ("ERROR: Repository not found.", UserError),
        ("conq: repository access denied.", Terminal),
        ("ssh: connect to host git.example.org port 22: Connection timed out", Transient),
    ],
)
def test_what_ssh_says_is_read_as_what_it_means(
    said: str, kind: type[ReconcilerError], *, clone: Path, recorder_in: RecorderIn, by_ssh: Callable[[str], None]
) -> None:
    by_ssh('eval "$command"')
    recorder = recorder_in(clone)
    by_ssh(f"echo {shlex.quote(said)} >&2; exit 255")

    error = refusal(recorder, clone)

    assert type(error) is kind
    assert said.removeprefix("ERROR: ") in error.what


def test_an_ssh_that_is_not_there_is_named_at_once(
    clone: Path, recorder_in: RecorderIn, by_ssh: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    by_ssh('eval "$command"')
    recorder = recorder_in(clone)
    monkeypatch.setenv("GIT_SSH_COMMAND", "vault-ssh -q")

    error = refusal(recorder, clone)

    assert isinstance(error, Terminal)
    assert "vault-ssh: not found" in error.what
    assert waits == []
