"""HashiCorp's release, from a host on loopback that stands in for theirs and behaves in every bad way."""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.build.packer.binary import platform
from reconciler.build.packer.releases import Limits, download
from reconciler.model.errors import Transient, UserError
from tests.integration.packer.programs import disk_of_100_kb

VERSION = "1.16.0"
ARCHIVE = f"packer_{VERSION}_{platform()}.zip"
SUMS = f"packer_{VERSION}_SHA256SUMS"
PROGRAM = b"#!/bin/sh\necho this is Packer\n" + b"# padding\n" * 20_000


def packed(content: bytes = PROGRAM, name: str = "packer") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LICENSE.txt", "…")
        archive.writestr(name, content)
    return file.getvalue()


class Host:
    """The stand-in. `files` are by name; what a name in `behaves` is asked for is handled by that function."""

    def __init__(self) -> None:
        archive = packed()
        self.files = {ARCHIVE: archive, SUMS: f"{hashlib.sha256(archive).hexdigest()}  {ARCHIVE}\n".encode()}
        self.behaves: dict[str, Callable[[http.server.BaseHTTPRequestHandler, bytes], None]] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        """Set at the end of the test: whoever hangs may stop."""
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                host.asked.append(self.path)
                if name in host.behaves:
                    host.behaves[name](self, host.files.get(name, b""))
                elif name in host.files:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(host.files[name])))
                    self.end_headers()
                    self.wfile.write(host.files[name])
                else:
                    self.send_error(404)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.over.wait()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Host()
    yield made
    made.close()


def fetch(host: Host, folder: Path, limits: Limits | None = None) -> list[str]:
    told: list[str] = []
    download(VERSION, folder, tell=told.append, host=host.address, limits=limits or Limits(silence=5))
    return told


def test_a_release_is_unpacked_and_nothing_else_is_left(host: Host, tmp_path: Path) -> None:
    told = fetch(host, tmp_path)

    assert (tmp_path / "packer").read_bytes() == PROGRAM
    assert [path.name for path in tmp_path.iterdir()] == ["packer"]
    assert host.asked == [f"/packer/{VERSION}/{SUMS}", f"/packer/{VERSION}/{ARCHIVE}"]
    assert told == [f"downloading Packer {VERSION} from {host.address.removeprefix('http://')}"]


def test_a_release_that_is_not_what_its_checksums_say_is_not_even_unpacked(host: Host, tmp_path: Path) -> None:
    host.files[ARCHIVE] = packed(b"something else")

    with pytest.raises(Transient, match=f"sent as {ARCHIVE} is not what its checksums say, and was thrown away"):
        fetch(host, tmp_path)

    assert not (tmp_path / "packer").exists()


def test_a_release_without_one_for_this_kind_of_machine_is_told(host: Host, tmp_path: Path) -> None:
    host.files[SUMS] = f"{'0' * 64}  packer_{VERSION}_plan9_mips.zip\n".encode()

    with pytest.raises(Transient, match=f"has no {ARCHIVE}: there is no release for this kind of machine"):
        fetch(host, tmp_path)


@pytest.mark.parametrize("name", [SUMS, ARCHIVE])
def test_a_release_that_is_not_there_is_told_with_what_the_host_answered(host: Host, tmp_path: Path, name: str) -> None:
    del host.files[name]

    with pytest.raises(Transient, match=rf"has no {name} \(404 Not Found\)"):
        fetch(host, tmp_path)


def test_a_download_that_breaks_off_in_the_middle_is_told_with_how_far_it_came(host: Host, tmp_path: Path) -> None:
    def half(request: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)

    host.behaves[ARCHIVE] = half

    with pytest.raises(Transient, match=f"broke off after 0 MB of {ARCHIVE}"):
        fetch(host, tmp_path)

    assert not (tmp_path / "packer").exists()


@pytest.mark.parametrize("name", [SUMS, ARCHIVE])
def test_a_host_that_never_answers_is_waited_for_a_bounded_time(host: Host, tmp_path: Path, name: str) -> None:
    host.behaves[name] = lambda *_: host.hang()

    with pytest.raises(Transient, match="does not answer"):
        fetch(host, tmp_path, Limits(connect=1, silence=0.1))


def test_a_host_that_drips_is_given_up_after_the_time_in_all(host: Host, tmp_path: Path) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 700
        return now

    with pytest.raises(Transient, match="is too slow: 0 MB in 600 s"):
        fetch(host, tmp_path, Limits(silence=5, clock=clock))


def test_a_host_that_cannot_be_reached_is_told_in_one_sentence(host: Host, tmp_path: Path) -> None:
    host.close()

    with pytest.raises(Transient, match=r"^127\.0\.0\.1:[0-9]+ can't be reached$"):
        fetch(host, tmp_path)


def test_endless_checksums_are_not_read_to_their_end(host: Host, tmp_path: Path) -> None:
    host.files[SUMS] = b"0" * (1 << 20)

    with pytest.raises(Transient, match=f"sends more for {SUMS} than it can be"):
        fetch(host, tmp_path)


@pytest.mark.parametrize("content", [packed(name="other"), b"no archive at all"])
def test_an_archive_without_packer_is_told(host: Host, tmp_path: Path, content: bytes) -> None:
    host.files[ARCHIVE] = content
    host.files[SUMS] = f"{hashlib.sha256(content).hexdigest()}  {ARCHIVE}\n".encode()

    with pytest.raises(Transient, match="holds no program packer"):
        fetch(host, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB."""
    with disk_of_100_kb(tmp_path / "disk") as folder:
        yield folder


def test_a_disk_that_is_full_is_told_with_what_is_needed(host: Host, small_disk: Path) -> None:
    with pytest.raises(UserError, match=r"the cache can't be written: .*No space left on device") as caught:
        fetch(host, small_disk)

    assert caught.value.hint == (
        "Packer takes 400 MB there with its plugins",
        "make room, or set XDG_CACHE_HOME to a folder of yours",
    )
