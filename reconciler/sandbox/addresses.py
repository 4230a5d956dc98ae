"""The addresses of instances: blocks of loopback, each claimed by one sandbox at a time."""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from reconciler.model.errors import UserError
from reconciler.sandbox import redirect

# One block of instance addresses: claimed by one sandbox at a time, and with its port 22 at that sandbox's door.

SSH_PORT = 22
BLOCKS = 256
_FIRST, _LAST = 2, 254
# A connection within loopback is there at once, or lost.
_REACH_SECONDS = 1.0


@dataclass(frozen=True)
class Block:
    """A claimed block. What connects to port 22 of its addresses arrives at `port` of the same address."""

    number: int
    port: int
    _parts: ExitStack = field(repr=False, compare=False)

    def addresses(self) -> Iterator[str]:
        """The addresses for instances."""
        return (f"127.77.{self.number}.{host}" for host in range(_FIRST, _LAST + 1))

    def release(self) -> None:
        """Let others have it, and leave no rule behind."""
        self._parts.close()


def claim(number: int) -> Block | None:
    """Claim a block; None if another sandbox has it.

    Raises:
        UserError: port 22 can't be had.
    """
    with ExitStack() as parts:
        if not parts.enter_context(_mark(number)):
            return None
        first = f"127.77.{number}.1"
        listener = _listen(first, SSH_PORT)
        if listener is None:
            # The host's own SSH server, most often. The kernel picks a port that nobody has, and, as this listener
            # stays, that nobody can have on all addresses: it is free on the others of the block too.
            listener = _listen(first, 0)
        if listener is None:
            raise AssertionError("every port of an address is taken")
        parts.enter_context(listener)
        port: int = listener.getsockname()[1]
        _lead(number, first, listener=listener, parts=parts)
        return Block(number, port, parts.pop_all())


def _lead(number: int, first: str, *, listener: socket.socket, parts: ExitStack) -> None:
    """See to it that port 22 leads to the listener, and believe it only when a connection has arrived."""
    port: int = listener.getsockname()[1]
    redirected = port != SSH_PORT
    if redirected:
        _sweep(number)
        parts.callback(redirect.remove, number)
        redirect.install(number, port=port)
    if _is_reached(listener, first):
        return
    # Rules that a killed sandbox left are in the way.
    redirect.remove(number)
    if redirected:
        redirect.install(number, port=port)
    if not _is_reached(listener, first):
        raise UserError(
            f"connections to {first}:{SSH_PORT} do not reach the sandbox, which listens on port {port}",
            hint="look for rules about loopback or port 22: nft list ruleset, iptables -t nat -S",
        )


def _sweep(own: int) -> None:
    """Remove the rules of sandboxes that were killed."""
    for number in redirect.blocks() - {own}:
        with _mark(number) as abandoned:
            if abandoned:
                redirect.remove(number)


@contextmanager
def _mark(number: int) -> Iterator[bool]:
    """Hold the mark of a block, or tell that somebody does.

    An abstract socket: it exists once in a network, as the addresses do, and goes with the process that holds it.
    """
    with socket.socket(socket.AF_UNIX) as mark:
        try:
            mark.bind(f"\0reconciler sandbox 127.77.{number}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            yield False
        else:
            yield True


def _listen(address: str, port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Without it a block stays closed for a minute after connections to its first address.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"the sandbox can't listen on {address}:{port}: {error.strerror}",
            hint="run it with sudo: ports below 1024 need root",
        ) from error
    return listener


def _is_reached(listener: socket.socket, address: str) -> bool:
    try:
        caller = socket.create_connection((address, SSH_PORT), timeout=_REACH_SECONDS)
    except OSError:
        return False
    with caller:
        ready, _, _ = select.select([listener], [], [], _REACH_SECONDS)
        if not ready:
            return False
        accepted, _ = listener.accept()
        accepted.close()
    return True


# The addresses of instances, out of blocks of loopback.
#
# All of 127.0.0.0/8 is local on Linux, so each instance can have an address with a port 22 of its own, and several
# sandboxes can run side by side.


class Addresses:
    """Hands out loopback addresses; those given back are used again, the longest unused first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[str] = deque()
        self._ports: dict[str, int] = {}
        self._claims: list[Block] = []
        # Sandboxes started at once should not all try the same block first.
        self._next_block = os.getpid() % BLOCKS
        self._tried = 0

    def claim(self) -> None:
        """Claim one more block of 253 addresses.

        Raises:
            UserError: port 22 can't be had, or every block is taken.
        """
        while self._tried < BLOCKS:
            number = self._next_block
            self._next_block = (number + 1) % BLOCKS
            self._tried += 1
            claimed = claim(number)
            if claimed is not None:
                self._claims.append(claimed)
                self._ports |= dict.fromkeys(claimed.addresses(), claimed.port)
                self._free.extend(claimed.addresses())
                return
        raise UserError(
            f"each of the {BLOCKS} blocks of addresses for instances is taken by a sandbox",
            hint="stop those that nobody uses: pgrep -af reconciler.sandbox",
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
