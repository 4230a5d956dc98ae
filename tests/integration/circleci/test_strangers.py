"""What is not known to be a branch of the team's own is read: no role, no key that may push, and no Packer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox
from tests.integration.circleci.conftest import ROLE
from tests.integration.circleci.pipeline import Finished, Pipeline, Runner

if TYPE_CHECKING:
    from tests.integration.circleci.conftest import Images, NewRunner

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

CONFIG = Path(__file__).parents[3] / ".circleci" / "config.yml"
WITH_ROLE = {"AWS_ROLE_ARN": ROLE}


@pytest.fixture
def runner(machine: NewRunner, images: Images) -> Runner:
    return machine(images)


@pytest.fixture
def own(images: Images) -> str:
    """The commit of a branch `feature` of the repository's own."""
    images.git("switch", "--quiet", "--create", "feature")
    images.write("desired/web/setup.sh", "echo ours\n")
    return images.publish("web: ours", branch="feature")


@pytest.fixture
def theirs(images: Images, own: str) -> str:
    """The commit of a fork's branch `feature`, which the repository has as a pull request's alone."""
    images.write("desired/web/setup.sh", "echo mine now\n")
    images.git("commit", "--quiet", "--all", "--message", "web: mine now")
    images.git("push", "--quiet", "origin", "HEAD:refs/pull/7/head")
    return images.git("rev-parse", "HEAD")


def assert_only_read(job: Finished, sandbox: Sandbox) -> None:
    assert not job.failed, job.output
    assert job.halted, job.output
    assert "add_ssh_keys" not in job.steps
    assert job.claims == ()
    assert not any((job.checkout / ".reconciler").glob("logs/*.log")), "Packer was run"
    assert sandbox.calls() == {}


@pytest.mark.parametrize(
    ("branch", "told"),
    [
        ("pull/7", {"CIRCLE_PR_USERNAME": "mallory", "CIRCLE_PR_REPONAME": "images", "CIRCLE_PR_NUMBER": "7"}),
        ("pull/7", {}),
        ("feature", {}),
        ("feature", {"CIRCLE_PR_NUMBER": "7"}),
        ("elsewhere", {}),
        ("feature", {"CIRCLE_BRANCH": ""}),
    ],
    ids=[
        "a fork, as CircleCI's OAuth app builds it",
        "a fork that nothing tells of but the branch",
        "a fork whose branch is called like one of our own",
        "a fork by its number alone",
        "a fork with a branch that we don't have",
        "no branch at all",
    ],
)
def test_strangers_templates_are_planned_and_never_run(
    runner: Runner, sandbox: Sandbox, theirs: str, branch: str, told: dict[str, str]
) -> None:
    sandbox.forget_calls()
    steps = Pipeline.read(CONFIG).steps("reconciler/preview")

    job = runner.run(steps, branch=branch, revision=theirs, environment={**WITH_ROLE, **told})

    assert "2 of 2 images drifted: base (new), web (new)" in job.output
    assert_only_read(job, sandbox)


@pytest.mark.parametrize("job", ["reconciler/reconcile", "reconciler/refresh", "reconciler/fan-out"])
def test_a_strangers_main_is_not_ours(runner: Runner, sandbox: Sandbox, theirs: str, job: str) -> None:
    sandbox.forget_calls()

    ended = runner.run(Pipeline.read(CONFIG).steps(job), revision=theirs, environment=WITH_ROLE)

    assert "has no such commit" in ended.output
    assert_only_read(ended, sandbox)


def test_without_a_role_a_branch_of_our_own_is_planned(runner: Runner, sandbox: Sandbox, own: str) -> None:
    sandbox.forget_calls()

    job = runner.run(Pipeline.read(CONFIG).steps("reconciler/preview"), branch="feature", revision=own)

    assert "no context gives this job AWS_ROLE_ARN" in job.output
    assert_only_read(job, sandbox)


def test_a_commit_below_the_head_of_our_branch_is_ours(images: Images, runner: Runner, own: str) -> None:
    images.write("desired/web/setup.sh", "echo ours, and newer\n")
    images.publish("web: newer", branch="feature")
    steps = Pipeline.read(CONFIG).steps("reconciler/preview")
    guard = [step for step in steps if step.kind == "checkout" or "merge-base" in (step.command or "")]

    assert not runner.run(guard, branch="feature", revision=own).halted


def test_a_repository_that_cannot_be_asked_has_not_said_no(images: Images, runner: Runner, own: str) -> None:
    steps = Pipeline.read(CONFIG).steps("reconciler/preview")
    guard = [step for step in steps if step.kind == "checkout" or "merge-base" in (step.command or "")]
    gone = {"CIRCLE_REPOSITORY_URL": str(images.path / "gone.git")}

    job = runner.run(guard, branch="feature", revision=own, environment=gone)

    assert job.failed
    assert not job.halted
