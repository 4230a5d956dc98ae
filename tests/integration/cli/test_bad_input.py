"""What the command line answers where something is wrong with what it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.cli.checks import DoctorContext, check_ssh
from reconciler.cli.workspace import Workspace
from reconciler.model.errors import UserError
from tests.integration.cli.conftest import TEMPLATE, Fleet


@pytest.mark.thorough
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_changes_nothing_but_what_is_heard(fleet: Fleet, closed: str) -> None:
    ended = fleet.shell(closed, "plan", "--offline")
    assert ended.returncode == 0
    assert "unexpected" not in ended.stdout + ended.stderr
    assert ended.stdout.startswith("2 of 2 images drifted") == (closed == "2>&-")


def test_validate_says_in_json_what_is_wrong_with_the_settings(fleet: Fleet) -> None:
    fleet.commit({"desired/reconciler.yaml": "defaults:\n  regoins: [us-east-1]\n"})
    answer = fleet.json("validate")
    (problem,) = answer["problems"]
    assert (answer["valid"], answer["images"]) == (False, {})
    assert (problem["path"], problem["line"]) == ("desired/reconciler.yaml", 2)


def test_validate_says_in_json_that_nothing_is_declared(fleet: Fleet) -> None:
    fleet.git("rm", "-r", "--quiet", "desired")
    fleet.commit({"README.md": "nothing\n"})
    (problem,) = fleet.json("validate")["problems"]
    assert problem["what"] == "there is no folder desired/ at this commit"
    assert (problem["path"], problem["line"]) == ("desired", None)


def test_a_name_that_no_encoding_takes_is_written_as_its_escape_in_json(fleet: Fleet) -> None:
    builder = {"type": "amazon-ebs", "name": "\ud800", "source_ami": "ami-0aa11bb22cc33dd44", "region": "us-east-1"}
    fleet.commit({"desired/odd/odd.json": json.dumps({"builders": [builder]})})
    ended = fleet.run("validate", "--json")
    assert "unexpected" not in ended.stderr
    assert "odd" in json.dumps(json.loads(ended.stdout))


def test_a_path_steers_no_terminal(fleet: Fleet) -> None:
    for folder in ("red\x1b[31m", "two\nlines", "back\u202ewards"):
        fleet.commit({f"desired/{folder}/image.pkr.hcl": TEMPLATE})
    told = [fleet.run(*verb) for verb in (("validate",), ("status",), ("plan", "--offline"), ("graph",))]
    for ended in told:
        said = ended.stdout + ended.stderr
        assert all(one.isprintable() for one in said.replace("\n", "").replace("\ufffd", ""))
    assert "desired/two\\nlines: " in told[0].stderr
    assert "desired/red\\x1b[31m: " in told[0].stderr


def test_the_graph_names_the_invalid_images_so_that_no_parent_is_unknown(fleet: Fleet) -> None:
    fleet.commit({"desired/base/image.yaml": "source: { ami: { id: no } }\n"})
    answer = fleet.json("graph")
    assert answer["images"] == [{"image": "web", "parent": "base"}]
    assert answer["invalid"] == ["base"]


@pytest.mark.parametrize("verb", ["plan", "validate"])
def test_a_revision_and_the_files_of_the_checkout_exclude_each_other(fleet: Fleet, verb: str) -> None:
    ended = fleet.run(verb, "--worktree", "--rev", "main")
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "Error: --worktree and --rev exclude each other")


def test_inside_of_git_s_own_folder_it_says_so(fleet: Fleet) -> None:
    with pytest.raises(UserError, match=r"\.git is inside a repository's own folder"):
        Workspace(fleet.root / ".git")


def test_a_clone_that_cannot_be_written_to_is_told_before_anything_is_begun(fleet: Fleet) -> None:
    (fleet.root / ".reconciler").write_text("in the way of the folder\n")
    ended = fleet.run("reconcile")
    assert ended.returncode == 1
    assert f"error: {fleet.root}/.reconciler can't be written: " in ended.stderr


@pytest.mark.parametrize("verb", ["validate", "plan", "reconcile"])
@pytest.mark.parametrize(
    "link", [".reconciler", ".reconciler/logs", ".reconciler/keys", ".reconciler/.gitignore", "reconciler-unsaved"]
)
def test_what_a_run_writes_goes_nowhere_that_a_commit_chose(fleet: Fleet, tmp_path: Path, link: str, verb: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (fleet.root / link).parent.mkdir(exist_ok=True)
    (fleet.root / link).symlink_to(tmp_path / "elsewhere")
    fleet.commit({})
    ended = fleet.run(verb)
    assert ended.returncode == 1
    folder = link.partition("/")[0]
    assert f"error: {link}: {folder} is committed: keys, logs and records of a run" in ended.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.thorough
@pytest.mark.parametrize("link", ["answers", "answers/answer"])
@pytest.mark.parametrize("option", ["--out", "--junit"])
def test_no_answer_is_written_through_a_link_that_a_commit_brought(
    fleet: Fleet, tmp_path: Path, option: str, link: str
) -> None:
    # Given a stranger's commit, by which a file that a job writes leads to one of the job's own
    own = tmp_path / "own" / "answer"
    own.parent.mkdir()
    own.write_text("as it was")
    (fleet.root / link).parent.mkdir(exist_ok=True)
    (fleet.root / link).symlink_to(own if link.endswith("answer") else own.parent)
    fleet.commit({})

    ended = fleet.shell("", "plan", "--offline", option, "answers/answer")

    assert own.read_text() == "as it was"
    assert (ended.returncode, f"error: {link} is a link" in ended.stderr) == (1, True)


def test_an_answer_in_the_folder_of_runs_is_nothing_to_commit(fleet: Fleet) -> None:
    ended = fleet.shell("", "plan", "--offline", "--out", ".reconciler/plan.json", "--junit", ".reconciler/a/plan.xml")

    assert ended.returncode == 0, ended.stderr
    assert (fleet.root / ".reconciler/plan.json").exists()
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=fleet.root, capture_output=True, check=True).stdout == b""


@pytest.mark.sandbox
@pytest.mark.parametrize("link", [".reconciler", ".reconciler/sandbox"])
def test_no_sandbox_keeps_its_files_where_a_commit_chose(fleet: Fleet, tmp_path: Path, link: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (fleet.root / link).parent.mkdir(exist_ok=True)
    (fleet.root / link).symlink_to(tmp_path / "elsewhere")

    ended = fleet.shell("", "sandbox", "start")

    assert (ended.returncode, f"error: {link} is a link" in ended.stderr) == (1, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_doctor_does_not_take_invalid_images_for_such_as_are_not_booted(fleet: Fleet) -> None:
    fleet.commit({"desired/base/image.yaml": "regoins: []\n", "desired/web/image.yaml": "regoins: []\n"})
    assert check_ssh(DoctorContext(fleet.root)).what == "not checked: no valid image is booted to be tested"


def test_doctor_says_where_what_is_tested_needs_no_ssh(fleet: Fleet) -> None:
    def said(**declared: str) -> str:
        fleet.git("rm", "-r", "--quiet", "desired")
        builder = 'source "docker" "site" {\n  image = "debian:12"\n  commit = true\n}\n'
        yaml = "locations: [registry.example.org/acme/site]\n" + "".join(declared.values())
        template = f'{builder}build {{ sources = ["source.docker.site"] }}\n'
        fleet.commit({"desired/site/image.yaml": yaml, "desired/site/site.pkr.hcl": template})
        return check_ssh(DoctorContext(fleet.root)).what

    assert said() == "not needed: no image is tested through it"
    assert said(smoke_test="smoke_test: {boot: false}\n") == "no image is booted to be tested"


@pytest.mark.packer(once=True)
def test_doctor_looks_at_the_machine_also_where_nothing_is_declared(fleet: Fleet) -> None:
    fleet.git("rm", "-r", "--quiet", "desired")
    fleet.commit({"README.md": "nothing\n"})

    found = {one["subject"]: one for one in json.loads(fleet.run("doctor", "--json").stdout)["checks"]}

    assert found["desired"]["hint"][0].startswith("`reconciler init` proposes")
    assert found["ssh"]["state"] == "ok"
    assert "in the way" not in found["packer"]["what"]


def test_a_sandbox_that_is_elsewhere_is_named(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "sandbox"
    elsewhere.mkdir()
    elsewhere.joinpath("sandbox.json").write_text("{}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(elsewhere / "ca.crt"))
    ended: subprocess.CompletedProcess[str] = fleet.run("sandbox", "publish", "debian-12-amd64-20261122")
    assert f"this shell is inside another one: --folder {elsewhere}" in ended.stderr


@pytest.mark.parametrize("verb", [("validate",), ("plan", "--offline")])
def test_an_input_that_goes_through_a_filter_is_refused_where_it_is_decided(
    fleet: Fleet, verb: tuple[str, ...]
) -> None:
    fleet.commit(
        {
            "desired/web/secret.yml": "cipher",
            "desired/web/disk.iso": "in LFS",
            ".gitattributes": "*.iso filter=lfs\n*.yml filter=git-crypt diff=git-crypt\n",
        }
    )

    ended = fleet.run(*verb)

    assert ended.returncode == 1
    said = " ".join((ended.stdout + ended.stderr).split())
    assert '.gitattributes:2: desired/web/secret.yml goes through the filter "git-crypt"' in said
    assert "disk.iso" not in said


def test_doctor_looks_for_git_lfs_where_an_input_is_kept_there(fleet: Fleet, tmp_path: Path) -> None:
    fleet.commit({"desired/web/disk.iso": "in LFS", ".gitattributes": "*.iso filter=lfs\n"})
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "env"):
        programs.joinpath(name).symlink_to(Path("/usr/bin") / name)

    ended = subprocess.run(
        [sys.executable, "-m", "reconciler", "doctor"], cwd=fleet.root, env={**os.environ, "PATH": str(programs)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    said = " ".join(ended.stdout.split())
    assert "trouble desired: desired/web/disk.iso is kept in Git LFS, and git-lfs is not here" in said


@pytest.mark.parametrize(("typed", "meant"), [("verfy", "verify"), ("reconsile", "reconcile"), ("valdate", "validate")])
def test_a_verb_that_is_mistyped_gets_the_one_that_is_near(fleet: Fleet, typed: str, meant: str) -> None:
    ended = fleet.run(typed)

    assert ended.returncode == 1
    assert f"No such command '{typed}'. Did you mean {meant}?" in ended.stderr
    assert "Did you mean" not in fleet.run("xyzzy").stderr


def test_a_hint_that_stands_above_is_not_repeated(fleet: Fleet) -> None:
    wrong = {"template": "gone.pkr.hcl"}
    fleet.commit({f"desired/{name}/image.yaml": json.dumps({"packer": wrong}) for name in ("base", "web")})

    said = fleet.run("validate").stderr.splitlines()

    hints = [line for line in said if line.startswith("  ")]
    assert len([line for line in said if line.startswith("error:")]) == 2
    assert len(hints) == len(set(hints))


def test_a_plan_says_what_will_fail_before_it_is_built(fleet: Fleet) -> None:
    fleet.commit({"desired/reconciler.yaml": "defaults: { regions: [us-east-1] }\n"})

    noted = [line for line in fleet.run("validate").stderr.splitlines() if "temporary key stays" in line]
    planned = fleet.run("plan", "--offline").stderr

    assert noted
    assert "Packer's temporary key stays in the image" in planned
    assert all(image["notes"] for image in fleet.json("plan", "--offline")["images"])


def test_a_folder_s_name_commands_no_agent_of_a_ci(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.commit({"desired/##vso[task.prependpath]x/web.pkr.hcl": TEMPLATE})
    monkeypatch.setenv("TF_BUILD", "True")
    ended = fleet.run("validate")
    assert "# #vso[task.prependpath]x" in ended.stderr
    assert "##vso[" not in ended.stdout + ended.stderr
    assert "##vso[" not in fleet.run("validate", "--json").stdout
