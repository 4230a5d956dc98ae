"""What a run of pytest says of the image."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.build.smoke.judge import Judged, judge_once_over, judge_suite
from reconciler.build.smoke.pytest_run import PytestRun
from reconciler.build.smoke.records import Broken, Ended, Found
from reconciler.model.errors import Terminal
from reconciler.model.smoke_test import FailedTest, HygieneFinding

PASSED = Ended("test_web.py::test_a", "passed", 0.5)
FAILED = Ended("test_web.py::test_b", "failed", 0.5, "the site is\x07 down", "a\n\nE   the site is down\n")
SKIPPED = Ended("test_web.py::test_c", "skipped", 0.0, "not here")


def suite(*ended: Ended, finished: int | None = 0, name: str = "desired/web/smoke", **run: Any) -> Judged:
    return judge_suite(PytestRun(ended, finished=finished, **run), suite=name, is_file=name.endswith(".py"), timeout=60)


def test_tests_that_were_skipped_are_not_counted() -> None:
    judged = suite(PASSED, SKIPPED)

    assert judged.passed
    assert judged.tests == 1


def test_a_failure_is_named_from_the_root_and_said_without_control_characters() -> None:
    judged = suite(PASSED, FAILED, finished=1)

    assert judged.failed == (FailedTest(test="desired/web/smoke/test_web.py::test_b", what=r"the site is\x07 down"),)
    assert judged.tail == ("a", "E   the site is down")
    assert judged.why is None


def test_a_suite_of_one_file_is_not_named_twice() -> None:
    judged = suite(FAILED, finished=1, name="desired/web/test_web.py")

    assert judged.failed[0].test == "desired/web/test_web.py::test_b"


@pytest.mark.parametrize(
    ("ended", "finished", "why"),
    [
        ((), 5, "the suite desired/web/smoke holds no test"),
        ((SKIPPED, SKIPPED), 0, "the suite desired/web/smoke tested nothing: all 2 of its tests were skipped"),
    ],
)
def test_a_suite_that_tests_nothing_has_failed(ended: tuple[Ended, ...], finished: int, why: str) -> None:
    judged = suite(*ended, finished=finished)

    assert not judged.passed
    assert (judged.tests, judged.why) == (0, why)


def test_a_file_that_cannot_be_read_fails_at_its_line_beside_what_failed_elsewhere() -> None:
    judged = suite(
        FAILED, finished=1, broken=(Broken("test_x.py", 3, "SyntaxError: x", "E  x"), Broken("y.py", 0, "z"))
    )

    assert [one.test for one in judged.failed] == [
        "desired/web/smoke/test_x.py:3", "desired/web/smoke/y.py", "desired/web/smoke/test_web.py::test_b",
    ]  # fmt: skip
    assert judged.why is None


def test_a_test_that_hangs_is_named_and_what_ended_before_it_stays() -> None:
    judged = suite(FAILED, finished=None, running="test_web.py::test_d", timed_out=True)

    assert [one.what for one in judged.failed] == [r"the site is\x07 down", "timed out after 1m"]
    assert judged.failed[1].test == "desired/web/smoke/test_web.py::test_d"
    assert judged.tests == 2


def test_a_suite_that_hangs_between_tests_says_so() -> None:
    judged = suite(finished=None, timed_out=True)

    assert judged.why == "the suite desired/web/smoke timed out after 1m"


def test_when_the_instance_is_lost_only_that_is_said() -> None:
    judged = suite(FAILED, finished=1, running=None, lost="the instance was terminated while it was tested")

    assert judged.lost
    assert judged.failed == ()
    assert judged.why == "the instance was terminated while it was tested"


@pytest.mark.parametrize(
    ("code", "did", "how"),
    [
        (-9, "broke off", "signal 9"),
        (0, "ended itself", "exit code 0"),
        (3, "ended itself", "exit code 3"),
    ],
)
def test_a_run_that_does_not_come_to_its_end_has_failed(code: int, did: str, how: str) -> None:
    judged = suite(PASSED, finished=None, code=code, running="test_web.py::test_d", tail=("a", "last words"))

    assert judged.why == (
        f"the suite desired/web/smoke {did}, in desired/web/smoke/test_web.py::test_d ({how}): last words"
    )


@pytest.mark.parametrize("line", ["test_web.py::test_d[ssh://instance]", "collecting ... collected 2 items"])
def test_what_pytest_prints_of_its_way_is_no_reason(line: str) -> None:
    judged = suite(PASSED, finished=None, running="test_web.py::test_d", tail=("a", line))

    assert judged.why == (
        "the suite desired/web/smoke ended itself, in desired/web/smoke/test_web.py::test_d (exit code 0)"
    )


def test_the_once_over_is_named_in_words() -> None:
    run = PytestRun(
        (Ended("once_over.py::test_the_clock_is_right", "failed", 0.1, "the clock is 400 s behind"),), finished=1
    )

    (failed,) = judge_once_over(run, timeout=60).failed

    assert failed.test == "once-over: the clock is right"


def test_a_once_over_that_cannot_be_run_is_no_fault_of_the_image() -> None:
    with pytest.raises(Terminal, match=r"could not be run here \(exit code 1\): No module named pytest"):
        judge_once_over(PytestRun(code=1, tail=("No module named pytest",)), timeout=60)


HISTORY = Ended("once_over.py::test_no_shell_history_is_left", "passed", 0.1)
KEYS = Ended("once_over.py::test_only_the_key", "failed", 0.1, "1 authorized key left", "details")
FOUND = (
    Found("shell-history", "histories stay: /root/.bash\x07", "remove them", test=HISTORY.test),
    Found("packer-key", "Packer's stays", "clear it", keys=["SHA256:a"], test=KEYS.test),
)


def test_what_was_found_is_data_beside_what_failed() -> None:
    judged = judge_once_over(PytestRun((HISTORY, KEYS), FOUND, finished=1), timeout=60)

    assert [one.test for one in judged.failed] == ["once-over: only the key"]
    assert judged.findings == (
        HygieneFinding(code="shell-history", text=r"histories stay: /root/.bash\x07", hint="remove them"),
        HygieneFinding(code="packer-key", text="Packer's stays", hint="clear it", keys=("SHA256:a",)),
    )


def test_where_hygiene_fails_a_finding_is_a_failure_of_the_test_that_made_it() -> None:
    judged = judge_once_over(PytestRun((HISTORY, KEYS), FOUND, finished=1), timeout=60, hygiene="fail")

    assert judged.findings == ()
    assert [(one.test, one.what) for one in judged.failed] == [
        ("once-over: no shell history is left", r"histories stay: /root/.bash\x07 (remove them)"),
        ("once-over: only the key", "1 authorized key left; Packer's stays (clear it)"),
    ]


def test_of_an_instance_that_was_lost_nothing_is_known() -> None:
    judged = judge_once_over(PytestRun((HISTORY,), FOUND[:1], finished=1, lost="it was terminated"), timeout=60)

    assert (judged.findings, judged.why) == ((), "it was terminated")


def test_a_suite_makes_no_findings_of_hygiene() -> None:
    forged = Found("packer-key", "all is well", "", keys=["SHA256:mine"], test=PASSED.test)

    assert suite(PASSED, found=(forged,)).findings == ()
