"""A plan and a run as JUnit XML, as CI systems read it."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage
from reconciler.words.junit import Outcome, of_plan, of_run

MakePlan = Callable[..., Plan]
MakePlanned = Callable[..., PlannedImage]


def parsed(document: str) -> ET.Element:
    return ET.fromstring(document)  # noqa: S314 - our own


def cases(document: str) -> dict[str, tuple[str, str]]:
    """By name: how the case ended (`passed` for no element in it) and its message."""
    found = {}
    for case in parsed(document).iter("testcase"):
        inner = list(case)
        found[case.attrib["name"]] = (inner[0].tag, inner[0].attrib["message"]) if inner else ("passed", "")
    return found


def test_drift_is_skipped_unknown_an_error_and_invalid_a_failure(a_plan: MakePlan, planned: MakePlanned) -> None:
    web = planned("web", reasons=[Reason(code="inputs-changed", files=("desired/web/nginx.conf",))])
    api = planned("api", sync="unknown", actions=("none",), unknown=["eu-west-1: RequestLimitExceeded"])
    db = planned("db", sync="unknown", actions=("none",), errors=["desired/db/image.yaml:1:1: unknown key\n  fix"])

    document = of_plan(a_plan(web, api, db, quiet=1))

    told = cases(document)
    assert told["web"] == ("skipped", "inputs-changed: build")
    assert told["api"] == ("error", "eu-west-1: RequestLimitExceeded")
    assert told["db"] == ("failure", "desired/db/image.yaml:1:1: unknown key")
    assert [how for how, _ in told.values()].count("passed") == 1
    suite = parsed(document).find("testsuite")
    assert suite is not None
    counts = {key: suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}


def test_a_run_tells_how_each_image_ended_and_the_plan_of_the_others(a_plan: MakePlan, planned: MakePlanned) -> None:
    names = ("base", "web", "api", "db", "etc")
    plan = a_plan(*(planned(name, reasons=[Reason(code="new")]) for name in names), quiet=1)

    document = of_run(
        plan,
        [
            Outcome("base", "built", seconds=412, test_seconds=45),
            Outcome("web", "failed", why="build failed", details=("build failed", "E: no package nginxx")),
            Outcome("api", "skipped", why="its parent web failed"),
            Outcome("db", "interrupted"),
        ],
    )

    told = cases(document)
    assert told["base"] == ("passed", "")
    assert told["web"] == ("failure", "build failed")
    assert told["api"] == ("skipped", "its parent web failed")
    assert told["db"] == ("error", "interrupted")
    assert told["etc"] == ("skipped", "new: build")
    assert 'name="base" time="457"' in document, "the build and its test"
    assert "E: no package nginxx" in document


@given(text=st.text())
def test_whatever_a_build_printed_last_the_document_can_be_read(text: str) -> None:
    image = PlannedImage(image="web", sync="drifted", health="healthy", actions=("build",))
    plan = Plan(
        plan_id="sha256:0", head="0", applyable=True, complete=True, errored=False, summary={}, images=(image,)
    )  # fmt: skip

    document = of_run(plan, [Outcome("web", "failed", why=text, details=(text, "\x1b[31mred\x00"))])

    assert cases(document.encode(errors="strict").decode())["web"][0] == "failure"


def test_a_finding_leaves_a_case_passed_and_is_in_its_output(a_plan: MakePlan, planned: MakePlanned) -> None:
    finding = {"code": "logs", "text": "logs <stay>\x1b", "hint": "empty them"}
    quiet = planned("web", sync="in-sync", actions=("none",), findings=[finding])

    for document in (
        of_plan(a_plan(quiet)),
        of_run(a_plan(quiet), [Outcome("web", "built", findings=(r"finding: logs <stay>\x1b",))]),
    ):
        suite = parsed(document)[0]
        assert {suite.attrib[key] for key in ("failures", "errors", "skipped")} == {"0"}
        assert [(one.tag, one.text) for one in suite[0]] == [("system-out", r"finding: logs <stay>\x1b")]
