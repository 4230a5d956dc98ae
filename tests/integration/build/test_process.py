"""Processes that do not do as they are told, and what is left of them: nothing."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.process import Command, Exit, follow
from reconciler.model.errors import UserError

Follow = Callable[..., Exit]


@pytest.fixture
def run(tmp_path: Path, cancelled: threading.Event) -> Follow:
    def start(script: str, on_output: Callable[[bytes], None], **options: Any) -> Exit:
        return follow(
            Command(("/bin/sh", "-c", script), tmp_path, {"PATH": os.environ["PATH"]}),
            on_output,
            stdout=tmp_path / "stdout",
            stderr=tmp_path / "stderr",
            **{"timeout": 1e9, "cancelled": cancelled, **options},
        )

    return start


def ignore(piece: bytes) -> None:
    """Take no notice of output."""


class Time:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_output_is_handed_over_in_full_and_kept_for_the_owner_only(run: Follow, tmp_path: Path) -> None:
    pieces: list[bytes] = []

    ended = run("seq 100000; echo problem >&2; exit 3", pieces.append)

    assert ended.code == 3
    assert b"".join(pieces) == "".join(f"{number}\n" for number in range(1, 100001)).encode()
    assert (tmp_path / "stderr").read_text() == "problem\n"
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("stdout", "stderr")} == {0o600}


@pytest.mark.parametrize("script", ["exec yes", "exec yes >&2"])
def test_a_process_that_prints_without_end_is_ended(run: Follow, script: str) -> None:
    ended = run(script, ignore, most=1 << 20)

    assert ended.flooded
    assert not ended.timed_out
    assert ended.code == -15


def test_it_runs_in_the_given_environment_and_in_a_session_of_its_own(run: Follow) -> None:
    pieces: list[bytes] = []

    run(
        "env | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL= | cut -d= -f1; cut -d' ' -f6 /proc/$$/stat; echo $$",
        pieces.append,
    )

    name, session, pid = b"".join(pieces).decode().split()
    assert name == "PATH"
    assert session == pid


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(
    run: Follow, child: Any, cancelled: threading.Event
) -> None:
    clock = Time()

    def on_output(piece: bytes) -> None:
        if b"ready" in piece:
            child.wait_for_start()
            cancelled.set()
        if b"asked" in piece:
            clock.now = 60.0

    script = f"trap 'echo asked' TERM; echo ready; (trap '' TERM; {child.start}) & while :; do wait; done"
    ended = run(script, on_output, grace=60.0, clock=clock)

    assert ended == Exit(code=-9, seconds=60.0, cancelled=True, killed=True)
    assert child.is_gone()


def test_a_process_past_its_time_is_asked_to_end_first(run: Follow) -> None:
    clock = Time()
    pieces: list[bytes] = []

    def on_output(piece: bytes) -> None:
        pieces.append(piece)
        clock.now += 10.0

    ended = run(
        "trap 'echo cleaned; exit 1' TERM; echo ready; sleep 1000 & wait",
        on_output,
        timeout=5.0,
        clock=clock,
    )

    assert (ended.code, ended.timed_out, ended.cancelled, ended.killed) == (1, True, False, False)
    assert b"".join(pieces).endswith(b"cleaned\n")


def test_what_a_finished_process_left_running_is_ended(run: Follow, child: Any) -> None:
    started = threading.Thread(target=child.wait_for_start)
    started.start()

    ended = run(f"(sleep 1000 & echo $! > {child.notes})", ignore)

    started.join()
    assert ended.code == 0
    assert child.is_gone()


def test_endless_output_does_not_delay_cancelling(run: Follow, cancelled: threading.Event) -> None:
    ended = run("exec yes", lambda _: cancelled.set())

    assert (ended.code, ended.cancelled) == (-15, True)


def test_a_listener_that_breaks_leaves_nothing_running(run: Follow, child: Any) -> None:
    def on_output(piece: bytes) -> None:
        child.wait_for_start()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(f"echo ready; {child.start}", on_output)

    assert child.is_gone()


def test_a_program_that_is_not_there_is_named(tmp_path: Path, cancelled: threading.Event) -> None:
    command = Command((str(tmp_path / "packer"),), tmp_path, {})

    with pytest.raises(UserError, match=r"packer cannot be started in .*: No such file or directory"):
        follow(
            command,
            ignore,
            stdout=tmp_path / "out",
            stderr=tmp_path / "err",
            timeout=1.0,
            cancelled=cancelled,
        )
