"""The plain HTTP door to AWS, for those that set AWS_ENDPOINT_URL rather than a proxy, and what opens every door.

Whoever comes through a door may start an instance and be root in it, and with that root of this machine. Loopback is
for everybody on it, and a page in a person's browser reaches it too. So each door asks for a token, which is told to
root alone and to whoever root gives it.
"""

from __future__ import annotations

import hmac
import ssl
import sys
import threading
from email.message import Message
from http.server import ThreadingHTTPServer
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

# How often a server looks whether it should end, in seconds. The default of half a second adds up.
POLL_SECONDS = 0.05
SIGNED_PATH = "X-Sandbox-Signed-Path"
"""The header with the path that the client signed, which has the token in it."""


def is_same(offered: str, expected: str) -> bool:
    """Whether what was offered is the token. How long this takes says nothing of where they differ."""
    return hmac.compare_digest(offered.encode("utf-8", "replace"), expected.encode())


def is_from_a_program(headers: Message, port: int) -> bool:
    """Whether a request was made by a program of this machine, for this port of it.

    A page in a browser says where it is from (Origin), and one that has its own name resolve to loopback asks for
    that name (Host).
    """
    return "Origin" not in headers and headers.get("Host") in {f"127.0.0.1:{port}", f"localhost:{port}"}


class Door(ThreadingHTTPServer):
    """A server with a thread for each connection, to which a client that leaves before its answer is no failure.

    Clients are killed, time out, and refuse certificates; which error that is depends on how far the answer had got.
    """

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell what went wrong on stderr, as every server does, unless the client left."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError | ssl.SSLError):
            super().handle_error(request, client_address)


class Endpoint:
    """Listens on a free port of loopback. The token is the first folder of every path."""

    def __init__(self, token: str) -> None:
        application = DomainDispatcherApplication(create_backend_app)
        handler = type("Handler", (_Handler,), {"token": token})
        self._token = token
        self._server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL is set to."""
        return f"http://127.0.0.1:{self._server.server_port}/{self._token}"

    def start(self) -> None:
        """Serve from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(MotoRequestHandler):
    token: str

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        offered, slash, rest = self.path.removeprefix("/").partition("/")
        if not is_same(offered, self.token) or not is_from_a_program(self.headers, self.server.server_port):
            self.send_error(403)
            return False
        del self.headers[SIGNED_PATH]
        self.headers[SIGNED_PATH] = self.path
        self.path = f"/{rest}" if slash else "/"
        return True
