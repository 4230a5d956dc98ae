from __future__ import annotations

import pytest

from reconciler.model.smoke_test import FailedTest, HygieneFinding, SmokeTestResult
from reconciler.plan.standing import lines, outcome, with_hints

NGINX, TLS = (FailedTest(test=f"test_web.py::test_{name}", what="assert 0") for name in ("nginx", "tls"))
KEY, ROOTS_KEY, LOGS = (
    HygieneFinding(code=code, text=text, hint=f"clear {code}")
    for code, text in (("packer-key", "a key stays"), ("packer-key", "root's stays"), ("logs", "logs\x1b stay"))
)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (SmokeTestResult(status="passed", tests=9), "9 passed"),
        (SmokeTestResult(status="passed", tests=9, findings=(KEY,)), "9 passed, 1 finding"),
        (SmokeTestResult(status="passed", tests=9, findings=(KEY, LOGS)), "9 passed, 2 findings"),
        (SmokeTestResult(status="skipped", why="smoke_test.boot is false"), "not tested: smoke_test.boot is false"),
        (SmokeTestResult(status="skipped"), "not tested: nobody said why"),
        (SmokeTestResult(status="failed", failed=(NGINX,)), "smoke test failed: test_web.py::test_nginx: assert 0"),
        (
            SmokeTestResult(status="failed", failed=(NGINX, TLS)),
            "smoke test failed: test_web.py::test_nginx: assert 0 (and 1 more)",
        ),
        (SmokeTestResult(status="failed", why="SSH never came"), "smoke test failed: SSH never came"),
        (SmokeTestResult(status="failed"), "smoke test failed: nothing says why"),
    ],
)
def test_a_test_is_one_line(result: SmokeTestResult, text: str) -> None:
    assert outcome(result) == text


def test_every_test_that_failed_is_a_line() -> None:
    assert lines(SmokeTestResult(status="failed", failed=(NGINX, TLS))) == (
        "test_web.py::test_nginx: assert 0",
        "test_web.py::test_tls: assert 0",
    )
    assert lines(SmokeTestResult(status="passed", tests=9)) == ()


def test_what_a_test_printed_steers_no_terminal_and_stays_on_its_line() -> None:
    """An image prints what it likes, and its output is in a commit, a comment and a terminal."""
    bad = FailedTest(test="test_\x1b[31m", what="assert\n0\x00\u202e")
    (line,) = lines(SmokeTestResult(status="failed", failed=(bad,)))
    assert line.isprintable()
    assert outcome(SmokeTestResult(status="failed", why="\x1b]0;owned\x07")).isprintable()


def test_how_to_get_rid_of_a_finding_is_said_once_for_each_kind() -> None:
    given: set[str] = set()
    assert list(with_hints([KEY, LOGS], given=given)) == [
        "finding: a key stays", "  clear packer-key", r"finding: logs\x1b stay", "  clear logs",
    ]  # fmt: skip
    assert list(with_hints([ROOTS_KEY], given=given)) == ["finding: root's stays"]
