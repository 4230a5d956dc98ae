"""How long somebody else may take, and how much he may say: a deadline that holds for each byte of a connection.

A timeout of a socket is one between two bytes: who sends a byte a second is heard for ever. So the sockets that are
made here ask, before each read or write, what the thread that reads is allowed still: an allowance is laid around all
that belongs together, one answer, a list with all of its pages. Those within each other hold at once.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


class UsedUp(TimeoutError):
    """An allowance is used up: its message says which. An `OSError`, as every timeout of a socket is."""


class Allowance:
    """Seconds, from its making on, and bytes that may be received meanwhile. Several threads may use it up together."""

    def __init__(self, seconds: float, *, most: float = math.inf, what: str = "an answer") -> None:
        """`what` is allowed no more than `seconds` and `most` bytes, as is said where that is not enough."""
        self._seconds, self._most, self._what = seconds, most, what
        self._until, self._had = time.monotonic() + seconds, 0
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds that are left. Raises UsedUp where there are none, or no bytes."""
        if self._had > self._most:
            raise UsedUp(f"{self._what} is of more than {self._most:,} bytes")
        left = self._until - time.monotonic()
        if left <= 0:
            raise UsedUp(f"it takes longer than {self._seconds:g} s for {self._what}")
        return left

    def had(self, count: int) -> None:
        """Note that so many bytes were received. Raises UsedUp where that is too many."""
        with self._lock:
            self._had += count
        if self._had > self._most:
            raise UsedUp(f"{self._what} is of more than {self._most:,} bytes")

    @contextmanager
    def holds(self) -> Iterator[None]:
        """Have what this thread receives and sends meanwhile be within this allowance."""
        outer = _held()
        _here.held = (*outer, self)
        try:
            yield
        finally:
            _here.held = outer


_here = threading.local()


def _held() -> tuple[Allowance, ...]:
    held: tuple[Allowance, ...] = getattr(_here, "held", ())
    return held


def seconds_left() -> float:
    """Seconds that this thread is allowed still, infinity where nothing holds it. Raises UsedUp for none."""
    return min((one.left for one in _held()), default=math.inf)


def carried(ask: Callable[[_T], _R]) -> Callable[[_T], _R]:
    """The same function for other threads, held by what holds this one."""
    held = _held()

    def asked(what: _T) -> _R:
        outer = _held()
        _here.held = held
        try:
            return ask(what)
        finally:
            _here.held = outer

    return asked


class _Allowed(socket.socket):
    """What the sockets below have in common: no operation outlasts what its thread is allowed."""

    def recv_into(self, *given: Any, **named: Any) -> int:
        with _limited(self):
            return noted(super().recv_into(*given, **named))

    def recv(self, *given: Any, **named: Any) -> bytes:
        with _limited(self):
            found = super().recv(*given, **named)
            noted(len(found))
            return found

    def send(self, *given: Any, **named: Any) -> int:
        with _limited(self):
            return super().send(*given, **named)

    def sendall(self, *given: Any, **named: Any) -> None:
        with _limited(self):
            super().sendall(*given, **named)


class Plain(_Allowed):
    """A connection without TLS."""


class Tls(_Allowed, ssl.SSLSocket):
    """A connection with TLS: what an `SSLContext` makes whose `sslsocket_class` this is."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as ssl has it
        """The handshake, as a whole within what is allowed: OpenSSL's timeout is one of all of it."""
        with _limited(self):
            super().do_handshake(block)


def connected(address: tuple[str, int], timeout: Any = None, *_others: Any, **_named: Any) -> Plain:
    """A connection to the first of a name's addresses that takes one: `socket.create_connection`, held as all is here.

    However many addresses there are: who has a name may give it hundreds. `timeout` is in seconds, for each.

    Raises:
        OSError: none takes one, as the last of them says.
    """
    refused: OSError = OSError(f"{address[0]} has no address")
    try:
        found = socket.getaddrinfo(address[0].strip("[]"), address[1], type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty, or longer than a name may have
        raise OSError(f"{address[0]} is no name of a host") from error
    for family, kind, protocol, _, where in found:
        made = Plain(family, kind, protocol)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.settimeout(timeout if isinstance(timeout, int | float) else None)
            with _limited(made):
                made.connect(where)
        except UsedUp:
            made.close()
            raise
        except OSError as error:
            refused = error
            made.close()
        else:
            return made
    raise refused


def noted(count: int) -> int:
    """Note bytes that this thread received, or has instead of receiving them. Raises UsedUp where that is too many."""
    for one in _held():
        one.had(count)
    return count


@contextmanager
def _limited(connection: socket.socket) -> Iterator[None]:
    """Have one operation end with what is allowed; its own timeout stands again afterwards."""
    left, own = seconds_left(), connection.gettimeout()
    if left >= (own if own is not None else math.inf):
        yield
        return
    connection.settimeout(left)
    try:
        yield
    except TimeoutError:
        seconds_left()  # says whose time is over
        raise
    finally:
        connection.settimeout(own)
