"""A failed test is told in the one line that a person wants to read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reconciler.build.smoke.records import LONGEST, said_by


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ("AssertionError: the site is down\nassert 500 == 200", "the site is down"),
        ("assert 500 == 200\n +  where 500 = f()", "assert 500 == 200, where 500 = f()"),
        (
            "assert False\n +  where False = <service nginx>.is_running\n +    where <service nginx> = C('nginx')",
            "assert False, where False = <service nginx>.is_running",
        ),
        ("assert (1 == 1 and False)\n +  where 1 = a\n and   where False = b",
         "assert (1 == 1 and False), where 1 = a, where False = b"),
        ("Failed: not today", "not today"),
        ("OSError: [Errno 2] No such file", "OSError: [Errno 2] No such file"),
        ("fixture 'hots' not found\n available fixtures: a, b", "fixture 'hots' not found"),
        ("\n\n", "ValueError"),
    ],
)  # fmt: skip
def test_the_message_or_the_expression_with_its_values(shown: str, line: str) -> None:
    assert said_by(ValueError(), shown) == line


def test_it_is_cut_to_one_line_of_a_length() -> None:
    line = said_by(ValueError(), "ValueError: " + "very \t long " * 100)

    assert len(line) == LONGEST
    assert line.startswith("ValueError: very long very long")
    assert line.endswith("…")


def test_a_connection_that_fails_is_told_from_a_command_that_was_killed() -> None:
    lost = SimpleNamespace(exit_status=255, stderr="\nssh: connect to host h port 22: Connection refused\n")
    killed = SimpleNamespace(exit_status=255, stderr="")

    assert said_by(RuntimeError(lost), "…") == "SSH: ssh: connect to host h port 22: Connection refused"
    assert said_by(RuntimeError(killed), "…") == "a command was ended by a signal"
    assert said_by(RuntimeError("255"), "RuntimeError: 255") == "RuntimeError: 255"
