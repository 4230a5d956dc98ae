"""What is around the declarations may be broken as well: Packer, git, credentials, AWS, state/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

VERSION = 'if [ "$2" = version ]; then echo "1700000000,,version,1.6.6"; exit; fi\n'


@pytest.fixture(scope="module")
def unbuilt(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`base` and `web`, never built. No test of this module that takes it changes anything."""
    return new_fleet(tmp_path_factory.mktemp("surroundings"), "pair")


def told(ended: Ended) -> list[str]:
    """The lines of the error."""
    lines = ended.err.splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("error: ")) :]


@pytest.fixture
def path_with(tmp_path: Path) -> Callable[[str | None], dict[str, str]]:
    """A PATH with git, ssh and a `packer` that is the given script; None: without any."""

    def make(script: str | None) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        for program in ("git", "env", "sh", "ssh", "uname"):
            (folder / program).symlink_to(str(shutil.which(program)))
        if script is not None:
            (folder / "packer").write_text(f"#!/bin/sh\n{script}")
            (folder / "packer").chmod(0o755)
        return {"PATH": str(folder)}

    return make


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(None, "Packer is not installed: no `packer` on the PATH", id="none"),
        pytest.param(
            'echo "1700000000,,version,1.5.6"', "{bin}/packer is Packer 1.5.6; 1.6.0 or later is needed", id="too-old"
        ),
        pytest.param(
            "echo hello", '{bin}/packer is not Packer: asked for its version it printed "hello"', id="garbage"
        ),
        pytest.param("exit 1", "{bin}/packer is not Packer: asked for its version it printed nothing", id="silent"),
    ],
)
def test_a_packer_that_cannot_be_used_stops_the_run_before_it_begins(
    unbuilt: Checkout, path_with: Callable[[str | None], dict[str, str]], script: str | None, said: str
) -> None:
    environment = path_with(script)

    ended = unbuilt.reconciler("reconcile", environment=environment)

    assert ended.code == 1
    first, *hint = told(ended)
    assert first == f"error: {said.format(bin=environment['PATH'])}"
    assert any("https://developer.hashicorp.com/packer/install" in line for line in hint)


def test_a_packer_that_prints_garbage_fails_its_image(
    new_fleet: NewFleet, tmp_path: Path, path_with: Callable[[str | None], dict[str, str]]
) -> None:
    fleet = new_fleet(tmp_path, "pair")
    ended = fleet.reconciler("reconcile", environment=path_with(VERSION + "printf 'gibberish\\000\\377\\n'; exit 0\n"))
    assert ended.code == 3
    assert "base: what ran does not speak as Packer does" in ended.err
    assert "web: skipped: its parent base failed" in ended.err


def test_outside_of_a_repository(unbuilt: Checkout, tmp_path: Path) -> None:
    ended = unbuilt.reconciler("plan", cwd=tmp_path)
    assert ended.code == 1
    assert told(ended) == [
        "error: . is not in a git repository",
        "  `git init`, or name another folder with -C",
    ]


def test_before_the_first_commit(unbuilt: Checkout, tmp_path: Path) -> None:
    unbuilt.git("init", "--quiet", str(tmp_path / "new"))
    ended = unbuilt.reconciler("plan", "-C", str(tmp_path / "new"))
    assert ended.code == 1
    assert told(ended) == [
        f"error: {tmp_path}/new has no commit yet",
        '  make the first: `git commit --allow-empty -m "Begin"`',
    ]


def test_in_a_bare_repository(unbuilt: Checkout) -> None:
    ended = unbuilt.reconciler("plan", "-C", unbuilt.git("remote", "get-url", "origin"))
    assert ended.code == 1
    assert "is a bare repository: it has no checkout to work in" in told(ended)[0]


def test_without_a_remote_it_records_locally(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.git("remote", "remove", "origin")

    ended = fleet.reconciler("reconcile", "base")

    assert ended.code == 0, ended
    assert ended.out.splitlines()[-1].startswith("Recorded in state/: 1 commit on main (")
    assert fleet.git("log", "--format=%s", "-1").startswith("base: build ")
    assert fleet.git("status", "--porcelain") == ""
    assert fleet.reconciler("plan", "base", "--detailed-exitcode").code == 0


def test_from_a_detached_head_as_in_ci_it_records_to_the_branch(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.git("checkout", "--quiet", "--detach")

    ended = fleet.reconciler("reconcile", "base")

    assert ended.code == 0, ended
    fleet.git("fetch", "--quiet")
    assert fleet.git("log", "--format=%s", "-1", "origin/main").startswith("base: build ")


def test_from_a_shallow_clone_it_records_to_the_branch(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.edit("desired/web/setup.sh", append="# a second commit\n")
    fleet.publish()
    shallow = replace(fleet, path=tmp_path / "shallow")
    fleet.git("clone", "--quiet", "--depth=1", f"file://{fleet.git('remote', 'get-url', 'origin')}", str(shallow.path))

    ended = shallow.reconciler("reconcile", "base")

    assert ended.code == 0, ended
    assert shallow.git("rev-parse", "--is-shallow-repository") == "true"
    fleet.git("pull", "--quiet", "origin", "main")
    assert list(fleet.lockfiles()) == ["base.lock.json"]


def test_without_credentials(unbuilt: Checkout) -> None:
    ended = unbuilt.reconciler("plan", environment={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert ended.code == 1
    assert told(ended) == [
        "error: AWS can't be read: no AWS credentials were found",
        "  set AWS_PROFILE, or `aws.profile` in desired/reconciler.yaml, or give the CI job a role (OIDC)",
        "  to plan without AWS: `reconciler plan --offline`",
    ]


def test_with_expired_credentials(unbuilt: Checkout, healthy: Sandbox) -> None:
    healthy.inject(action="DescribeImages", code="ExpiredToken", times=2)
    ended = unbuilt.reconciler("reconcile")
    assert ended.code == 1
    assert told(ended)[0] == "error: AWS can't be read: the credentials have expired (ExpiredToken)"


def test_with_an_unknown_profile(unbuilt: Checkout) -> None:
    ended = unbuilt.reconciler("plan", environment={"AWS_PROFILE": "nosuch"})
    assert ended.code == 1
    assert (
        told(ended)[0] == "error: AWS can't be read: The config profile (nosuch) could not be found (ProfileNotFound)"
    )


def test_when_aws_cannot_be_reached_everything_is_unknown_and_nothing_is_done(unbuilt: Checkout) -> None:
    head = unbuilt.head()

    ended = unbuilt.reconciler("reconcile", environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})

    assert ended.code == 3
    assert " ".join(ended.out.split()).endswith("1 of 2 images unknown: base: nothing is done.")
    assert "endpoint http://127.0.0.1:9/ can't be reached (EndpointConnectionError)" in ended.err
    assert "web: waits for base: it has no stable build yet" in ended.err.splitlines()
    assert unbuilt.head() == head


def test_a_region_that_does_not_exist_is_unknown_and_nothing_is_built(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.edit("desired/base/image.yaml", append="regions: [us-east-1, eu-wset-1]\n")
    fleet.publish()

    ended = fleet.reconciler("reconcile")

    assert ended.code == 3
    assert any(line.startswith("base: eu-wset-1: ") for line in ended.err.splitlines())
    assert fleet.lockfiles() == {}


def test_with_nothing_declared(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "empty")
    fleet.write("desired/reconciler.yaml", "")
    fleet.publish()
    assert fleet.reconciler("plan").code == 0
    assert fleet.reconciler("validate").out == "desired/ declares no image\n"
    ended = fleet.reconciler("reconcile")
    assert ended.code == 1
    assert told(ended)[0] == "error: desired/ declares no image, so there is nothing to reconcile"


@pytest.mark.parametrize("verb", ["plan", "validate", "status", "reconcile"])
def test_in_some_other_repository(new_fleet: NewFleet, tmp_path: Path, verb: str) -> None:
    fleet = new_fleet(tmp_path, "empty")
    fleet.write("README.md", "Something else.\n")
    fleet.publish()
    ended = fleet.reconciler(verb)
    assert ended.code == 1
    assert told(ended)[0] == "error: desired: there is no folder desired/ at this commit"


BROKEN_LOCKFILES = {
    "conflict": (
        "<<<<<<< HEAD\n{whole}\n=======\n{{}}\n>>>>>>> theirs\n",
        "state/conflict.lock.json:1:1: a merge conflict was left here (<<<<<<<)",
    ),
    "future": ("{newer}", "state/future.lock.json:5:3: written by a newer reconciler: schema 2, and this one knows 1"),
    "stranger": (
        "{stranger}",
        'state/stranger.lock.json:6:3: written by a newer reconciler, or by hand: unknown key "hue"',
    ),
    "truncated": ("{half}", "state/truncated.lock.json:3:14: the file ends in the middle"),
    "vacant": ("", "state/vacant.lock.json:1:1: the file is empty"),
}


def test_with_broken_lockfiles_the_other_images_go_on(new_fleet: NewFleet, tmp_path: Path) -> None:
    fleet = new_fleet(tmp_path, "pair")
    for name, (form, _) in BROKEN_LOCKFILES.items():
        for file in ("image.yaml", "base.pkr.hcl", "setup.sh"):
            fleet.write(f"desired/{name}/{file}", (fleet.path / "desired/base" / file).read_text())
        lockfile = {"builds": [], "channels": {}, "image": name, "schema": 1}
        whole = json.dumps(lockfile, indent=2)
        newer = json.dumps({**lockfile, "schema": 2}, indent=2)
        stranger = json.dumps({**lockfile, "hue": "blue"}, indent=2)
        fleet.write(
            f"state/{name}.lock.json", form.format(whole=whole, newer=newer, stranger=stranger, half=whole[:32])
        )
    fleet.publish("Break the lockfiles")

    checked = fleet.reconciler("validate")

    assert checked.code == 1
    assert checked.out == "7 images valid; 5 unreadable in state/\n"
    errors = [line.removeprefix("error: ") for line in checked.err.splitlines() if line.startswith("error: ")]
    assert errors == [said for _, said in BROKEN_LOCKFILES.values()]

    ended = fleet.reconciler("reconcile")
    assert ended.code == 3
    assert [line.split()[:2] for line in ended.out.splitlines()[:1]] == [["base", "built"]]
    assert {"base.lock.json", "web.lock.json"} <= set(fleet.lockfiles())
    for name, (_, said) in BROKEN_LOCKFILES.items():
        assert f"{name}: {said}" in ended.err.splitlines()
