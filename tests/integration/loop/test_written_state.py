"""A branch that changes state/ is refused by validate, plan and preview, with the place: state/ has one writer."""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reconciler import controller
from reconciler.ci.job import job_of
from reconciler.cli.adapters import LocalAdapters, new_request
from reconciler.cli.main import main
from reconciler.cli.workspace import Workspace, origin_of
from reconciler.git.proposal import PROPOSAL
from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.plan import PlanOptions
from reconciler.steps.run import Origin
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.pull_request import BRANCH, on_branch, push
from tests.integration.loop.world import SETTINGS, World, git

REFUSED = "a branch changes state/, which has one writer"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `reconciler` in this process: its exit code, and what it said, on one line."""

    def command(root: Path, *arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main([*arguments, "-C", str(root)])
        said = capfd.readouterr()
        return code, " ".join(f"{said.out} {said.err}".split())

    return command


def edited(world: World) -> Path:
    """A branch that changes nothing but a lockfile. Returns its clone."""
    lock = json.loads(world.show("web.lock.json"))
    lock["builds"][0]["artifacts"][0]["id"] = "ami-0123456789abcdef0"
    return on_branch(world, {"state/web.lock.json": json.dumps(lock)}).root


def previewed(root: Path) -> None:
    """Preview what is checked out as a stranger's: read as the merge would meet it, and nothing is built."""
    adapters = LocalAdapters(Workspace(root), listener=lambda _event: None, cancelled=threading.Event())
    controller.preview(adapters, new_request(PlanOptions(preview=True)), Origin(BRANCH, stranger="nobody knows him"))


def test_a_branch_that_edits_a_lockfile_is_refused_with_the_place(pair: World, run: Run) -> None:
    root = edited(pair)

    for verb in (("validate",), ("plan", "--offline"), ("plan", "--offline", "--worktree")):
        code, said = run(root, *verb)
        assert (code, REFUSED in said, "state/web.lock.json" in said) == (1, True, True), said
    with pytest.raises(UserError, match=REFUSED) as refused:
        previewed(root)
    assert str(refused.value.where) == "state/web.lock.json"


@pytest.mark.parametrize("path", ["state/sbom/web/1.cdx.json", "state/new.lock.json", "state/README.md"])
def test_whatever_it_brings_into_state_is_refused(pair: World, run: Run, path: str) -> None:
    root = on_branch(pair, {path: "{}\n"}).root
    code, said = run(root, "validate", "--json")
    assert code == 1
    assert path in said


def test_what_it_takes_back_in_another_commit_is_refused(pair: World, run: Run) -> None:
    # Given a branch that names somebody else's artifact in one commit, and takes that back in the next: a rebase would
    # bring both to main, where history tells of it as recorded
    root = edited(pair)
    git(root, "checkout", "--quiet", "origin/main", "--", "state")
    git(root, "commit", "--quiet", "--message", "Back")

    for verb in (("validate",), ("plan", "--offline")):
        code, said = run(root, *verb)
        assert (code, "and takes that back" in said, "state/web.lock.json" in said) == (1, True, True), said

    # When both are made one, then nothing is left of it
    git(root, "reset", "--quiet", "--soft", "origin/main")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "Nothing")
    assert run(root, "validate")[0] == 0


def test_what_takes_it_back_can_be_pasted_whatever_the_file_is_called(pair: World, run: Run) -> None:
    path = "state/$(touch x)`id`;.json"
    code, said = run(on_branch(pair, {path: "{}\n"}).root, "validate")
    assert (code, f"`git rm {shlex.quote(path)}`" in said) == (1, True), said


def test_what_it_takes_away_is_refused(pair: World, run: Run) -> None:
    root = on_branch(pair, {"state/web.lock.json": None}).root
    code, said = run(root, "validate")
    assert code == 1
    assert f"{REFUSED}" in said


@pytest.mark.parametrize("declares", [f"branch: {BRANCH}", "remote: nowhere", "remote: theirs"])
def test_a_branch_cannot_declare_itself_the_recorded_one(pair: World, run: Run, declares: str) -> None:
    root = edited(pair)
    push(pair, {"desired/reconciler.yaml": f"{SETTINGS}git: {{{declares}}}\n"})
    # Given somebody who looks at it, and has fetched it from a clone in which it is the default branch
    git(root, "clone", "--quiet", ".", "../theirs")
    git(root, "remote", "add", "--fetch", "theirs", "../theirs")
    git(root, "remote", "set-head", "theirs", BRANCH)
    assert run(root, "validate")[0] == 1


def test_in_ci_on_a_detached_head_it_is_refused_as_well(pair: World, run: Run) -> None:
    root = edited(pair)
    git(root, "checkout", "--quiet", "--detach")
    assert run(root, "validate")[0] == 1
    assert run(root, "validate", "--rev", f"origin/{BRANCH}")[0] == 1


@pytest.mark.parametrize("called", ["main", PROPOSAL])
@pytest.mark.parametrize("detached", [True, False])
def test_a_fork_s_branch_that_is_called_as_ours_is_refused_as_any_other(
    pair: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: str, *, detached: bool
) -> None:
    # Given a fleet that is recorded by pull request, and a fork with a branch of that name that changes state/
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n"})
    root = edited(pair)
    git(root, "branch", "--quiet", "--force", "main", "HEAD")
    git(root, "branch", "--quiet", "--move", BRANCH, PROPOSAL)
    git(root, "switch", "--quiet", *(["--detach"] if detached else []), called)
    for name, value in of_fork(tmp_path, called).items():
        monkeypatch.setenv(name, value)

    # When its job asks, then the file is named
    code, said = run(root, "validate")
    assert (code, "state/web.lock.json" in said) == (1, True), said
    # And to preview it is a stranger's business, whatever it is called
    assert read_origin(root).stranger == "This is a fork's pull request"


def of_fork(folder: Path, branch: str) -> Mapping[str, str]:
    """What GitHub tells the job of a fork's pull request."""
    repositories = {"head": {"id": 2, "full_name": "evil/images"}, "base": {"id": 1, "full_name": "acme/images"}}
    event = {side: {"ref": branch if side == "head" else "main", "repo": repo} for side, repo in repositories.items()}
    (folder / "event.json").write_text(json.dumps({"pull_request": {"number": 7, **event}}))
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_HEAD_REF": branch,
        "GITHUB_EVENT_PATH": str(folder / "event.json"), "GITHUB_REF": "refs/pull/7/merge",
        "GITHUB_REPOSITORY": "acme/images",
    }  # fmt: skip


def read_origin(root: Path) -> Origin:
    return origin_of(Repository.open(root), job_of(os.environ), named=None, number=None)


def test_a_branch_without_a_history_in_common_is_refused(pair: World, run: Run) -> None:
    root = edited(pair)
    git(root, "checkout", "--quiet", "--orphan", "another")
    git(root, "commit", "--quiet", "--message", "Begin anew")
    code, said = run(root, "validate")
    assert (code, REFUSED in said, "state/web.lock.json" in said) == (1, True, True), said
    assert "state/base.lock.json" not in said


def test_a_shallow_clone_says_that_it_does_not_tell(pair: World, run: Run) -> None:
    edited(pair)
    pair.commit({"desired/base/setup.sh": "echo base\n"})
    address = pair.origin.as_uri()
    git(pair.root, "clone", "--quiet", "--depth=1", "--no-single-branch", "--branch", BRANCH, address, "shallow")
    code, said = run(pair.root / "shallow", "validate")
    assert (code, "`git fetch --unshallow`" in said) == (1, True), said
    git(pair.root / "shallow", "fetch", "--quiet", "--unshallow")
    assert REFUSED in run(pair.root / "shallow", "validate")[1]


def test_a_branch_that_leaves_state_alone_or_merges_main_is_valid(pair: World, run: Run) -> None:
    root = on_branch(pair, {"desired/web/setup.sh": "echo more\n"}).root
    pair.commit({"desired/base/setup.sh": "echo base\n"})
    pair.controller().reconcile()
    git(root, "fetch", "--quiet", "origin")
    git(root, "merge", "--quiet", "--no-edit", "origin/main")
    assert run(root, "validate")[0] == 0
    assert run(root, "plan", "--offline")[0] == 0
    previewed(root)


def test_on_the_recorded_branch_nothing_is_refused(pair: World, run: Run) -> None:
    pair.commit({"state/README.md": "Lockfiles.\n"})
    git(pair.root / "ci", "pull", "--quiet", "--ff-only", "origin", "main")
    assert run(pair.root / "ci", "validate")[0] == 0


def test_what_we_proposed_is_valid_by_our_signature_alone(pair: World, run: Run, tmp_path: Path) -> None:
    keys = Keys.begin(tmp_path)
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request, sign: true}}\n"})
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    controller = signing(pair, keys)
    controller.reconcile()
    git(controller.root, "fetch", "--quiet", "origin", f"{PROPOSAL}:{PROPOSAL}")
    git(controller.root, "switch", "--quiet", PROPOSAL)
    assert run(controller.root, "validate")[0] == 0

    git(controller.root, "-c", "user.name=reconciler", "commit", "--quiet", "--amend", "--no-gpg-sign", "--no-edit")
    assert run(controller.root, "validate")[0] == 1


def test_without_signatures_what_is_proposed_is_told_by_its_branch(pair: World, run: Run) -> None:
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{push: pull-request}}\n"})
    pair.commit({"desired/web/setup.sh": "echo more\n"})
    controller = pair.controller()
    controller.reconcile()
    git(controller.root, "fetch", "--quiet", "origin", f"{PROPOSAL}:{PROPOSAL}")
    git(controller.root, "switch", "--quiet", PROPOSAL)
    assert run(controller.root, "validate")[0] == 0
    git(controller.root, "switch", "--quiet", "--create", "another")
    assert run(controller.root, "validate")[0] == 1
