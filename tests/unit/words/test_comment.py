from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.inventory import Inventory, OperatingSystem, Package
from reconciler.model.lockfile import Artifact, Build, InventoryRecord, Reason
from reconciler.model.smoke_test import FailedTest, HygieneFinding, SmokeTestResult
from reconciler.plan.difference import difference
from reconciler.registries.ec2.dialect import AMI
from reconciler.words.comment import Previewed, render, status

Make = Callable[..., Any]
MOVED = Reason(code="source-changed", was="debian-1 ami-0aa", now="debian-2 ami-0bb")
EDITED = Reason(code="inputs-changed", was="1a2b3c4", now="9c0d1e2", files=tuple(f"roles/{n}.yml" for n in range(10)))


RECORD = InventoryRecord(os="Debian 12", kernel="6.1", sbom="sbom/web/1.cdx.json", digest="sha256:1")


def an_inventory(*packages: Package) -> Inventory:
    debian = OperatingSystem("debian", "12", "Debian 12")
    return Inventory(os=debian, kernel="6.1", packages=packages, services=(), ports=(), users=(), suid=())


def a_build(**more: Any) -> Build:
    known: dict[str, Any] = {
        "id": "20261122T101530Z-1a2b3c4", "key": "sha256:1a2b3c4", "components": {}, "commit": "9c0d1e2",
        "phase": "preliminary", "seconds": 360, "source": AMI.pin("us-east-1", "ami-0aa", name="d"),
        "artifacts": (Artifact(kind="ami", builder="b", location="us-east-1", id="ami-0ff"),), **more,
    }  # fmt: skip
    return Build(**known)


def row(comment: str, image: str) -> str:
    return next(line for line in comment.splitlines() if line.startswith(f"| **{image}**"))


def test_a_built_image_shows_why_as_what_how_long_and_from_which_source_to_which(planned: Make, a_plan: Make) -> None:
    image = planned("web", reasons=(EDITED, MOVED))
    comment = render(a_plan(image, quiet=13), {"web": Previewed(build=a_build(reasons=image.reasons))})
    assert comment.startswith("### reconciler: 1 image will change · 13 unchanged\n")
    shown = row(comment, "web")
    assert "inputs-changed, source-changed<br>`roles/0.yml`<br>" in shown
    assert "<br>`+2 more`<br>`debian-1 ami-0aa → debian-2 ami-0bb` |" in shown
    assert "| `20261122T101530Z-1a2b3c4` in 1 location, 6 min |" in shown
    assert "us-east-1 ami-0ff" in comment
    assert "Merging promotes these very images to `candidate`." in comment


def test_a_new_image_shows_what_it_was_built_on_and_not_that_it_is_not_built(planned: Make, a_plan: Make) -> None:
    image = planned("web", reasons=(Reason(code="new", now="9c0d1e2"),))
    comment = render(a_plan(image), {"web": Previewed(build=a_build(reasons=image.reasons))})
    assert "| new<br>`on d ami-0aa` |" in row(comment, "web")
    assert "not built yet" not in comment


def test_a_test_that_passed_is_counted_and_what_changed_inside_is_named(planned: Make, a_plan: Make) -> None:
    before, after = Package("nginx", "1.22.1-9", "amd64", "deb"), Package("nginx", "1.22.1-9+deb12u2", "amd64", "deb")
    made = difference(an_inventory(before), an_inventory(after))
    build = a_build(inventory=RECORD)
    one = Previewed(build=build, tested=SmokeTestResult(status="passed", tests=9), difference=made)
    comment = render(a_plan(planned("web", reasons=(EDITED,))), {"web": one})
    shown = row(comment, "web")
    assert "| 9 passed |" in shown
    assert "nginx" in shown.split(" | ")[-1]
    assert "1.22.1-9+deb12u2" in comment[comment.index("<details>") :]


def test_a_finding_is_counted_in_the_row_and_told_below_with_what_helps(planned: Make, a_plan: Make) -> None:
    finding = HygieneFinding(code="logs", text="logs ``` stay", hint="empty them")
    one = Previewed(build=a_build(), tested=SmokeTestResult(status="passed", tests=9, findings=(finding,)))
    plan = a_plan(planned("web", reasons=(EDITED,)))
    comment = render(plan, {"web": one})
    assert "| 9 passed, 1 finding |" in row(comment, "web")
    assert "finding: logs ` ` ` stay\n  empty them\n" in comment[comment.index("<details>") :]
    assert status(plan.images[0], one)[1].endswith(", 9 passed, 1 finding")


def test_a_build_that_did_not_pass_is_rejected_and_says_by_which_assertions(planned: Make, a_plan: Make) -> None:
    tests = tuple(FailedTest(test=f"smoke/test_web.py::test_{n}", what="assert `a|b` == '<x>'") for n in range(5))
    tested = SmokeTestResult(status="failed", tests=9, failed=tests)
    one = Previewed(why="smoke test failed: …", tested=tested, tail=("E   assert 0", "```"))
    comment = render(a_plan(planned("web", reasons=(EDITED,))), {"web": one})
    shown = row(comment, "web")
    assert "| rejected | failed<br>" in shown
    assert [f"::test_{n}:" in shown for n in range(5)] == [True, True, True, False, False]
    assert "`+2 more`" in shown
    assert shown.replace("\\|", "").count("|") == 6, "what a test said breaks no table"
    assert (
        "last lines of the test:\n    E   assert 0" in comment or "last lines of the test:\n  E   assert 0" in comment
    )
    assert status(planned("web", reasons=(EDITED,)), one) == ("failure", "smoke test failed: …")


def test_a_build_that_was_not_booted_says_why_and_of_what_nothing_is_known_nothing_is_said(
    planned: Make, a_plan: Make
) -> None:
    one = Previewed(build=a_build(), tested=SmokeTestResult(status="skipped", why="smoke_test.boot is false"))
    comment = render(a_plan(planned("web", reasons=(EDITED,))), {"web": one})
    assert row(comment, "web").endswith("| not tested: smoke\\_test.boot is false |  |")


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"estimate_seconds": 360}, "not built, the merge would build, about 6 min"),
        ({"actions": ("copy",)}, "not built, the merge would copy"),
        ({"actions": ("none",), "waits_for": "suspended: frozen"}, "suspended: frozen"),
        ({"actions": ("none",), "sync": "unknown", "unknown": ("us-east-1: throttled",)}, "us-east-1: throttled"),
        ({"actions": ("none",), "sync": "unknown", "errors": ("a.yaml:7: no\n  fix",)}, "a.yaml:7: no"),
    ],
)
def test_what_is_not_built_says_what_would_be_done_or_why_nothing(
    planned: Make, a_plan: Make, more: dict[str, Any], shown: str
) -> None:
    assert f"| {shown} |" in row(render(a_plan(planned("web", reasons=(EDITED,), **more)), {}), "web")


def test_a_failed_build_shows_its_last_lines_and_they_do_not_leave_their_block(planned: Make, a_plan: Make) -> None:
    one = Previewed(why="build failed\nmore", tail=("E: no such package", "```", "</details> @everyone", "\x1b[31m"))
    comment = render(a_plan(planned("web", reasons=(EDITED,))), {"web": one})
    assert "| failed: build failed |" in row(comment, "web")
    fence = comment[comment.index("```\n") :]
    assert fence.count("```") == 2
    assert "</details> @everyone" in fence.split("```")[1]
    assert "\x1b" not in comment


def test_what_failed_is_not_promised_to_be_promoted(planned: Make, a_plan: Make) -> None:
    web, api = planned("web", reasons=(EDITED,)), planned("api", reasons=(EDITED,))
    failed = Previewed(why="smoke test failed: no")
    closing = render(a_plan(web, api), {"web": Previewed(build=a_build()), "api": failed}).splitlines()[-1]
    assert closing.startswith("Merging promotes the very **web** to `candidate`. Nothing of **api** is promoted")
    alone = render(a_plan(api), {"api": failed}).splitlines()[-1]
    assert alone.startswith("Nothing of **api** is promoted: it failed, and the merge would try it once more.")


def test_a_name_from_outside_does_not_break_the_table(planned: Make, a_plan: Make) -> None:
    comment = render(a_plan(planned("a|b\n<script>", sync="unknown", actions=("none",), errors=("no",))), {})
    assert "| **a\\|b" in comment
    assert "<script>" not in comment.replace("\\<script\\>", "")


def test_a_chain_is_drawn_and_a_remark_stands_above_the_table(planned: Make, a_plan: Make) -> None:
    plan = a_plan(planned("base", reasons=(EDITED,)), planned("web", reasons=(EDITED,), blocked_by=("base",)))
    comment = render(plan, {}, note="This is a fork's.")
    assert comment.index("This is a fork's.") < comment.index("| image |") < comment.index("```mermaid")


@pytest.mark.parametrize(
    ("more", "one", "state", "text"),
    [
        ({}, Previewed(build=a_build()), "success", "built as 20261122T101530Z-1a2b3c4 (inputs-changed)"),
        (
            {},
            Previewed(build=a_build(), tested=SmokeTestResult(status="passed", tests=9)),
            "success",
            "built as 20261122T101530Z-1a2b3c4 (inputs-changed), 9 passed",
        ),
        ({}, Previewed(why="build failed\nmore"), "failure", "build failed"),
        ({}, Previewed(build=a_build(), why="no copy in eu-west-1: no"), "failure", "no copy in eu-west-1: no"),
        ({}, None, "success", "not built, the merge would build: inputs-changed"),
        ({"sync": "in-sync", "actions": ("none",), "reasons": ()}, None, "success", "in sync"),
        ({"sync": "unknown", "actions": ("none",), "unknown": ("throttled",)}, None, "error", "throttled"),
        ({"sync": "unknown", "actions": ("none",), "errors": ("bad\nx",)}, None, "failure", "invalid: bad"),
    ],
)
def test_a_status_says_in_one_line_how_it_went(
    planned: Make, more: dict[str, Any], one: Previewed | None, state: str, text: str
) -> None:
    assert status(planned("web", **{"reasons": (EDITED,), **more}), one) == (state, text)
