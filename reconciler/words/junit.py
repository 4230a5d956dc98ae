"""A plan, or what a run made of it, as JUnit XML: one test case an image, for the test tab of a CI.

Schema: the `testsuites` form that Jenkins and CircleCI read (https://github.com/windyroad/JUnit-Schema).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.text import visible
from reconciler.plan.standing import texts
from reconciler.words import plans

Verdict = Literal["passed", "skipped", "failure", "error"]


@dataclass(frozen=True)
class Outcome:
    """What became of one image in a run. `status` is as in `reconcile --json`; `details` are printed below it.

    `seconds` are those of the build, `test_seconds` those of its smoke test, which come after; `findings` are what that
    found and let pass, a line each.
    """

    image: str
    status: str
    seconds: int = 0
    why: str = ""
    details: tuple[str, ...] = ()
    test_seconds: int = 0
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    image: str
    verdict: Verdict
    message: str = ""
    details: tuple[str, ...] = ()
    seconds: int = 0
    findings: tuple[str, ...] = ()


def of_plan(plan: Plan) -> str:
    """The plan: in sync has passed, drift is skipped, an invalid image is a failure, an unknown one an error."""
    return _document("reconciler plan", [_planned(image) for image in plan.images])


def of_run(plan: Plan, outcomes: Iterable[Outcome]) -> str:
    """A run: done has passed, failed is a failure, interrupted an error; what was not acted on is as in the plan."""
    done = {outcome.image: outcome for outcome in outcomes}
    cases = [
        _carried_out(done[image.image]) if image.image in done else _planned(image) for image in plan.images
    ]  # fmt: skip
    return _document("reconciler reconcile", cases)


def _planned(image: PlannedImage) -> _Case:
    if image.errors:
        return _Case(image.image, "failure", image.errors[0].splitlines()[0], image.errors)
    if image.unknown:
        return _Case(image.image, "error", image.unknown[0].splitlines()[0], image.unknown)
    if image.sync == "drifted":
        actions = ", ".join(image.actions)
        what = f"{plans.why(image)}: {actions}"
        return _Case(image.image, "skipped", what, plans.details(image), findings=texts(image.findings))
    return _Case(image.image, "passed", findings=texts(image.findings))


def _carried_out(outcome: Outcome) -> _Case:
    verdicts: dict[str, Verdict] = {
        "failed": "failure", "interrupted": "error", "skipped": "skipped", "superseded": "skipped",
    }  # fmt: skip
    verdict = verdicts.get(outcome.status, "passed")
    message = outcome.why.splitlines()[0] if outcome.why else outcome.status
    seconds = outcome.seconds + outcome.test_seconds
    return _Case(outcome.image, verdict, message, outcome.details, seconds, outcome.findings)


def _document(name: str, cases: list[_Case]) -> str:
    counts = {
        "tests": len(cases),
        "failures": sum(case.verdict == "failure" for case in cases),
        "errors": sum(case.verdict == "error" for case in cases),
        "skipped": sum(case.verdict == "skipped" for case in cases),
        "time": sum(case.seconds for case in cases),
    }
    attributes = {key: str(value) for key, value in counts.items()}
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", {"name": name, **attributes})
    for case in cases:
        _append(suite, case, suite_name=name)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _append(suite: ET.Element, case: _Case, *, suite_name: str) -> None:
    attributes = {"classname": suite_name, "name": visible(case.image), "time": str(case.seconds)}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.verdict != "passed":
        found = ET.SubElement(element, case.verdict, {"message": visible(case.message)})
        # XML has no way to write most control characters, and a build's last lines may hold any.
        lines = [visible(line) for detail in case.details for line in detail.splitlines()]
        found.text = "\n".join(lines) or None
    if case.findings:
        # JUnit knows no warnings. What passed with a finding has passed, and its output says what was found.
        ET.SubElement(element, "system-out").text = "\n".join(case.findings)
