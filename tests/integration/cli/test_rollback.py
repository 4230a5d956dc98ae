"""`reconciler rollback`: a hold as a person would write it, and nothing changed where it can't be."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.cli.conftest import Fleet

NEWEST, BEFORE, REJECTED, OLDEST = (f"202611{day}T101530Z-1a2b3c4" for day in (25, 24, 23, 22))
KEY = f"sha256:{'1a2b3c4' + '0' * 57}"


def a_build(build_id: str, phase: str, **more: Any) -> dict[str, Any]:
    artifact = {"kind": "ami", "builder": "amazon-ebs.image", "location": "us-east-1", "id": f"ami-{build_id[6:8]}"}
    return {
        "id": build_id, "key": KEY, "components": {}, "commit": "c" * 40, "phase": phase, "artifacts": [artifact],
        **more,
    }  # fmt: skip


@pytest.fixture
def grown(fleet: Fleet) -> Fleet:
    """`base` has had four builds, one of which failed validation."""
    builds = [
        a_build(NEWEST, "stable"), a_build(BEFORE, "superseded", was_stable=True), a_build(REJECTED, "rejected"),
        a_build(OLDEST, "superseded", was_stable=True),
    ]  # fmt: skip
    lock = {"schema": 1, "image": "base", "builds": builds, "channels": {"candidate": NEWEST, "stable": NEWEST}}
    fleet.commit({
        "state/base.lock.json": json.dumps(lock),
        "desired/base/image.yaml": "# the base\nsource: { ami: { id: ami-0aa11bb22cc33dd44 } }  # pinned\n",
    })  # fmt: skip
    return fleet


def head(fleet: Fleet) -> str:
    shown = ["git", "log", "-1", "--format=%an%n%s%n%b", "--name-only"]
    return subprocess.run(shown, cwd=fleet.root, check=True, capture_output=True, text=True).stdout


def declared(fleet: Fleet) -> str:
    return (fleet.root / "desired/base/image.yaml").read_text()


def test_without_a_build_it_goes_back_to_the_one_that_was_stable_before(grown: Fleet) -> None:
    (grown.root / "notes.txt").write_text("mine, and staged\n")
    grown.git("add", "notes.txt")
    ended = grown.run("rollback", "base", "--offline", "--reason", 'it says "no": broken')
    assert (ended.returncode, ended.stdout.splitlines()[0].partition(", ")[0]) == (
        0, f"base: stable {NEWEST} → {BEFORE}",
    )  # fmt: skip
    assert declared(grown).startswith("# the base\nsource: { ami: { id: ami-0aa11bb22cc33dd44 } }  # pinned\nhold: ")
    assert yaml.safe_load(declared(grown))["hold"] == {"build": BEFORE, "reason": 'it says "no": broken'}
    said = head(grown)
    assert said.startswith(f'Ada\nbase: hold stable to {BEFORE}\nit says "no": broken\n')
    assert "desired/base/image.yaml" in said
    assert "notes.txt" not in said


def test_a_build_is_named_by_its_beginning_and_held_until_a_day(grown: Fleet) -> None:
    asked = ("rollback", "base", OLDEST[:8], "--offline", "--reason", "works", "--until", "2027-01-31")
    assert grown.run(*asked).returncode == 0
    assert yaml.safe_load(declared(grown))["hold"] == {
        "build": OLDEST, "reason": "works", "until": yaml.safe_load("2027-01-31"),
    }  # fmt: skip
    planned = grown.run("plan", "base", "--offline")
    assert f"stable {NEWEST}" in planned.stdout
    again = grown.run("rollback", "base", BEFORE, "--offline", "--reason", "better")
    assert again.returncode == 0
    assert declared(grown).count("hold:") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("base", REJECTED), "it was rejected"),
        (("base", "20200101T000000Z-1a2b3c4"), "base has no build 20200101T000000Z-1a2b3c4"),
        (("base", "2026"), "base has several builds that begin with 2026"),
        (("nothing",), "nothing is recorded of an image 'nothing'"),
    ],
)
def test_what_can_not_be_held_leaves_everything_as_it_was(grown: Fleet, arguments: tuple[str, ...], said: str) -> None:
    before = declared(grown), head(grown)
    ended = grown.run("rollback", *arguments, "--offline", "--reason", "works")
    assert ended.returncode == 1
    assert said in ended.stderr
    assert (declared(grown), head(grown)) == before


def test_a_hook_that_refuses_leaves_the_change_to_the_person(grown: Fleet) -> None:
    hook = grown.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'ask Ada first' >&2\nexit 1\n")
    hook.chmod(0o755)
    ended = grown.run("rollback", "base", "--offline", "--reason", "works")
    assert ended.returncode == 1
    assert "ask Ada first" in ended.stderr
    assert "git did not commit desired/base/image.yaml" in ended.stderr
    assert "hold:" in declared(grown)


@pytest.mark.parametrize("link", ["desired/base", "desired/base/image.yaml"])
def test_no_hold_is_written_through_a_link_that_a_commit_brought(grown: Fleet, tmp_path: Path, link: str) -> None:
    # Given a commit, by which the image's declaration leads to a file of this person's own
    own = tmp_path / "own" / "image.yaml"
    own.parent.mkdir()
    own.write_text("token: mine\n")
    shutil.rmtree(grown.root / "desired/base")
    (grown.root / link).parent.mkdir(exist_ok=True)
    (grown.root / link).symlink_to(own if link.endswith("yaml") else own.parent)
    grown.commit({})

    ended = grown.run("rollback", "base", "--offline", "--reason", "broken")

    # Then that is as it was, and nothing of it is in the checkout
    assert own.read_text() == "token: mine\n"
    assert (grown.root / link).is_symlink()
    assert (ended.returncode, f"error: {link} is a link" in ended.stderr) == (1, True)


def test_an_image_that_is_declared_no_more_is_not_held(grown: Fleet) -> None:
    shutil.rmtree(grown.root / "desired/base")
    grown.commit({})
    ended = grown.run("rollback", "base", "--offline", "--reason", "broken")
    assert (ended.returncode, "desired/ declares no base" in ended.stderr) == (1, True)
    assert not (grown.root / "desired/base").exists()
