"""The HTTPS proxy through which clients reach AWS without a word of it in their settings.

moto's own, with four changes: what is not AWS passes through untouched, so that `git clone https://…` and the like
work beside it; each sandbox has an authority of its own, in its folder, as the one that moto ships, with its key, is
everybody's, and says too little of itself for Python 3.13, which refuses it; it serves whoever has the sandbox's
token, as the password of its URL; and a connection to AWS stays open for the next call, as it does at AWS: a new one
for each, with its handshake, was a fifth of the sandbox's CPU time.
"""

from __future__ import annotations

import base64
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

from moto.moto_proxy.certificate_creator import CertificateCreator
from moto.moto_proxy.proxy3 import MotoRequestHandler, ProxyRequestHandler

from reconciler.sandbox.endpoint import POLL_SECONDS, Door, is_same

# moto logs a line a call, whatever the level of the program.
logging.getLogger("MOTO_PROXY").setLevel(logging.ERROR)

_AWS = re.compile(r"(^|\.)(amazonaws\.com(\.cn)?|api\.aws)$")
_CHECK_IP = "checkip.amazonaws.com"
"""Where Packer asks for its own address (`temporary_security_group_source_public_ip`)."""
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_CHUNK = 64 * 1024
_IDLE_SECONDS = 120
"""Longer than clients keep a connection that they don't use, so that none is closed under their next call: Go's keep it
for 90 seconds, and botocore looks whether it is closed."""
_USER = "sandbox"
_P256 = ("-pkeyopt", "ec_paramgen_curve:P-256")
_AUTHORITY = """\
[req]
prompt=no
distinguished_name=dn
x509_extensions=ca
[dn]
commonName=AWS in the reconciler's sandbox
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
"""
# moto puts the names in, and makes of it a request and then the certificate.
_CERTIFICATE = """\
[req]
prompt=no
default_md=sha256
distinguished_name=dn
[dn]
commonName=amazonaws.com
[req_ext]
subjectAltName=@alt_names
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
extendedKeyUsage=serverAuth
[alt_names]
DNS.1=amazonaws.com
DNS.2={{full_name}}
DNS.3={{wildcard_name}}
"""


class Proxy(Door):
    """Listens on a free port of loopback."""

    request_queue_size = 128  # the default is 5, and a controller asks for many regions at once

    def __init__(self, directory: Path, *, token: str) -> None:
        """Keep certificates in `directory`. The openssl command signs them.

        `ca_bundle` is the sandbox's authority, for those that speak to AWS alone; `authorities` holds the system's too.
        """
        self._token = token
        pair = base64.b64encode(f"{_USER}:{token}".encode()).decode("ascii")
        self.login = f"Basic {pair}"
        self._certificates = directory / "certificates"
        self._certificates.mkdir(mode=0o700, exist_ok=True)
        self.ca_bundle = directory / "ca.crt"
        _make_authority(self._certificates, self.ca_bundle)
        self.authorities = directory / "authorities.crt"
        self.authorities.write_bytes(_system_authorities() + self.ca_bundle.read_bytes())
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        """What HTTPS_PROXY is set to."""
        return f"http://{_USER}:{self._token}@127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Serve from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and remove the certificates."""
        self.shutdown()
        self.server_close()
        shutil.rmtree(self._certificates, ignore_errors=True)
        for bundle in (self.ca_bundle, self.authorities):
            bundle.unlink(missing_ok=True)


class _Backends(MotoRequestHandler):
    """moto's services, whose answers have no body where HTTP knows none (RFC 9112, 6.3).

    Some of them have one for 204, `{}`. Nobody reads that, and on a connection that stays open it would come before the
    next answer.
    """

    def parse_request(self, method: str, host: str, path: str, headers: Any, body: bytes | None) -> Any:
        """A status, its headers and its body."""
        answer = super().parse_request(method, host, path, headers, body)
        status, told, said = answer if isinstance(answer, tuple) else (200, {}, answer)
        if status in _WITHOUT_BODY:
            # With no header at all moto would not end the headers either. Without a length the connection ends.
            unmeasured = {name: value for name, value in told.items() if name.lower() != "content-length"}
            return status, {"Cache-Control": "no-store", **unmeasured}, b""
        return status, told, b"" if method == "HEAD" else said


class _Handler(ProxyRequestHandler):
    server: Proxy
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # moto writes an answer in pieces, and each would wait for the client's word
    _stays = False

    def setup(self) -> None:
        super().setup()
        self.moto_request_handler = _Backends(self.server.server_address[1])

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        self._stays = False
        if isinstance(self.connection, ssl.SSLSocket):  # inside of a tunnel that was let through
            return True
        if is_same(self.headers.get("Proxy-Authorization", ""), self.server.login):
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", f'Basic realm="{_USER}"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        return False

    def do_CONNECT(self) -> None:  # noqa: N802  http.server's name for it
        host, _, port = self.path.rpartition(":")
        if _AWS.search(host):
            super().do_CONNECT()
        else:
            self._pass_through(host.strip("[]"), int(port))

    def do_GET(self) -> None:  # noqa: N802  http.server's name for it
        if self.headers.get("Host") == _CHECK_IP:
            # Every client of the sandbox is on loopback.
            body = b"127.0.0.1\n"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self._answer()

    def _answer(self) -> None:
        super().do_GET()
        self.close_connection = not self._stays  # moto closes it after each answer

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815  http.server's names for it

    def end_headers(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            # What has no length ends with the connection. A client not told so would keep that for its next call.
            lines: list[bytes] = getattr(self, "_headers_buffer", [])
            measured = any(line.lower().startswith(b"content-length:") for line in lines)
            self._stays = measured and not self.close_connection
            if not self._stays:
                self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: moto's own log has the errors."""

    def _pass_through(self, host: str, port: int) -> None:
        self.close_connection = True
        try:
            there = socket.create_connection((host, port), timeout=30)
        except OSError as error:
            self.send_error(502, f"{host}: {error.strerror or error}")
            return
        here = self.connection
        self.send_response(200, "Connection Established")
        self.end_headers()
        for end in (here, there):
            end.settimeout(None)
        back = threading.Thread(target=_pour, args=(there, here), daemon=True)
        back.start()
        _pour(here, there)
        back.join()
        there.close()


def _make_authority(folder: Path, certificate: Path) -> None:
    """Make an authority, and the key of all that it certifies; have moto take them."""
    authority_key, key = folder / "ca.key", folder / "cert.key"
    config = folder / "ca.conf"
    config.write_text(_AUTHORITY, encoding="utf-8")
    (folder / "req.conf.tmpl").write_text(_CERTIFICATE, encoding="utf-8")
    _openssl("genpkey", "-algorithm", "EC", *_P256, "-out", str(key))
    _openssl(
        *("req", "-x509", "-newkey", "ec", *_P256, "-nodes", "-days", "3650", "-config", str(config)),
        *("-keyout", str(authority_key), "-out", str(certificate)),
    )
    CertificateCreator.cakey, CertificateCreator.cacert = str(authority_key), str(certificate)
    CertificateCreator.certkey, CertificateCreator.certdir = str(key), f"{folder}/"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _system_authorities() -> bytes:
    """The certificates that programs of this machine trust, which the one of the sandbox is added to."""
    path = ssl.get_default_verify_paths().cafile
    return Path(path).read_bytes().rstrip(b"\n") + b"\n" if path else b""


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then tell the target so."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one end has gone; the other will see it
