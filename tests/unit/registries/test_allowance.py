"""What a connection is allowed, whatever is at its other end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from reconciler.registries.allowance import Allowance, Plain, UsedUp, carried, connected, seconds_left

ADDRESS = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))


@pytest.fixture
def pair() -> Iterator[tuple[Plain, socket.socket]]:
    """A connection of ours, and its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as opened:
        ours = opened.enter_context(connected(server.getsockname()[:2], 5))
        other, _ = server.accept()
        yield ours, opened.enter_context(other)


READS: list[Callable[[Plain], Any]] = [
    lambda ours: ours.recv(10),
    lambda ours: ours.recv_into(bytearray(10)),
    lambda ours: ours.makefile("rb").read(10),
    lambda ours: ours.sendall(bytes(1 << 26)),
]


@pytest.mark.parametrize("read", READS)
def test_nothing_outlasts_what_is_allowed(
    pair: tuple[Plain, socket.socket], read: Callable[[Plain], Any]
) -> None:  # fmt: skip
    ours, _silent = pair
    with Allowance(0.2, what="a word").holds(), pytest.raises(UsedUp, match=r"longer than 0\.2 s for a word"):
        read(ours)
    assert ours.gettimeout() == 5


def test_bytes_are_counted_over_all_connections_and_threads(pair: tuple[Plain, socket.socket]) -> None:
    ours, other = pair
    other.sendall(bytes(40))
    with Allowance(60, most=30).holds(), ThreadPoolExecutor(2) as pool:
        received = list(pool.map(carried(lambda count: len(ours.recv(count))), (10, 10, 10)))
        with pytest.raises(UsedUp, match="an answer is of more than 30 bytes"):
            ours.recv(1)
        with pytest.raises(UsedUp):
            seconds_left()
    assert received == [10, 10, 10]
    assert len(ours.recv(9)) == 9


def test_of_allowances_within_each_other_the_first_that_ends_counts() -> None:
    assert seconds_left() > 1e9
    with Allowance(1000).holds():
        with Allowance(2000).holds():
            assert 0 < seconds_left() <= 1000
        with Allowance(0.0, what="nothing").holds(), pytest.raises(UsedUp, match="for nothing"):
            seconds_left()
        assert seconds_left() > 100
    assert seconds_left() > 1e9


def test_a_thread_keeps_what_holds_it_however_a_question_ends() -> None:
    def broken(_: int) -> None:
        raise ValueError("broken")

    with Allowance(1).holds():
        ask = carried(broken)
    with Allowance(1000).holds():
        with pytest.raises(ValueError, match="broken"):
            ask(1)
        assert seconds_left() > 100


def test_the_addresses_of_a_name_are_tried_within_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a name with a thousand addresses of which none answers
    tried = []

    def connect(self: Plain, where: object) -> None:
        tried.append(where)
        assert self.gettimeout() is not None
        clock[0] += 5.0
        raise TimeoutError

    clock = [0.0]
    monkeypatch.setattr("reconciler.registries.allowance.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [ADDRESS] * 1000)
    monkeypatch.setattr(Plain, "connect", connect)

    with Allowance(12).holds(), pytest.raises(UsedUp):
        connected(("registry.example.org", 443), 10)
    assert len(tried) == 3


@pytest.mark.parametrize("name", ["a..b", "a" * 64, ""])
def test_a_name_that_is_none_can_not_be_reached(name: str) -> None:
    with pytest.raises(OSError, match="is no name of a host"):
        connected((f"{name}.invalid", 443), 1)


def test_the_last_address_says_why_nobody_is_reached() -> None:
    with pytest.raises(ConnectionRefusedError):
        connected(("127.0.0.1", 9), 1)
