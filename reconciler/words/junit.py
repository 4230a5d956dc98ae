"""JUnit XML, for the test tab of a CI: of a plan, or of what a run made of it, with one test case per image.

Schema: the `testsuites` form that Jenkins and CircleCI read (https://github.com/windyroad/JUnit-Schema).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
class Case:
    """A test case. `message` and `details` are of one that has not passed; `output` is what it says nevertheless.

    JUnit knows no warnings: what passed with a finding has passed, and its output says what was found.
    """

    name: str
    verdict: Verdict
    message: str = ""
    details: tuple[str, ...] = ()
    time: str = "0"
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Test cases under a name. `counts` are the attributes that say how many there are of each, and how long."""

    name: str
    cases: Sequence[Case]
    counts: Mapping[str, str]


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


def _planned(image: PlannedImage) -> Case:
    if image.errors:
        return Case(image.image, "failure", image.errors[0].splitlines()[0], image.errors)
    if image.unknown:
        return Case(image.image, "error", image.unknown[0].splitlines()[0], image.unknown)
    if image.sync == "drifted":
        actions = ", ".join(image.actions)
        what = f"{plans.why(image)}: {actions}"
        return Case(image.image, "skipped", what, plans.details(image), output=texts(image.findings))
    return Case(image.image, "passed", output=texts(image.findings))


def _carried_out(outcome: Outcome) -> Case:
    verdicts: dict[str, Verdict] = {
        "failed": "failure", "interrupted": "error", "skipped": "skipped", "superseded": "skipped",
    }  # fmt: skip
    verdict = verdicts.get(outcome.status, "passed")
    message = outcome.why.splitlines()[0] if outcome.why else outcome.status
    seconds = outcome.seconds + outcome.test_seconds
    return Case(outcome.image, verdict, message, outcome.details, str(seconds), outcome.findings)


def _document(name: str, cases: list[Case]) -> str:
    return write([Suite(name, cases, counted_by_verdict(cases, time=str(sum(int(case.time) for case in cases))))])


def counted_by_verdict(cases: Sequence[Case], *, time: str) -> dict[str, str]:
    """The `counts` of a suite: how many test cases there are of each kind, and the seconds of all."""
    found = Counter(case.verdict for case in cases)
    numbers = {"tests": len(cases), "failures": found["failure"], "errors": found["error"], "skipped": found["skipped"]}
    return {**{name: str(number) for name, number in numbers.items()}, "time": time}


def write(suites: Iterable[Suite], **attributes: str) -> str:
    """Test suites as a document, of which `attributes` are said."""
    root = ET.Element("testsuites", attributes)
    for one in suites:
        suite = ET.SubElement(root, "testsuite", {"name": visible(one.name), **one.counts})
        for case in one.cases:
            _append(suite, case, suite_name=one.name)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _append(suite: ET.Element, case: Case, *, suite_name: str) -> None:
    attributes = {"classname": visible(suite_name), "name": visible(case.name), "time": case.time}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.verdict != "passed":
        found = ET.SubElement(element, case.verdict, {"message": visible(case.message)})
        # XML has no way to write most control characters, and a build's last lines or a test's output may hold any.
        lines = [visible(line) for detail in case.details for line in detail.splitlines()]
        found.text = "\n".join(lines) or None
    if case.output:
        ET.SubElement(element, "system-out").text = "\n".join(case.output)
