"""What people and programs read: tables, JSON, Markdown, exit codes, completion."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"


@pytest.fixture(scope="module")
def logged(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Any]:
    """A fleet after its first `reconcile --log json`, and how that ended."""
    fleet = new_fleet(tmp_path_factory.mktemp("answers"), "pair")
    return fleet, fleet.reconciler("reconcile", "--log", "json", "--json")


@pytest.fixture(scope="module")
def built(logged: tuple[Checkout, Any]) -> Checkout:
    fleet, ended = logged
    assert ended.code == 0, ended
    return fleet


@pytest.fixture(scope="module")
def drifted(built: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A second clone of it, with a change to `web` that is pushed to a branch of its own."""
    path = tmp_path_factory.mktemp("drifted") / "clone"
    built.git("clone", "--quiet", built.git("remote", "get-url", "origin"), str(path))
    fleet = replace(built, path=path)
    fleet.git("switch", "--quiet", "--create", "feature")
    fleet.edit("desired/web/setup.sh", append="true\n")
    fleet.publish()
    return fleet


def conforms(document: Any, schema: str) -> None:
    validator = Draft202012Validator(json.loads((SCHEMAS / schema).read_text()))
    validator.check_schema(validator.schema)
    assert [error.message for error in validator.iter_errors(document)] == []


def test_reconcile_answers_with_json_and_logs_an_object_a_line(logged: tuple[Checkout, Any]) -> None:
    fleet, ended = logged
    assert {result["image"]: result["status"] for result in ended.json["results"]} == {"base": "built", "web": "built"}
    conforms(ended.json, "run-1.json")
    assert ended.json["exit_code"] == ended.code
    assert ended.json["results"][-1]["commit"] == fleet.head()

    told = ended.err.splitlines()
    assert [line for line in told if not line.startswith("{")] == []
    records = [json.loads(line) for line in told]
    assert all(record["event"] and record["timestamp"] for record in records)
    assert [record["image"] for record in records if record["event"] == "state.recorded"] == ["base", "web"]
    assert {"build.started", "build.step", "build.built", "artifact.copied"} <= {one["event"] for one in records}


@pytest.mark.parametrize("image", ["base", "web"])
def test_a_lockfile_conforms_to_its_schema_and_is_canonical(built: Checkout, image: str) -> None:
    lockfile = built.lockfile(image)
    conforms(lockfile, "lockfile-1.json")
    text = built.lockfiles()[f"{image}.lock.json"]
    assert text == (json.dumps(lockfile, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def test_the_annotated_tag_holds_the_very_record_of_the_lockfile(built: Checkout) -> None:
    build = built.lockfile("web")["builds"][0]
    message = built.git("for-each-ref", "--format=%(contents)", f"refs/tags/image/web/{build['id']}")
    # A tag is made once, before it is known when the build lands on the branch, and what is attested of it there.
    told = {key: build[key] for key in build.keys() - {"recorded", "provenance"}}
    assert json.loads(message[message.index("\n{\n") :]) == told
    assert "status: built" in message
    for artifact in build["artifacts"]:
        assert f"artifact: ami {artifact['location']} {artifact['id']}" in message


@pytest.mark.parametrize("options", [(), ("--refresh",), ("--offline",), ("web",), ("--force", "base")])
def test_a_plan_in_json_conforms_to_its_schema(drifted: Checkout, options: tuple[str, ...]) -> None:
    planned = drifted.reconciler("plan", "--json", *options)
    assert planned.code == 0
    conforms(planned.json, "plan-1.json")
    (web,) = [image for image in planned.json["images"] if image["image"] == "web"]
    assert web["actions"] == ["build"]


def test_a_plan_in_markdown_is_a_comment(drifted: Checkout) -> None:
    planned = drifted.reconciler("plan", "--markdown")
    assert planned.first == "### reconciler: 1 image will change · 1 unchanged"
    assert "| **web** | build | inputs-changed | `desired/web/setup.sh` |" in planned.out.splitlines()
    assert planned.out.splitlines()[-1].startswith("Plan `sha256:")


def test_a_plan_on_paper_is_the_plan_on_stdout(drifted: Checkout, tmp_path: Path) -> None:
    planned = drifted.reconciler("plan", "--json", "--out", str(tmp_path / "plan.json"))
    assert json.loads((tmp_path / "plan.json").read_text()) == planned.json
    assert drifted.git("status", "--porcelain") == ""


def test_exit_codes_tell_drift_only_when_they_are_asked_to(built: Checkout, drifted: Checkout) -> None:
    assert built.reconciler("plan").code == 0
    assert built.reconciler("plan", "--detailed-exitcode").code == 0
    assert drifted.reconciler("plan").code == 0
    assert drifted.reconciler("plan", "--detailed-exitcode").code == 2
    assert drifted.reconciler("plan", "nosuch").code == 1


def test_another_branch_can_be_planned_and_is_not_reconciled(drifted: Checkout) -> None:
    ended = drifted.reconciler("reconcile")
    assert ended.code == 1
    assert ended.err.splitlines()[0] == "error: state is recorded to main, and the checkout is on the branch feature"


def test_a_plan_of_uncommitted_files_is_asked_for(built: Checkout) -> None:
    built.write("desired/web/setup.sh", "#!/bin/sh\ntrue\n")
    try:
        committed = built.reconciler("plan")
        assert committed.first.startswith("2 images in sync (2 regions, checked in ")
        assert (
            "not committed, so not considered: desired/web/setup.sh (`reconciler plan --worktree` plans them)"
            in committed.err
        )
        assert built.reconciler("plan", "--worktree").first == "1 of 2 images drifted: web (inputs-changed)"
    finally:
        built.git("checkout", "--quiet", "desired")


def test_minus_c_works_from_anywhere(built: Checkout, tmp_path: Path) -> None:
    elsewhere = built.reconciler("validate", "--json", "-C", str(built.path), cwd=tmp_path)
    assert list(elsewhere.json["images"]) == ["base", "web"]
    assert elsewhere == built.reconciler("validate", "--json")
    assert built.reconciler("validate", "--json", cwd=built.path / "desired" / "web") == elsewhere


def test_status_reads_the_clone_alone(built: Checkout, drifted: Checkout) -> None:
    without_aws = {"HTTPS_PROXY": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    answer = built.reconciler("status", environment=without_aws)
    assert answer.code == 0
    header, base, web, *_ = (line for line in answer.out.splitlines() if not line.startswith(" "))
    assert header.split() == ["image", "stable", "candidate", "age", "source", "health"]
    stable = built.lockfile("base")["channels"]["stable"]
    assert base.split()[:3] == ["base", stable, "same"]
    assert web.split()[0] == "web"

    rows = built.reconciler("status", "--json").json["images"]
    assert [(row["image"], row["sync"], row["health"]) for row in rows] == [
        ("base", "in-sync", "healthy"),
        ("web", "in-sync", "healthy"),
    ]
    assert drifted.reconciler("status", "--json").json["images"][1]["sync"] == "drifted"
    assert built.reconciler("status", "--rev", "HEAD~2").out.splitlines()[1].split()[:2] == ["base", "none"]


def test_validate_says_that_all_is_well(built: Checkout) -> None:
    answer = built.reconciler("validate")
    assert (answer.code, answer.out) == (0, "2 images valid\n")
    details = built.reconciler("validate", "--json").json
    assert details["valid"] is True
    assert details["images"]["web"]["parent"] == "base"


def test_doctor_checks_what_a_run_needs(built: Checkout) -> None:
    answer = built.reconciler("doctor")
    assert answer.code == 0, answer
    marks = [line.split(":")[0].split() for line in answer.out.splitlines() if not line.startswith(" ")]
    subjects = ["repository", "desired", "state", "branch", "recording", "packer", "programs", "ssh", "aws", "clock"]
    assert marks == [["ok", subject] for subject in subjects]
    assert "4 artifacts of this fleet in eu-west-1, us-east-1" in answer.out


def test_doctor_names_each_trouble_with_its_mend(built: Checkout, tmp_path: Path) -> None:
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.symlink_to(str(shutil.which("git")))
    nothing = {"PATH": str(git.parent), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    answer = built.reconciler("doctor", environment=nothing)
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert "trouble  packer: Packer is not installed: no `packer` on the PATH" in lines
    assert "trouble  aws: AWS can't be read: no AWS credentials were found" in lines
    checks = built.reconciler("doctor", "--json", environment=nothing).json["checks"]
    assert {found["subject"]: found["state"] for found in checks}["state"] == "ok"


def test_a_plan_file_is_done_as_planned_and_refused_once_it_is_stale(
    new_fleet: NewFleet, tmp_path: Path, sandbox: Sandbox
) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.git("rm", "-r", "--quiet", "desired/web")
    fleet.publish("Drop web")
    paper = str(tmp_path / "plan.json")
    assert fleet.reconciler("plan", "--out", paper).first == "1 of 1 image drifted: base (new)"

    assert fleet.reconciler("reconcile", "--plan", paper).code == 0
    planned_for = json.loads(Path(paper).read_text())["head"][:12]

    stale = fleet.reconciler("reconcile", "--plan", paper)
    assert stale.code == 1
    assert stale.err.splitlines() == [
        f"error: the plan is stale: it was made for {planned_for}, and the branch is at {fleet.head()[:12]}",
        "  make and review it anew: `reconciler plan --out FILE`",
    ]
    Path(paper).write_text('{"format_version": "1.1"}')
    assert "is no plan: plan_id: Field required" in fleet.reconciler("reconcile", "--plan", paper).err


def test_bash_completes_verbs_and_images(built: Checkout) -> None:
    script = built.reconciler("completion", "bash")
    assert script.code == 0
    subprocess.run(["bash", "-n"], input=script.out.encode(), check=True)

    command = Path(sys.executable).with_name("reconciler")
    assert complete(built, command, "reconciler", "rec") == ["plain,reconcile"]
    assert complete(built, command, "reconciler", "plan", "w") == ["plain,web"]


def complete(fleet: Checkout, command: Path, *words: str) -> list[str]:
    """What the installed command offers to bash for the last word."""
    asked = {
        "_RECONCILER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    ended = subprocess.run(
        [command], cwd=fleet.path, env={**fleet.environment, **asked}, capture_output=True, text=True, check=True
    )
    return ended.stdout.split()


@pytest.mark.parametrize(
    "arguments", [("--help",), ("plan", "--help"), ("reconcile", "--help"), ("--version",)], ids=" ".join
)
def test_help_fits_the_terminal(built: Checkout, arguments: tuple[str, ...]) -> None:
    assert built.reconciler(*arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (("plan", "--jsn"), "Error: No such option '--jsn'"),
        (("plann",), "Error: No such command 'plann'."),
        (("plan", "--offline", "--refresh"), "error: --refresh reads the registry, and --offline does not"),
        (("plan", "bse"), "error: no image is named 'bse'"),
        (("plan", "--rev", "nosuch"), "error: "),
        (("plan", "-C", "/nosuch"), "error: there is no folder /nosuch"),
        (("reconcile", "--force", "nosuch"), "error: no image is named 'nosuch'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_at_the_command_line_is_told_in_a_line(built: Checkout, arguments: tuple[str, ...], first: str) -> None:
    ended = built.reconciler(*arguments)
    assert ended.code == 1
    assert any(line.startswith(first) for line in ended.err.splitlines()), ended.err
    assert ended.out == ""
