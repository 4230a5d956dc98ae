"""The simulated tester says what was planned."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal, Transient
from reconciler.model.events import Event
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.ports.tester import TestRequest
from tests.doubles.tester import NOTHING_INSIDE, SimulatedTester

FAILED = SmokeTestResult(status="failed", tests=3, why="no SSH")


def request(image: str) -> TestRequest:
    return TestRequest(
        image=image, build_id="20261122T101530Z-1a2b3c4", address="", user="", private_key=Path(), suite=None,
        suite_name="", timeout=60, folder=Path(), log=Path("web.log"), alive=lambda: "running",
    )  # fmt: skip


def ignore(event: Event) -> None:
    """Nobody listens."""


def test_it_answers_as_planned_and_remembers_who_asked() -> None:
    tester = SimulatedTester(results={"web": FAILED}, tail=("last words",))

    web = tester.test(request("web"), listener=ignore, cancelled=threading.Event())
    base = tester.test(request("base"), listener=ignore, cancelled=threading.Event())

    assert (web.result, web.tail) == (FAILED, ("last words",))
    assert (base.result.status, base.tail, base.inventory) == ("passed", (), NOTHING_INSIDE)
    assert [one.image for one in tester.requests] == ["web", "base"]


def test_it_fails_as_planned() -> None:
    tester = SimulatedTester(failures={"web": Transient("throttled")})

    with pytest.raises(Transient, match="throttled"):
        tester.test(request("web"), listener=ignore, cancelled=threading.Event())


def test_cancelled_it_ends() -> None:
    cancelled = threading.Event()
    tester = SimulatedTester(during=lambda _: cancelled.set())

    with pytest.raises(Terminal, match="cancelled"):
        tester.test(request("web"), listener=ignore, cancelled=cancelled)
