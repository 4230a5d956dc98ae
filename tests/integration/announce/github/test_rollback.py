"""A hold that is offered in a pull request: opened, found again and told, with GitHub's own description as judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import Command
from tests.integration.cli.conftest import Fleet, begun, conforms
from tests.integration.cli.test_rollback import BEFORE, NEWEST, OLDEST, of, with_builds, with_remote

if TYPE_CHECKING:
    from tests.integration.announce.github.conftest import Forge

pytestmark = [pytest.mark.github]

SHOWN = "announce: { github: {} }\n"
ASKED = ("rollback", "base", "--offline", "--reason", "it breaks TLS")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "acme/images.git"


@pytest.fixture
def fleet(
    tmp_path: Path, origin: Path, command: Command, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> Fleet:  # fmt: skip
    """A fleet whose main takes pull requests alone, on the GitHub that is here, with a token for it."""
    grown = with_builds(begun(tmp_path, command, monkeypatch))
    with_remote(grown, origin, more=SHOWN)
    # By the address that GitHub would have: SSH ends on this machine.
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nfor command; do :; done\ncd {tmp_path} && exec sh -c "$command"\n')
    ssh.chmod(0o755)
    grown.git("config", "--global", "core.sshCommand", str(ssh))
    grown.git("remote", "set-url", "origin", "git@github.com:acme/images.git")
    for name in ("RECONCILER_GITHUB_TOKEN", "GITHUB_TOKEN", "GITHUB_ACTIONS", "CIRCLECI", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_API_URL", forge.url)
    monkeypatch.setenv("RECONCILER_GITHUB_TOKEN", "ghs_token")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return grown


def test_its_pull_request_is_opened_and_a_second_hold_takes_its_place_in_it(
    fleet: Fleet, origin: Path, forge: Forge
) -> None:
    # When an image is rolled back, then one pull request says from where to where, and why
    answer = fleet.json(*ASKED)
    conforms(answer, "reconciler rollback --json")
    ((number, pull),) = forge.pulls.items()
    assert answer["pull_request"] == f"https://github.com/acme/images/pull/{number}"
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("reconciler/hold-base", "main")
    assert pull["title"] == f"base: hold stable to {BEFORE}"
    assert pull["body"] == (
        f"it breaks TLS\n\n`stable` moves from {NEWEST} to {BEFORE} once this is merged, and stays there."
    )
    assert of(origin, "rev-parse", "reconciler/hold-base").strip() == answer["commit"]

    # And when it is rolled back further, the same one says so
    again = fleet.run("rollback", "base", OLDEST, "--offline", "--reason", "that, too")
    assert again.returncode == 0, again.stderr
    assert f"merge https://github.com/acme/images/pull/{number}: the next reconcile run moves stable" in again.stderr
    ((_, pull),) = forge.pulls.items()
    assert pull["title"] == f"base: hold stable to {OLDEST}"
    assert forge.written() == ["POST /repos/acme/images/pulls", f"PATCH /repos/acme/images/pulls/{number}"]


@pytest.mark.parametrize("refuses", ["no token", "no answer"])
def test_where_github_opens_none_the_branch_is_pushed_and_a_person_is_told_to(
    fleet: Fleet, origin: Path, forge: Forge, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    if refuses == "no token":
        monkeypatch.delenv("RECONCILER_GITHUB_TOKEN")
    else:
        monkeypatch.setenv("GITHUB_API_URL", f"{forge.url}/elsewhere")
    ended = fleet.run(*ASKED)
    assert ended.returncode == 0
    assert "the branch reconciler/hold-base is pushed, and its pull request is not opened: " in ended.stderr
    assert "open a pull request from reconciler/hold-base into main: stable moves once it is merged" in ended.stderr
    assert of(origin, "rev-list", "--count", "main..reconciler/hold-base").strip() == "1"
    assert forge.pulls == {}
    forge.violations.clear()

    # And the next one that can opens it, for what is there
    monkeypatch.setenv("GITHUB_API_URL", forge.url)
    monkeypatch.setenv("RECONCILER_GITHUB_TOKEN", "ghs_token")
    assert json.loads(fleet.run(*ASKED, "--json").stdout)["pull_request"] is not None
    assert len(forge.pulls) == 1
