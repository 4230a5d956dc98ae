"""A server of a test's own, on loopback, that says what the test has it say, byte for byte, as slowly as it likes."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MANY = 32 << 20
"""Bytes after which what is said without end ends all the same, as a test has to."""
_PIECE = b"x" * (1 << 16)

Says = Callable[["Asked"], Iterator[bytes]]


class Asked:
    """A request: its method, path and headers, and the body as it came."""

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body


class Server:
    """One that runs. `sent` counts the bytes that it could send, and `asked` holds what it was asked, in order."""

    def __init__(self, says: Says, *, certificate: Path | None = None) -> None:
        self.sent, self.asked = 0, list[Asked]()
        self.stopped = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                server.asked.append(asked)
                self.close_connection = True
                with suppress(OSError):
                    for piece in says(asked):
                        self.close_connection &= b"keep-alive" not in piece[:1000]
                        self.wfile.write(piece)
                        server.sent += len(piece)
                        if server.stopped.is_set():
                            break

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Nothing: whoever is asked leaves in the middle."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake is of the thread that answers.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def drips(self, *, piece: bytes = b" ", seconds: float = 4.0) -> Iterator[bytes]:
        """A piece twenty times a second: more often than any time between two bytes runs out."""
        for _ in range(int(seconds * 20)):
            if self.stopped.wait(0.05):
                return
            yield piece

    def end(self) -> None:
        """End it, with all that it still says."""
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serving(says: Says, *, certificate: Path | None = None) -> Iterator[Server]:
    """Run one, with TLS where there is a certificate."""
    server = Server(says, certificate=certificate)
    try:
        yield server
    finally:
        server.end()


def head(status: int = 200, **headers: str) -> bytes:
    """A status line and headers, whose names have `_` for `-`."""
    headers = {"Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status} So", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def whole(body: bytes, status: int = 200, **headers: str) -> Iterator[bytes]:
    """An answer as it should be, after which the connection may be used again."""
    yield head(status, Content_Length=str(len(body)), Connection="keep-alive", **headers) + body


def chunked(pieces: Iterator[bytes], status: int = 200, **headers: str) -> Iterator[bytes]:
    """An answer in chunks, as long as there are any."""
    yield head(status, Transfer_Encoding="chunked", **headers)
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def without_end() -> Iterator[bytes]:
    """More than anybody reads."""
    for _ in range(MANY // len(_PIECE)):
        yield _PIECE


def certificate_in(folder: Path) -> Path:
    """A certificate for loopback with its key, in one file, which whoever trusts it names."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path
