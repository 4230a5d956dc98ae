"""The addresses of instances: blocks of loopback, each claimed by one sandbox at a time.

All of 127.0.0.0/8 is local on Linux, so each instance can have an address with a port 22 of its own, and
several sandboxes can run side by side. A block is claimed by listening on its first address.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import deque

from reconciler.model.errors import UserError

SSH_PORT = 22
_FIRST, _LAST = 2, 254
_BLOCKS = 256


class Addresses:
    """Hands out loopback addresses; those given back are used again, the longest unused first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[str] = deque()
        self._claims: list[socket.socket] = []
        # Sandboxes started at once should not all try the same block first.
        self._next_block = os.getpid() % _BLOCKS
        self._tried = 0

    def claim(self) -> None:
        """Claim one more block of 253 addresses.

        Raises:
            UserError: port 22 can't be had, or every block is taken.
        """
        while self._tried < _BLOCKS:
            block = self._next_block
            self._next_block = (block + 1) % _BLOCKS
            self._tried += 1
            claim = _listen(f"127.77.{block}.1")
            if claim is not None:
                self._claims.append(claim)
                self._free.extend(f"127.77.{block}.{host}" for host in range(_FIRST, _LAST + 1))
                return
        raise UserError(
            "port 22 is taken on every loopback address that the sandbox could use",
            mend=(
                "most often by an SSH server that listens on all addresses (`ss -ltnp 'sport = :22'` names it)",
                "stop it, or give it addresses of its own with ListenAddress in sshd_config",
            ),
        )

    def take(self) -> str:
        """Return an address that no instance has."""
        with self._lock:
            if not self._free:
                self.claim()
            return self._free.popleft()

    def give_back(self, address: str) -> None:
        """Let `address` be used again."""
        with self._lock:
            self._free.append(address)

    def close(self) -> None:
        """Let go of every block."""
        for claim in self._claims:
            claim.close()


def _listen(address: str) -> socket.socket | None:
    claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Without it a block stays closed for a minute after connections to its first address.
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        claim.bind((address, SSH_PORT))
        claim.listen(1)
    except OSError as error:
        claim.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"the sandbox can't listen on {address}:{SSH_PORT}: {error.strerror}",
            mend="run it with sudo: ports below 1024 need root",
        ) from error
    return claim
