"""Who runs this: a job of CircleCI, one of GitHub Actions, a person, or something that nobody here knows.

Sources: https://circleci.com/docs/variables/#built-in-environment-variables; "Variables reference" and "Events that
trigger workflows" of docs.github.com/en/actions; of other CIs their lists of predefined variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.model.lockfile import CiRun

# Each is set by that CI, and by nobody else. A person may have CIRCLE_TOKEN, CIRCLECI_CLI_HOST, GITHUB_TOKEN and
# GITHUB_API_URL: these don't tell of a job.
_CIRCLECI = (
    "CIRCLECI", "CIRCLE_BRANCH", "CIRCLE_BUILD_NUM", "CIRCLE_BUILD_URL", "CIRCLE_JOB", "CIRCLE_PROJECT_REPONAME",
    "CIRCLE_PROJECT_USERNAME", "CIRCLE_PR_NUMBER", "CIRCLE_PR_REPONAME", "CIRCLE_PR_USERNAME", "CIRCLE_PULL_REQUEST",
    "CIRCLE_SHA1", "CIRCLE_TAG", "CIRCLE_WORKFLOW_ID",
)  # fmt: skip
_GITHUB = (
    "GITHUB_ACTIONS", "GITHUB_EVENT_NAME", "GITHUB_EVENT_PATH", "GITHUB_HEAD_REF", "GITHUB_JOB", "GITHUB_REF",
    "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
)  # fmt: skip
_OTHERS = (
    "GITLAB_CI", "JENKINS_URL", "BUILDKITE", "TF_BUILD", "TEAMCITY_VERSION", "BITBUCKET_BUILD_NUMBER", "DRONE",
    "CODEBUILD_BUILD_ID", "TRAVIS", "APPVEYOR", "SEMAPHORE", "CIRRUS_CI", "WOODPECKER_CI_WORKFLOW", "CI_NAME",
    "GITEA_ACTIONS", "FORGEJO_ACTIONS", "CI",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What is known of the job that runs; of a person's own run, nothing.

    Attributes:
        provider: `circleci`, `github-actions`; `unknown`, a CI that is neither; empty for a person.
        url: Where its log is read.
        name: What its configuration calls it.
        branch: The branch that it says to be of; None where it names none.
        pull_request: The number of the pull request that it says to be of.
        repository: `owner/name` of the repository whose job it is.
        stranger: Why what is checked out may be a stranger's, as a sentence; empty where it is the team's own. A CI
            that is not known, or that contradicts itself, does not tell: then it is a stranger's.
    """

    provider: str = ""
    url: str | None = None
    name: str | None = None
    branch: str | None = None
    pull_request: int | None = None
    repository: str | None = None
    stranger: str = ""

    @property
    def record(self) -> CiRun | None:
        """What a build's record says of the job that built it; None where it has no log to be read."""
        return CiRun(provider=self.provider, url=self.url, job=self.name) if self.url else None


def job_of(environment: Mapping[str, str]) -> Job:
    """Read which job runs from what a CI sets in its environment."""
    said = [job for job in (_circleci(environment), _github(environment)) if job is not None]
    if len(said) == 1:
        return said[0]
    if said:
        both = " and ".join(job.provider for job in said)
        return Job(provider="unknown", stranger=f"This says to be a job of {both} at once")
    for name in _OTHERS:
        if environment.get(name, "").lower() not in ("", "0", "false"):
            return Job(provider="unknown", stranger=f"This CI is not known here (it sets {name})")
    return Job()


def telling(environment: Iterable[str]) -> tuple[str, ...]:
    """The names in an environment by which a CI tells of a job: without them it is a person's."""
    return tuple(name for name in environment if name in {*_CIRCLECI, *_GITHUB, *_OTHERS})


_OF_FORKS = ("CIRCLE_PR_USERNAME", "CIRCLE_PR_REPONAME", "CIRCLE_PR_NUMBER")
_NUMBER = re.compile(r"/pull/([0-9]+)/?$")
# An OAuth project builds a fork's pull request as this branch, which no repository of GitHub's has.
_BRANCH_OF_FORK = re.compile(r"pull/[0-9]+")


def _circleci(environment: Mapping[str, str]) -> Job | None:
    """The job that CircleCI says to run; None where nothing is of CircleCI."""
    if not any(environment.get(name) for name in _CIRCLECI):
        return None
    branch = environment.get("CIRCLE_BRANCH") or None
    number = _NUMBER.search(environment.get("CIRCLE_PULL_REQUEST", ""))
    project = environment.get("CIRCLE_PROJECT_USERNAME"), environment.get("CIRCLE_PROJECT_REPONAME")
    return Job(
        provider="circleci",
        url=environment.get("CIRCLE_BUILD_URL") or None,
        name=environment.get("CIRCLE_JOB") or None,
        branch=branch,
        pull_request=int(number[1]) if number else None,
        repository="/".join(part for part in project if part) or None,
        stranger=_strangers_on_circleci(environment, branch),
    )


def _strangers_on_circleci(environment: Mapping[str, str], branch: str | None) -> str:
    if any(environment.get(name) for name in _OF_FORKS) or (branch and _BRANCH_OF_FORK.fullmatch(branch)):
        return "This is a fork's pull request"
    return "" if branch else "CircleCI names no branch that this would be of"


# Who starts these may push, or started them by pushing.
_OF_A_BRANCH = frozenset({"push", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group"})
_OF_A_PULL_REQUEST = frozenset({"pull_request", "pull_request_target"})
_BRANCH = "refs/heads/"


def _github(environment: Mapping[str, str]) -> Job | None:
    """The job that GitHub Actions says to run; None where nothing is of GitHub Actions."""
    if not any(environment.get(name) for name in _GITHUB):
        return None
    event, ref = _event(environment), environment.get("GITHUB_REF", "")
    pull_request = event.get("pull_request")
    number = pull_request.get("number") if isinstance(pull_request, dict) else None
    branch = _side(event, "head").get("ref") if isinstance(pull_request, dict) else ref.removeprefix(_BRANCH)
    return Job(
        provider="github-actions",
        url=_url(environment),
        name=environment.get("GITHUB_JOB") or None,
        branch=branch if isinstance(branch, str) and branch and branch != ref else None,
        pull_request=number if isinstance(number, int) else None,
        repository=environment.get("GITHUB_REPOSITORY") or None,
        stranger=_strangers_on_github(environment, event),
    )


def _strangers_on_github(environment: Mapping[str, str], event: Mapping[str, Any]) -> str:
    name = environment.get("GITHUB_EVENT_NAME", "")
    if name in _OF_A_BRANCH and "pull_request" not in event:
        of_branch = environment.get("GITHUB_REF", "").startswith(_BRANCH)
        return "" if of_branch else "GitHub names no branch that this would be of"
    if name not in _OF_A_PULL_REQUEST:
        return f"The event {name or 'without a name'} does not tell whose commit is checked out"
    head, base = _side(event, "head"), _side(event, "base")
    theirs, ours = _repository(head), _repository(base)
    if ours is None or str(ours.get("full_name")).lower() != environment.get("GITHUB_REPOSITORY", "").lower():
        return "GitHub does not tell whose pull request this is"
    # The repository of a fork that was deleted is null.
    if theirs is None or theirs.get("id") is None or theirs.get("id") != ours.get("id"):
        return "This is a fork's pull request"
    told = environment.get("GITHUB_HEAD_REF", "")
    return "" if told == head.get("ref") else f"GitHub names two branches: {told or 'none'} and {head.get('ref')}"


def _event(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """What the job's event was. Empty where it can't be read: then nothing tells whose the commit is."""
    with suppress(OSError, ValueError):
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_bytes())
        if isinstance(event, dict):
            return event
    return {}


def _side(event: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    pull_request = event.get("pull_request")
    found = pull_request.get(side) if isinstance(pull_request, dict) else None
    return found if isinstance(found, dict) else {}


def _repository(side: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = side.get("repo")
    return found if isinstance(found, dict) else None


def _url(environment: Mapping[str, str]) -> str | None:
    server, repository = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    run, attempt = environment.get("GITHUB_RUN_ID"), environment.get("GITHUB_RUN_ATTEMPT", "1")
    if not (server and repository and run):
        return None
    return f"{server}/{repository}/actions/runs/{run}" + (f"/attempts/{attempt}" if attempt != "1" else "")
