"""Who runs a job, as its environment tells it. What does not tell is a stranger's."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from reconciler.ci.job import Job, job_of, telling
from reconciler.model.lockfile import CiRun

CI_INFO = "ci-info@4.5.0"
"""Whose list of CIs is the judge of ours."""
CIRCLECI = {
    "CI": "true",
    "CIRCLECI": "true",
    "CIRCLE_BRANCH": "web-nginx",
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/images/42",
    "CIRCLE_JOB": "preview",
    "CIRCLE_PROJECT_REPONAME": "images",
    "CIRCLE_PROJECT_USERNAME": "acme",
    "CIRCLE_PULL_REQUEST": "https://github.com/acme/images/pull/7",
}
GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_HEAD_REF": "web-nginx",
    "GITHUB_JOB": "preview",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_REPOSITORY": "acme/images",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_RUN_ID": "1234",
    "GITHUB_SERVER_URL": "https://github.com",
}
OURS = {"id": 1, "full_name": "acme/images"}
FORK = {"id": 2, "full_name": "mallory/images"}


def pull_request(*, head: Any = OURS, base: Any = OURS, ref: str = "web-nginx") -> dict[str, Any]:
    return {"pull_request": {"number": 7, "head": {"ref": ref, "repo": head}, "base": {"ref": "main", "repo": base}}}


def on_github(folder: Path, event: Any, **told: str) -> Job:
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    return job_of({**GITHUB, "GITHUB_EVENT_PATH": str(path), **told})


def test_without_a_ci_a_person_runs_it() -> None:
    assert job_of({"PATH": "/bin", "CIRCLE_TOKEN": "t", "GITHUB_TOKEN": "t", "CI": "false"}) == Job()
    assert job_of({}).record is None


def test_circleci_tells_branch_pull_request_and_where_its_log_is() -> None:
    job = job_of(CIRCLECI)
    assert (job.provider, job.branch, job.pull_request, job.repository) == ("circleci", "web-nginx", 7, "acme/images")
    assert job.record == CiRun(provider="circleci", url=CIRCLECI["CIRCLE_BUILD_URL"], job="preview")
    assert not job.stranger


@pytest.mark.parametrize(
    "told",
    [
        {"CIRCLE_PR_REPONAME": "images"},
        {"CIRCLE_PR_USERNAME": "mallory"},
        {"CIRCLE_PR_NUMBER": "7"},
        {"CIRCLE_BRANCH": "pull/7"},
        {"CIRCLE_BRANCH": ""},
        {"CIRCLE_BRANCH": "", "CIRCLE_TAG": "v1"},
        {"GITHUB_ACTIONS": "true"},
    ],
)
def test_a_fork_on_circleci_and_what_contradicts_itself_is_a_strangers(told: dict[str, str]) -> None:
    assert job_of({**CIRCLECI, **told}).stranger


def test_a_lone_sign_of_a_fork_is_enough() -> None:
    assert job_of({"CIRCLE_PR_REPONAME": "images"}).stranger == "This is a fork's pull request"


OTHERS = {
    "some CI": {"CI": "true"},
    "GitLab": {"GITLAB_CI": "true"},
    "Buildkite": {"BUILDKITE": "true"},
    "Azure Pipelines": {"TF_BUILD": "True"},
    "Jenkins": {"JENKINS_URL": "https://ci.example.org/"},
    "Jenkins without an address": {"BUILD_ID": "7", "JENKINS_HOME": "/x", "CHANGE_FORK": "mallory"},
    "a freestyle job of Jenkins": {"BUILD_NUMBER": "0", "EXECUTOR_NUMBER": "0"},
    "Jenkins' plugin for Gerrit": {"GERRIT_REFSPEC": "refs/changes/01/1/1"},
    "TeamCity": {"TEAMCITY_VERSION": "2024.12"},
    "Bamboo": {"bamboo_planKey": "IMG"},
    "GoCD": {"GO_PIPELINE_LABEL": "12"},
    "AWS CodeBuild": {"CODEBUILD_BUILD_ARN": "arn:aws:codebuild:us-east-1:123456789012:build/images:1"},
    "Cloud Build": {"BUILDER_OUTPUT": "/builder/outputs"},
    "Concourse, in a resource": {"BUILD_PIPELINE_NAME": "images"},
    "Prow": {"PROW_JOB_ID": "11111111-0000-4000-8000-0123456789ab"},
    "Tekton, told by whoever wrote the task": {"TEKTON_PIPELINE_RUN": "images-x1"},
    "Zuul": {"ZUUL_CHANGE": "7"},
    "sourcehut": {"JOB_ID": "7", "JOB_URL": "https://builds.sr.ht/~ada/job/7"},
    "Taskcluster": {"TASK_ID": "x", "RUN_ID": "0"},
    "Argo Workflows": {"ARGO_NODE_ID": "images-1"},
    "Atlantis": {"PULL_NUM": "7"},
    "Drone": {"DRONE": "true"},
    "Woodpecker": {"CI": "woodpecker"},
    "Heroku CI": {"NODE": "/app/.heroku/node/bin/node"},
    "Vercel": {"VERCEL": "1"},
    "Gitea, which says to be GitHub": {"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true"},
    "Forgejo, which says to be GitHub": {"GITHUB_ACTIONS": "true", "FORGEJO_ACTIONS": "true"},
}


@pytest.mark.parametrize("ci", OTHERS)
def test_a_ci_that_nobody_here_knows_may_build_a_strangers_branch(ci: str) -> None:
    job = job_of(OTHERS[ci])
    assert (job.provider, job.record) == ("unknown", None)
    assert any(name in job.stranger for name in OTHERS[ci]), "what it was told by"


@pytest.mark.parametrize("ci", OTHERS)
def test_no_sign_of_a_ci_is_left_where_they_are_taken_away(ci: str) -> None:
    left = {name: value for name, value in OTHERS[ci].items() if name not in telling(OTHERS[ci])}
    assert job_of(left) == Job()


@pytest.mark.github
def test_what_npms_ci_info_takes_for_a_ci_is_none_of_a_persons(tmp_path: Path) -> None:
    told = subprocess.run(
        ["npm", "pack", "--silent", CI_INFO], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300
    ).stdout.split()
    with tarfile.open(tmp_path / told[-1]) as package:
        file = package.extractfile("package/vendors.json")
        assert file is not None
        vendors = json.load(file)

    taken_for_a_person = [one["name"] for one in vendors if job_of(environment_of(one["env"])) == Job()]

    assert len(vendors) >= 55
    assert taken_for_a_person == []


def environment_of(told: Any) -> dict[str, str]:
    """The environment by which `ci-info` tells a CI: one name, all of several, any of several, or what one holds."""
    match told:
        case str():
            return {told: "1"}
        case list():
            return dict.fromkeys(told, "1")
        case {"env": name, "includes": value}:
            return {name: value}
        case {"any": [*names]}:
            return {names[-1]: "1"}
        case _:
            return dict(told)


def test_a_ci_that_sets_nothing_is_told_by_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("reconciler.ci.job._FOLDERS", (str(tmp_path / "tekton"),))
    assert job_of({}) == Job()
    (tmp_path / "tekton").mkdir()
    assert "tekton" in job_of({}).stranger


def test_github_names_the_default_branch_of_its_own_repository_alone(tmp_path: Path) -> None:
    def told(repository: Any) -> str | None:
        return on_github(tmp_path, {**pull_request(head=FORK), "repository": repository}).default_branch

    assert told({"full_name": "Acme/Images", "default_branch": "trunk"}) == "trunk"
    others: list[Any] = [{"full_name": "mallory/images", "default_branch": "x"}, {"full_name": "acme/images"}, 7, None]
    assert [told(one) for one in others] == [None] * 4
    assert told({"full_name": "acme/images", "default_branch": ["x"]}) is None


def test_github_tells_of_our_own_pull_request(tmp_path: Path) -> None:
    job = on_github(tmp_path, pull_request())
    assert (job.provider, job.branch, job.pull_request, job.stranger) == ("github-actions", "web-nginx", 7, "")
    assert job.record == CiRun(
        provider="github-actions", url="https://github.com/acme/images/actions/runs/1234", job="preview"
    )


def test_a_second_attempt_has_a_log_of_its_own(tmp_path: Path) -> None:
    job = on_github(tmp_path, pull_request(), GITHUB_RUN_ATTEMPT="2")
    assert job.url == "https://github.com/acme/images/actions/runs/1234/attempts/2"


@pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch"])
def test_github_runs_what_was_pushed_or_is_scheduled_for_a_branch_of_ours(tmp_path: Path, event: str) -> None:
    told = {**pushed("refs/heads/a/b"), **({"schedule": "0 3 * * *"} if event == "schedule" else {})}
    job = on_github(tmp_path, told, GITHUB_EVENT_NAME=event, GITHUB_REF="refs/heads/a/b", GITHUB_HEAD_REF="")
    assert (job.branch, job.pull_request, job.stranger) == ("a/b", None, "")


def pushed(ref: str | None, repository: Any = OURS) -> dict[str, Any]:
    return {"ref": ref, "repository": repository}


def test_github_runs_a_merge_queue_and_a_schedule_that_says_no_more(tmp_path: Path) -> None:
    ref = "refs/heads/gh-readonly-queue/main/pr-7"
    queue = {"merge_group": {"head_ref": ref}, "repository": OURS}
    assert not on_github(tmp_path, queue, GITHUB_EVENT_NAME="merge_group", GITHUB_REF=ref, GITHUB_HEAD_REF="").stranger
    told = {"GITHUB_EVENT_NAME": "schedule", "GITHUB_REF": "refs/heads/main", "GITHUB_HEAD_REF": ""}
    assert not on_github(tmp_path, {"schedule": "0 3 * * *"}, **told).stranger


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({}, {}),
        ([], {}),
        ("no object", {}),
        (pushed("refs/heads/web", None), {}),
        (pushed("refs/heads/web", "acme/images"), {}),
        (pushed("refs/heads/web", FORK), {}),
        (pushed("refs/heads/main"), {}),
        (pushed("refs/tags/web"), {}),
        (pushed(None), {}),
        (pushed("refs/heads/web"), {"GITHUB_HEAD_REF": "web"}),
        (pushed("refs/tags/v1"), {"GITHUB_REF": "refs/tags/v1"}),
        (pushed("refs/heads/web"), {"GITHUB_REPOSITORY": ""}),
    ],
)
def test_a_push_the_event_of_which_says_something_else_is_a_strangers(
    tmp_path: Path, event: Any, told: dict[str, str]
) -> None:
    push = {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/web", "GITHUB_HEAD_REF": ""}
    assert not on_github(tmp_path, pushed("refs/heads/web"), **push).stranger
    assert on_github(tmp_path, event, **{**push, **told}).stranger
    assert job_of({**GITHUB, **push}).stranger, "without an event"


@pytest.mark.parametrize(
    "event",
    [
        pull_request(head=FORK),
        pull_request(head=None),
        pull_request(head={**OURS, "id": 2}),
        pull_request(head={"full_name": "acme/images"}, base={"full_name": "acme/images"}),
        pull_request(head=FORK, base=FORK),
        pull_request(base=None),
        pull_request(ref="main"),
        {"pull_request": "7"},
        {"pull_request": {"head": 1, "base": []}},
        {},
        [],
        "no object",
    ],
)
@pytest.mark.parametrize("name", ["pull_request", "pull_request_target"])
def test_a_fork_on_github_and_what_does_not_tell_is_a_strangers(tmp_path: Path, event: Any, name: str) -> None:
    assert on_github(tmp_path, event, GITHUB_EVENT_NAME=name).stranger


@pytest.mark.parametrize("name", ["issue_comment", "workflow_run", "pull_request_review", "", "push"])
def test_an_event_that_names_no_branch_of_ours_is_a_strangers(tmp_path: Path, name: str) -> None:
    assert on_github(tmp_path, pull_request(), GITHUB_EVENT_NAME=name).stranger
    assert on_github(tmp_path, {}, GITHUB_EVENT_NAME=name).stranger


def test_an_event_that_cant_be_read_is_a_strangers(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_bytes(b"\xff{")
    for path in (tmp_path / "event.json", tmp_path / "none", tmp_path):
        assert job_of({**GITHUB, "GITHUB_EVENT_PATH": str(path)}).stranger


def test_what_tells_of_a_job_is_named_so_that_it_can_be_taken_away() -> None:
    everything = {**CIRCLECI, **GITHUB, "GITLAB_CI": "true", "PATH": "/bin", "GITHUB_TOKEN": "t"}
    left = {name: value for name, value in everything.items() if name not in telling(everything)}
    assert left == {"PATH": "/bin", "GITHUB_TOKEN": "t"}
    assert job_of(left) == Job()
