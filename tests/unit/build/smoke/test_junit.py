"""A smoke test's JUnit holds every test, and every reason why there is none."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from reconciler.build.smoke.judge import Case, Judged, document
from reconciler.build.smoke.records import Ended
from reconciler.model.smoke_test import FailedTest


def test_each_test_is_a_case_and_what_never_ended_is_an_error() -> None:
    cases = (
        Case("smoke/a.py::test_a", Ended("", "passed", 0.5)),
        Case("smoke/a.py::test_b", Ended("", "failed", 0.25, "no <site>", "two\nlines \x1b[0m \udce9")),
        Case("smoke/a.py::test_c", Ended("", "skipped", 0.0, "not here")),
    )
    failed = (FailedTest(test="smoke/a.py::test_b", what="no <site>"), FailedTest(test="smoke/x.py:3", what="broken"))

    text = document("web", [("smoke", Judged(cases, 2, failed))], why=None)

    suite = ET.fromstring(text)[0]  # noqa: S314 - our own text
    assert {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4", "failures": "1", "errors": "1", "skipped": "1", "time": "0.750",
    }  # fmt: skip
    assert [(case.attrib["name"], [one.tag for one in case]) for case in suite] == [
        ("smoke/a.py::test_a", []),
        ("smoke/a.py::test_b", ["failure"]),
        ("smoke/a.py::test_c", ["skipped"]),
        ("smoke/x.py:3", ["error"]),
    ]
    assert suite[1][0].text == "two\nlines \\x1b[0m \\udce9"


def test_a_test_that_never_came_to_its_tests_is_one_error() -> None:
    text = document("web", [], why="no SSH within 10m")

    (error,) = ET.fromstring(text).iter("error")  # noqa: S314 - our own text
    assert error.attrib["message"] == "no SSH within 10m"
