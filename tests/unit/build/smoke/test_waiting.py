"""Waiting for SSH ends when it answers, when time is up, or when the instance is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from reconciler.build.smoke.client import Refusal
from reconciler.build.smoke.waiting import ASK_SECONDS, RETRY_SECONDS, gone, wait_for_ssh
from reconciler.model.errors import Terminal, Transient

REFUSED = Refusal("refused", "h refuses the connection")
DENIED = Refusal("denied", "h answers, and does not let admin in with the key")


class Time:
    """A clock that runs only while somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def attempts(answers: Sequence[Refusal | None]) -> Callable[[], Refusal | None]:
    """Answers in their order; the last one from then on."""
    left = list(answers)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_it_tries_until_it_works() -> None:
    time = Time()

    why = wait_for_ssh(
        attempts([REFUSED, DENIED, None]), alive=lambda: "pending", timeout=60, clock=time, pause=time.pause
    )

    assert why is None
    assert time.now == 2 * RETRY_SECONDS


@pytest.mark.parametrize("last", [REFUSED, DENIED])
def test_when_time_is_up_it_says_how_it_was_refused_last(last: Refusal) -> None:
    time = Time()

    why = wait_for_ssh(attempts([REFUSED, last]), alive=lambda: "running", timeout=600, clock=time, pause=time.pause)

    assert why == f"no SSH within 10m: {last.text}"
    assert time.now == 600


def test_an_instance_that_is_gone_is_not_waited_for() -> None:
    time = Time()

    why = wait_for_ssh(attempts([REFUSED]), alive=lambda: "terminated", timeout=600, clock=time, pause=time.pause)

    assert why == "the instance is terminated, before SSH answered"
    assert time.now == ASK_SECONDS


def test_the_cloud_is_asked_now_and_then_only() -> None:
    time, asked = Time(), []

    def alive() -> str:
        asked.append(time.now)
        return "running"

    wait_for_ssh(attempts([REFUSED]), alive=alive, timeout=60, clock=time, pause=time.pause)

    assert asked == [10, 20, 30, 40, 50]


def test_a_cloud_that_does_not_answer_ends_nothing() -> None:
    def alive() -> str:
        raise Transient("throttled")

    assert gone(alive) is None
    assert gone(lambda: "running") is None
    assert gone(lambda: "shutting-down") == "shutting-down"


def test_a_fault_of_this_machine_is_not_waited_out_and_is_no_result() -> None:
    time = Time()
    here = Refusal("here", "`ssh` fails on this machine: No user exists for uid 1000")
    with pytest.raises(Terminal, match="could not be tested here: `ssh` fails on this machine"):
        wait_for_ssh(attempts([here]), alive=lambda: "running", timeout=60, clock=time, pause=time.pause)
    assert time.now == 0


def test_a_network_that_is_away_is_waited_for_and_then_no_result() -> None:
    time = Time()
    away = Refusal("unreachable", "this machine has no way to h")
    assert wait_for_ssh(
        attempts([away, away, None]), alive=lambda: "running", timeout=60, clock=time, pause=time.pause
    ) is None  # fmt: skip
    with pytest.raises(Terminal, match="this machine has no way to h"):
        wait_for_ssh(attempts([away]), alive=lambda: "running", timeout=60, clock=time, pause=time.pause)
