"""`reconciler rollback`: a hold as a person would write it, and nothing changed where it can't be."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.cli.conftest import Fleet, conforms

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
    return with_builds(fleet)


def with_builds(fleet: Fleet) -> Fleet:
    """The same, for tests of another folder."""
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
        (("nothing",), "no image is named 'nothing'"),
        (("bsae",), 'did you mean "base"?'),
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


@pytest.fixture
def shared(grown: Fleet, tmp_path: Path) -> Path:
    """The same with a remote, whose main takes pull requests alone."""
    return with_remote(grown, tmp_path / "origin.git")


def with_remote(grown: Fleet, origin: Path, *, more: str = "") -> Path:
    """The same at a path of its own, with more settings."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin)], check=True)
    grown.git("branch", "--move", "main")
    grown.git("remote", "add", "origin", str(origin))
    settings = grown.root / "desired/reconciler.yaml"
    before = settings.read_text() if settings.is_file() else ""
    grown.commit({"desired/reconciler.yaml": f"{before}git: {{ push: pull-request }}\n{more}"})
    grown.git("push", "--quiet", "--set-upstream", "origin", "main")
    return origin


def of(repository: Path, *asked: str) -> str:
    return subprocess.run(["git", *asked], cwd=repository, check=True, capture_output=True, text=True).stdout


def test_where_the_branch_takes_pull_requests_alone_the_hold_is_offered_in_one(grown: Fleet, shared: Path) -> None:
    # Given a checkout that is on another branch, behind, and changed
    main = of(shared, "rev-parse", "main").strip()
    grown.git("switch", "--quiet", "--create", "feature", "HEAD~1")
    (grown.root / "desired/base/image.yaml").write_text("mine, and half done\n")
    grown.commit({"desired/reconciler.yaml": of(shared, "show", "main:desired/reconciler.yaml")})
    before = head(grown)

    # When the image is rolled back
    ended = grown.run("rollback", "base", "--offline", "--reason", "it breaks", "--json")

    # Then one commit by the bot, on top of main, waits on a branch of its own
    answer = json.loads(ended.stdout)
    conforms(answer, "reconciler rollback --json")
    assert (ended.returncode, answer["build"], answer["was"]) == (0, BEFORE, NEWEST)
    assert (answer["branch"], answer["into"]) == ("reconciler/hold-base", "main")
    assert (answer["pushed"], answer["pull_request"]) == (True, None)
    assert "open a pull request from reconciler/hold-base into main" not in ended.stderr
    assert of(shared, "rev-parse", "reconciler/hold-base").strip() == answer["commit"]
    assert of(shared, "rev-parse", "reconciler/hold-base~").strip() == main == of(shared, "rev-parse", "main").strip()
    changed = of(shared, "diff", "--name-only", "main", "reconciler/hold-base").split()
    assert changed == ["desired/base/image.yaml"]
    assert yaml.safe_load(of(shared, "show", "reconciler/hold-base:desired/base/image.yaml"))["hold"] == {
        "build": BEFORE, "reason": "it breaks",
    }  # fmt: skip

    # And nothing of the checkout is touched
    assert head(grown) == before
    assert declared(grown) == "mine, and half done\n"

    # And a second one takes its place
    again = grown.run("rollback", "base", OLDEST, "--offline", "--reason", "that, too")
    assert again.returncode == 0
    assert "open a pull request from reconciler/hold-base into main" in again.stderr
    assert of(shared, "rev-list", "--count", "main..reconciler/hold-base").strip() == "1"


def test_an_offered_hold_that_somebody_committed_to_is_left_alone(grown: Fleet, shared: Path) -> None:
    assert grown.run("rollback", "base", "--offline", "--reason", "it breaks").returncode == 0
    grown.git("fetch", "--quiet", "origin", "reconciler/hold-base")
    grown.git("switch", "--quiet", "--detach", "FETCH_HEAD")
    grown.commit({"desired/base/notes.txt": "mine\n"})
    grown.git("push", "--quiet", "origin", "HEAD:reconciler/hold-base")
    there = of(shared, "rev-parse", "reconciler/hold-base")

    ended = grown.run("rollback", "base", "--offline", "--reason", "once more")

    assert ended.returncode == 1
    assert "somebody committed to the branch reconciler/hold-base" in ended.stderr
    assert of(shared, "rev-parse", "reconciler/hold-base") == there


@pytest.mark.parametrize("build", [REJECTED, "20200101T000000Z-1a2b3c4"])
def test_what_can_not_be_held_is_offered_to_nobody(grown: Fleet, shared: Path, build: str) -> None:
    ended = grown.run("rollback", "base", build, "--offline", "--reason", "works")
    assert ended.returncode == 1
    assert "reconciler/hold-base" not in of(shared, "for-each-ref")


def test_without_a_remote_there_is_no_pull_request_and_with_one_a_commit_if_asked_for(
    grown: Fleet, request: pytest.FixtureRequest
) -> None:
    ended = grown.run("rollback", "base", "--offline", "--reason", "works", "--pull-request")
    assert (ended.returncode, "there is no remote" in ended.stderr) == (1, True)

    request.getfixturevalue("shared")
    committed = grown.run("rollback", "base", "--offline", "--reason", "works", "--commit", "--json")

    answer = json.loads(committed.stdout)
    conforms(answer, "reconciler rollback --json")
    assert (answer["pushed"], answer["branch"], answer["pull_request"]) == (False, "main", None)
    assert head(grown).startswith(f"Ada\nbase: hold stable to {BEFORE}\n")


def out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have AWS be where nobody answers."""
    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "MAX_ATTEMPTS": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)


def test_a_test_that_can_not_be_made_is_an_error_and_none_that_did_not_pass(
    grown: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.commit({"desired/base/image.yaml": f"{declared(grown)}smoke_test: {{ boot: true }}\n"})
    out_of_reach(monkeypatch)
    ended = grown.run("test", "base", "--json")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "error: " in ended.stderr
    assert "us-east-1" in ended.stderr


@pytest.mark.parametrize("how", ["--commit", "--pull-request"])
def test_nothing_is_written_where_the_registry_can_not_be_read_unless_it_is_not_to_be_asked(
    grown: Fleet, shared: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    # Given a registry that nobody reaches
    out_of_reach(monkeypatch)
    before = declared(grown), head(grown), of(shared, "for-each-ref")

    # Then it is not known whether the build is there, so that it is no way back yet
    ended = grown.run("rollback", "base", "--reason", "broken", how)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"whether {BEFORE} is there is not known, so that nothing is written" in ended.stderr
    assert "us-east-1: " in ended.stderr
    assert "`--offline` writes it without asking" in ended.stderr
    assert (declared(grown), head(grown), of(shared, "for-each-ref")) == before

    # And what is frozen where it stands goes nowhere, so that nothing has to be asked
    assert grown.run("rollback", "base", NEWEST, "--reason", "freeze", how).returncode == 0


@pytest.mark.parametrize("day", ["2020-01-01", f"{datetime.now(UTC):%Y-%m-%d}"], ids=["long ago", "today"])
def test_a_hold_that_would_have_ended_is_refused(grown: Fleet, day: str) -> None:
    before = declared(grown), head(grown)
    ended = grown.run("rollback", "base", "--offline", "--reason", "works", "--until", day)
    assert ended.returncode == 1
    assert f"{day} has come: it is the first day, UTC, on which the hold holds no more" in ended.stderr
    assert (declared(grown), head(grown)) == before


@pytest.mark.parametrize("how", ["--commit", "--pull-request"])
def test_what_is_held_so_already_is_said_and_is_no_error(grown: Fleet, shared: Path, how: str) -> None:
    asked = ("rollback", "base", "--offline", "--reason", "it breaks")
    assert grown.run(*asked, "--commit").returncode == 0
    grown.git("push", "--quiet")
    before = head(grown), of(shared, "for-each-ref")
    again = grown.run(*asked, how)
    assert (again.returncode, again.stdout) == (
        0, f"base: desired/base/image.yaml holds stable to {BEFORE} already; nothing is changed\n",
    )  # fmt: skip
    answer = json.loads(grown.run(*asked, how, "--json").stdout)
    conforms(answer, "reconciler rollback --json")
    assert (answer["already"], answer["commit"]) == (True, of(shared, "rev-parse", "main").strip())
    assert (head(grown), of(shared, "for-each-ref")) == before


def test_validate_refuses_a_hold_on_what_no_lockfile_names_and_leaves_a_revocation_to_the_run(grown: Fleet) -> None:
    plain = declared(grown)
    for build, reason in (("20200101T000000Z-0000000", "no such build is recorded"), (BEFORE, None)):
        rows = f'hold: {{ build: {build}, reason: "works" }}\nrevoke: [{{ build: {BEFORE}, reason: leaked }}]\n'
        grown.commit({"desired/base/image.yaml": plain + rows})
        ended = grown.run("validate")
        assert ended.returncode == (0 if reason is None else 1)
        said = f"error: desired/base/image.yaml:3:1: stable can't be held to {build}: {reason}"
        assert (said in ended.stderr.splitlines()) == (reason is not None), ended.stderr


def test_validate_says_of_a_hold_that_its_day_has_come(grown: Fleet) -> None:
    row = f'hold: {{ build: {BEFORE}, reason: "works", until: 2020-01-01 }}\n'
    grown.commit({"desired/base/image.yaml": declared(grown) + row})
    ended = grown.run("validate")
    assert ended.returncode == 0
    told = (
        "base: the day that the hold of desired/base/image.yaml:3:1 ends on, 2020-01-01, has come by this machine's "
        "clock, and nobody else's was asked: once it has come by the registry's as well, where that has one, the line "
        "can go"
    )
    assert f"note: {told}" in ended.stderr.splitlines()
    *_, note = grown.json("validate")["images"]["base"]["notes"]
    assert told.endswith(note)
