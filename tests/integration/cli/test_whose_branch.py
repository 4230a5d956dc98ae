"""Whose branch a CI checked out: what the CI says of it counts only where the repository itself has the commit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.ci.job import Job, telling
from reconciler.cli.main import main as reconciler
from reconciler.cli.reconcile import origin_of
from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.steps.observe import find_target
from reconciler.steps.preview import known_stranger, refuse_stranger
from reconciler.steps.run import Origin
from tests.integration.loop.world import git

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


def test_a_branch_that_the_remote_has_not_is_a_strangers(clone: Path) -> None:
    assert stranger(clone, Job(provider="circleci", branch="elsewhere")) == "The repository has no branch elsewhere"


def test_what_the_ci_says_of_a_stranger_stands_whatever_the_repository_has(clone: Path) -> None:
    assert stranger(clone, Job(provider="circleci", branch="web", stranger="This is a fork's pull request"))


def test_a_person_is_not_asked_for_a_push(clone: Path) -> None:
    change(clone, "unpushed")
    assert not stranger(clone, Job(), named="web")


def test_nothing_says_which_branch_it_is(clone: Path) -> None:
    with pytest.raises(UserError, match="nothing says which branch"):
        stranger(clone, Job(provider="circleci"))


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


def test_no_suite_of_a_stranger_is_run(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    change(clone, "theirs")
    for name in telling(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("CI", "true")
    assert reconciler(["test", "web", "-C", str(clone)]) == 1
    assert "error: nothing of this commit is run: this CI is not known here" in capfd.readouterr().err
