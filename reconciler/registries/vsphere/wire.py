"""The connections to a vCenter, SOAP's and REST's: each answer on them is bounded in bytes and in time, as a whole.

Of its own accord pyvmomi knows a time between two bytes alone, and unpacks whatever is packed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from reconciler.registries.allowance import Allowance, connected

CALL = 60.0
"""Seconds within which a vCenter has to answer a call, and has to be connected."""
MOST = 16 << 20
"""Bytes of an answer: 500 machines with twenty attributes each take a sixth of it."""


class _Answer(HTTPResponse):
    """One that is as it is sent: what is packed may be a thousand times as large."""

    def begin(self) -> None:
        """See `HTTPResponse`. Raises HTTPException where it is packed, which nobody asked for."""
        super().begin()
        if (self.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
            raise HTTPException("it packs its answer, which nobody asked for")


class Connection(HTTPSConnection):
    """A connection to a vCenter. Its context is that of `trust`, whose sockets hold to what is allowed."""

    response_class = _Answer

    def __init__(self, *given: Any, **named: Any) -> None:
        """As `HTTPSConnection` is made."""
        super().__init__(*given, **named)
        self._create_connection = connected  # where http.client has it: the name's addresses are part of the call
        self._answer: HTTPResponse | None = None

    def getresponse(self) -> HTTPResponse:
        """See `HTTPConnection`. Where a connection ends with its answer, http.client leaves that open in its place."""
        self._answer = super().getresponse()
        return self._answer

    def close(self) -> None:
        """Close it, and the answer on it."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
        super().close()


@contextmanager
def in_time() -> Iterator[None]:
    """Have one call be answered within its bounds. Raises UsedUp where it is not."""
    with Allowance(CALL, most=MOST).holds():
        yield
