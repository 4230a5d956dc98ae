"""The addresses of instances, out of blocks of loopback.

All of 127.0.0.0/8 is local on Linux, so each instance can have an address with a port 22 of its own, and
several sandboxes can run side by side.
"""

from __future__ import annotations

import os
import threading
from collections import deque

from reconciler.model.errors import UserError
from reconciler.sandbox import block
from reconciler.sandbox.block import Block


class Addresses:
    """Hands out loopback addresses; those given back are used again, the longest unused first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[str] = deque()
        self._ports: dict[str, int] = {}
        self._claims: list[Block] = []
        # Sandboxes started at once should not all try the same block first.
        self._next_block = os.getpid() % block.BLOCKS
        self._tried = 0

    def claim(self) -> None:
        """Claim one more block of 253 addresses.

        Raises:
            UserError: port 22 can't be had, or every block is taken.
        """
        while self._tried < block.BLOCKS:
            number = self._next_block
            self._next_block = (number + 1) % block.BLOCKS
            self._tried += 1
            claimed = block.claim(number)
            if claimed is not None:
                self._claims.append(claimed)
                self._ports |= dict.fromkeys(claimed.addresses(), claimed.port)
                self._free.extend(claimed.addresses())
                return
        raise UserError(
            f"each of the {block.BLOCKS} blocks of addresses for instances is taken by a sandbox",
            mend="stop those that nobody uses: pgrep -af reconciler.sandbox",
        )

    def take(self) -> str:
        """Return an address that no instance has."""
        with self._lock:
            if not self._free:
                self.claim()
            return self._free.popleft()

    def port_of(self, address: str) -> int:
        """Where to listen for what connects to port 22 of one of these addresses."""
        return self._ports[address]

    def give_back(self, address: str) -> None:
        """Let `address` be used again."""
        with self._lock:
            self._free.append(address)

    def close(self) -> None:
        """Let go of every block."""
        for claimed in self._claims:
            claimed.release()
