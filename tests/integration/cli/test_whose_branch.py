"""Whose branch a CI checked out: what the CI says of it counts only where the repository itself has the commit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reconciler.ci.job import Job, telling
from reconciler.cli.main import main as reconciler
from reconciler.cli.workspace import Workspace, origin_of
from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.steps.observe import find_target
from reconciler.steps.run import Origin
from reconciler.steps.whose_branch import known_stranger, refuse_stranger
from tests.integration.loop.world import git

TEMPLATE = """\
source "amazon-ebs" "image" {
  ami_name      = "image"
  instance_type = "t3.small"
  region        = "us-east-1"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "admin"
}
build {
  sources = ["source.amazon-ebs.image"]
}
"""
ON_CI = Job(provider="github-actions", branch="web", pull_request=7)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose origin has main and the branch web; the clone is on web's head, detached, as in CI."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "clone")
    here = tmp_path / "clone"
    for name, value in {"user.name": "Ada", "user.email": "ada@example.org", "advice.detachedHead": "false"}.items():
        git(here, "config", name, value)
    for branch in ("main", "web"):
        git(here, "checkout", "--quiet", "-B", branch)
        change(here, branch)
        git(here, "push", "--quiet", "origin", branch)
    git(here, "checkout", "--quiet", "--detach", "web")
    return here


def change(clone: Path, what: str) -> None:
    folder = clone / "desired" / what
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "image.yaml").write_text("description: An image\n", encoding="utf-8")
    (folder / "image.pkr.hcl").write_text(TEMPLATE, encoding="utf-8")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", what)


def stranger(clone: Path, job: Job, *, named: str | None = None) -> str:
    repository = Repository.open(clone)
    origin = origin_of(repository, job, named=named, number=None)
    return known_stranger(repository, find_target(repository), origin).stranger


def test_a_commit_of_the_remotes_own_branch_is_ours(clone: Path) -> None:
    assert not stranger(clone, ON_CI)
    git(clone, "checkout", "--quiet", "-B", "web")
    change(clone, "newer")
    git(clone, "push", "--quiet", "origin", "web")
    git(clone, "checkout", "--quiet", "--detach", "HEAD~1")
    assert not stranger(clone, ON_CI), "the branch has moved on, and has it still"


def test_a_commit_that_the_remotes_branch_does_not_have_is_a_strangers(clone: Path) -> None:
    change(clone, "theirs")
    theirs = git(clone, "rev-parse", "HEAD")
    assert stranger(clone, ON_CI) == f"The repository's web has no commit {theirs[:7]}"
    git(clone, "push", "--quiet", "origin", "HEAD:refs/pull/7/head")
    assert stranger(clone, ON_CI), "a reference that is no branch is nobody's word"


def test_githubs_own_merge_of_a_pull_request_is_on_no_branch(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "main")
    change(clone, "newer")
    git(clone, "checkout", "--quiet", "--detach", "web")
    git(clone, "merge", "--quiet", "--no-ff", "--message", "Merge main into web", "main")
    assert stranger(clone, ON_CI)


def test_no_commit_says_of_itself_that_there_is_no_remote_to_ask_for_it(clone: Path) -> None:
    (clone / "desired/reconciler.yaml").write_text("git: {remote: nowhere, branch: theirs}\n", encoding="utf-8")
    change(clone, "theirs")
    assert stranger(clone, ON_CI).endswith(f"has no commit {git(clone, 'rev-parse', 'HEAD')[:7]}")
    with pytest.raises(UserError, match="nothing of this commit is run"):
        refuse_stranger(Repository.open(clone), Origin("web", in_ci=True))


def test_a_branch_that_the_remote_has_not_is_a_strangers(clone: Path) -> None:
    assert stranger(clone, Job(provider="circleci", branch="elsewhere")) == "The repository has no branch elsewhere"


def test_what_the_ci_says_of_a_stranger_stands_whatever_the_repository_has(clone: Path) -> None:
    assert stranger(clone, Job(provider="circleci", branch="web", stranger="This is a fork's pull request"))


def test_a_person_is_not_asked_for_a_push(clone: Path) -> None:
    change(clone, "unpushed")
    assert not stranger(clone, Job(), named="web")


def test_nothing_says_which_branch_it_is(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert reconciler(["reconcile", "--preview", "-C", str(clone)]) == 1
    assert "nothing says which branch it is" in capfd.readouterr().err


def test_a_ci_that_names_another_branch_than_is_checked_out_does_not_tell_whose_commit_it_is(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "web")
    for job in (Job(provider="circleci", branch="other"), Job(provider="github-actions", branch="main")):
        assert stranger(clone, job) == f"The CI says that this is of {job.branch}, and the checkout is on web"
        assert not stranger(clone, job, named="web"), "whoever wrote the job has named it"
        with pytest.raises(UserError, match="nothing of this commit is run: the CI says"):
            refuse_stranger(Repository.open(clone), origin_of(Repository.open(clone), job))
    assert not stranger(clone, ON_CI)


@pytest.mark.parametrize("job", [ON_CI, Job(provider="unknown", stranger="This CI is not known here (it sets CI)")])
def test_nothing_of_a_strangers_commit_is_run(clone: Path, job: Job) -> None:
    change(clone, "theirs")
    repository = Repository.open(clone)
    with pytest.raises(UserError, match="nothing of this commit is run: "):
        refuse_stranger(repository, Origin(job.branch or "web", stranger=job.stranger, in_ci=True))


@pytest.mark.parametrize("job", [ON_CI, Job(provider="unknown", stranger="This CI is not known here (it sets CI)")])
def test_what_is_on_main_is_run_in_any_ci(clone: Path, job: Job) -> None:
    git(clone, "checkout", "--quiet", "--detach", "main")
    refuse_stranger(Repository.open(clone), Origin(job.branch or "main", stranger=job.stranger, in_ci=True))


STRANGERS = {
    "a fork on CircleCI": {"CIRCLECI": "true", "CIRCLE_BRANCH": "pull/7", "CIRCLE_PR_NUMBER": "7"},
    "a fork with a branch that is called as ours": {"CIRCLECI": "true", "CIRCLE_BRANCH": "web"},
    "a fork with a branch that we have not": {"CIRCLECI": "true", "CIRCLE_BRANCH": "elsewhere"},
    "a fork on Jenkins": {"BUILD_ID": "7", "JENKINS_HOME": "/x", "CHANGE_FORK": "mallory"},
    "a checkout of another branch, of CircleCI's": {"CIRCLECI": "true", "CIRCLE_BRANCH": "other", "checkout": "web"},
    "a push that has no event": {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REF": "refs/heads/web",
        "checkout": "web",
    },
    "two CIs at once": {"CIRCLECI": "true", "CIRCLE_BRANCH": "web", "GITHUB_ACTIONS": "true"},
}
PLANS = (("plan",), ("plan", "--refresh"), ("plan", "--worktree"), ("graph", "--circleci", "--config", "config.yml"))


class Asked(Exception):
    """The registry was asked."""


@pytest.fixture
def job(clone: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], Path]:
    """The clone, as a job finds it; to open the registry there raises Asked."""
    (clone / "config.yml").write_text(
        "jobs: {reconcile: {parameters: {arguments: {type: string}}}}\n", encoding="utf-8"
    )
    monkeypatch.chdir(clone)

    def refuse(*_: object, **__: object) -> None:
        raise Asked

    monkeypatch.setattr(Workspace, "registry", refuse)
    monkeypatch.setattr(Workspace, "expect", refuse)
    monkeypatch.setattr(Workspace, "publisher", refuse)

    def begun(told: Mapping[str, str]) -> Path:
        for name in telling(os.environ):
            monkeypatch.delenv(name)
        if "checkout" in told:
            git(clone, "checkout", "--quiet", "-B", told["checkout"])
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        return clone

    return begun


@pytest.mark.forms(quick=5)
@pytest.mark.parametrize("words", PLANS, ids=" ".join)
@pytest.mark.parametrize("who", STRANGERS)
def test_what_may_be_a_strangers_is_planned_without_the_registry(
    clone: Path, job: Callable[..., Path], capfd: pytest.CaptureFixture[str], who: str, words: tuple[str, ...]
) -> None:
    change(clone, "theirs")

    status = reconciler([*words, "-C", str(job(STRANGERS[who]))])

    said = capfd.readouterr()
    assert status == 0, said.err
    assert ": planned from desired/ and state/ alone." in " ".join(said.err.split())


def test_a_plan_of_a_strangers_says_so_in_what_it_writes(
    clone: Path, job: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    change(clone, "theirs")
    assert reconciler(["plan", "--json", "-C", str(job(STRANGERS["a fork on Jenkins"]))]) == 0
    assert json.loads(capfd.readouterr().out)["options"]["offline"] is True


@pytest.mark.parametrize(
    ("told", "branch"),
    [
        ({}, "web"),
        ({"CIRCLECI": "true", "CIRCLE_BRANCH": "web"}, "web"),
        ({"CIRCLECI": "true", "CIRCLE_BRANCH": "main"}, "main"),
        ({"BUILD_ID": "7"}, "main"),
    ],
    ids=["a person", "a branch of ours", "main", "main, in a CI that nobody knows"],
)
def test_what_is_ours_is_planned_by_what_the_registry_has(
    clone: Path, job: Callable[..., Path], told: Mapping[str, str], branch: str
) -> None:
    git(clone, "checkout", "--quiet", "--detach", branch)
    for words in PLANS:
        with pytest.raises(Asked):
            reconciler([*words, "-C", str(job(told))])


def test_a_branch_that_was_pushed_after_the_clone_was_made_is_ours(clone: Path, job: Callable[..., Path]) -> None:
    git(clone, "checkout", "--quiet", "-B", "later")
    change(clone, "later")
    git(clone, "push", "--quiet", "origin", "later")
    git(clone, "update-ref", "-d", "refs/remotes/origin/later")
    with pytest.raises(Asked):
        reconciler(["plan", "-C", str(job({"CIRCLECI": "true", "CIRCLE_BRANCH": "later"}))])


def test_where_the_remote_does_not_tell_whose_a_commit_is_it_may_be_a_strangers(
    clone: Path, job: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    change(clone, "theirs")
    git(clone, "remote", "set-url", "origin", "nowhere:images")
    git(clone, "config", "core.sshCommand", "false")
    assert reconciler(["plan", "-C", str(job({"CIRCLECI": "true", "CIRCLE_BRANCH": "web"}))]) == 0
    assert "Whether the repository's web has this commit is not known" in capfd.readouterr().err


REFUSED = """\
{
  "$schema": "../docs/schema/lockfile-1.json", "schema": 1, "image": "main",
  "builds": [], "channels": {},
  "failure": {
    "build": "20261122T101530Z-1a2b3c4", "key": "sha256:%s", "attempts": 1, "at": "2026-11-22T10:15:30Z",
    "retry_after": "2026-11-22T10:30:30Z", "what": "Unsupported argument", "artifacts": [], "refused_by": ["1.6.6"]
  }
}
"""


@pytest.fixture
def ran(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is written that Packer was run: another one than that which refused an image on main."""
    git(clone, "checkout", "--quiet", "main")
    lock = clone / "state/main.lock.json"
    lock.parent.mkdir()
    lock.write_text(REFUSED % ("0" * 64), encoding="utf-8")
    change(clone, "main")
    git(clone, "push", "--quiet", "origin", "main")
    git(clone, "checkout", "--quiet", "-B", "web", "main")
    change(clone, "web")
    git(clone, "push", "--quiet", "--force", "origin", "web")
    git(clone, "checkout", "--quiet", "--detach", "web")
    log, program = tmp_path / "ran", tmp_path / "programs" / "packer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\necho "1,,version,1.16.0"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.mark.forms(quick=3)
@pytest.mark.parametrize("words", [*PLANS, ("reconcile", "--preview"), ("status",), ("graph",)], ids=" ".join)
@pytest.mark.parametrize("who", ["a fork on CircleCI", "a fork on Jenkins"])
def test_no_packer_is_run_for_a_stranger_to_say_whether_what_failed_is_tried_again(
    job: Callable[..., Path], ran: Path, who: str, words: tuple[str, ...]
) -> None:
    clone = job(STRANGERS[who])
    change(clone, "theirs")

    branch = ["--branch", "web"] if words[0] == "reconcile" else []
    status = reconciler([*words, *branch, "-C", str(clone)])

    assert status == 0
    assert not ran.exists()
    assert Workspace(clone).packer() == "1.16.0", "which would have said it"
    assert ran.exists()


def test_no_suite_of_a_stranger_is_run(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    change(clone, "theirs")
    for name in telling(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    assert reconciler(["test", "web", "-C", str(clone)]) == 1
    assert "error: nothing of this commit is run: this CI is not known here" in capfd.readouterr().err
