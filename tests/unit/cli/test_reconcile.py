"""What a run did, row by row."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli import adopt
from reconciler.cli.reconcile import _answer, _lines, _print
from reconciler.git.command import Git
from reconciler.git.destination import Target
from reconciler.git.repository import Repository
from reconciler.model.difference import Difference, Moved
from reconciler.model.lockfile import Artifact, Build, Lockfile, Reason
from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.steps.run import Deed, Report, Result

LOCK = Lockfile(image="web")
COPIED = Deed("copied", "to ap-southeast-1 ami-0abc")
RETIRED = Deed("retired", "2 artifacts in 1 location: us-east-1 ami-1 ami-2")


def test_what_was_changed_is_said_by_what_was_done() -> None:
    changed = Result("web", "changed", LOCK, did=(COPIED, RETIRED))
    assert list(_lines(changed, 6)) == [
        "web     copied      to ap-southeast-1 ami-0abc",
        "web     retired     2 artifacts in 1 location: us-east-1 ami-1 ami-2",
    ]


def test_what_was_done_beside_a_build_has_rows_of_its_own() -> None:
    failed = Result("web", "failed", LOCK, why="no room", did=(RETIRED,))
    assert list(_lines(failed, 3)) == [
        "web  failed      no room",
        "web  retired     2 artifacts in 1 location: us-east-1 ami-1 ami-2",
    ]


def test_a_change_that_nothing_is_to_be_said_of_is_still_a_row() -> None:
    assert list(_lines(Result("web", "changed", LOCK), 3)) == ["web  changed     "]


def test_what_could_not_be_published_when_it_was_planned_is_not_said_once_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an image that was built, of which the plan had found a group that turned back, and another that waits
    turned_back = "us-east-1 group web: refresh 1 to version 3 was turned back: alarm web-5xx"
    ran = report(Result("web", "built", LOCK, BUILD), Result("api", "changed", LOCK, did=(COPIED,)))
    web, api = ran.plan.images
    refusal = Reason(code="publication-changed", was=turned_back, now="not refreshed")
    web = web.model_copy(update={"reasons": (refusal,), "waits_for": turned_back})
    api = api.model_copy(update={"waits_for": "kept; `--prune` deletes 1 artifact in 1 location"})
    ran = replace(ran, plan=ran.plan.model_copy(update={"images": (web, api)}))
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for command in (("init", "--quiet"), (*identity, "commit", "--quiet", "--allow-empty", "-m", "Begin")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)

    _print(ran, "main", Repository.open(tmp_path), remote="origin")

    said = capsys.readouterr().err
    assert "turned back" not in said
    assert "api: kept; `--prune` deletes 1 artifact in 1 location" in said


# Its JSON.

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"
BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1", components={"files": "sha256:2"}, commit="9" * 40, phase="stable",
    artifacts=(Artifact(kind="ami", builder="a.b", location="us-east-1", id="ami-1", parts=("snap-1",)),),
)  # fmt: skip


def report(*results: Result) -> Report:
    images = tuple(
        PlannedImage(image=one.image, sync="drifted", health="healthy", actions=("build",)) for one in results
    )
    plan = Plan(
        plan_id="sha256:1", head="9c0d1e2", applyable=True, complete=True, errored=False, summary={}, images=images
    )
    return Report(results, plan, Target("main", "9" * 40, None, ()))


@pytest.mark.parametrize(
    "result",
    [
        Result("web", "skipped", LOCK, why="base failed"),
        Result("web", "changed", LOCK, did=(COPIED,), commit="9" * 40),
        Result(
            "web", "built", LOCK, BUILD, 361, commit="9" * 40, tags=("image/web/20261122T101530Z-1a2b3c4",),
            tested=SmokeTestResult(status="passed", tests=9), difference=Difference(kernel=Moved(old="1", new="2")),
        ),
    ],
    ids=["skipped", "changed", "built"],
)  # fmt: skip
def test_what_became_of_a_run_is_as_its_schema_says(result: Result) -> None:
    git = Git(Path(), below="fleet")
    run = json.loads(_answer(report(result), git).model_dump_json())
    adopted = json.loads(adopt._answer(report(result), result).model_dump_json())

    for answer, schema in ((run, "run-1.json"), (adopted, "adoption-1.json")):
        Draft202012Validator(json.loads((SCHEMAS / schema).read_text())).validate(answer)
    (told,) = run["results"]
    assert [told["image"], told["status"], told["why"]] == [result.image, result.status, result.why or None]
    assert told["tags"] == [f"fleet/{name}" for name in result.tags]
    if result.build is not None:
        (artifact,) = told["build"]["artifacts"]
        assert artifact["snapshots"] == ["snap-1"], "as in the lockfile"
        assert "verdict" not in told["build"], "what says nothing is left out"
