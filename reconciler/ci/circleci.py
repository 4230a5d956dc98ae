"""What CircleCI sets in a job: https://circleci.com/docs/variables/#built-in-environment-variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.ci.job import Job

TELLING = (
    "CIRCLECI", "CIRCLE_BRANCH", "CIRCLE_BUILD_NUM", "CIRCLE_BUILD_URL", "CIRCLE_JOB", "CIRCLE_PROJECT_REPONAME",
    "CIRCLE_PROJECT_USERNAME", "CIRCLE_PR_NUMBER", "CIRCLE_PR_REPONAME", "CIRCLE_PR_USERNAME", "CIRCLE_PULL_REQUEST",
    "CIRCLE_SHA1", "CIRCLE_TAG", "CIRCLE_WORKFLOW_ID",
)  # fmt: skip
"""What it sets, and nobody else. A person may have CIRCLE_TOKEN and CIRCLECI_CLI_HOST: they don't tell of a job."""

_OF_FORKS = ("CIRCLE_PR_USERNAME", "CIRCLE_PR_REPONAME", "CIRCLE_PR_NUMBER")
_NUMBER = re.compile(r"/pull/([0-9]+)/?$")
# An OAuth project builds a fork's pull request as this branch, which no repository of GitHub's has.
_BRANCH_OF_FORK = re.compile(r"pull/[0-9]+")


def job(environment: Mapping[str, str]) -> Job | None:
    """The job that CircleCI says to run; None where nothing is of CircleCI."""
    if not any(environment.get(name) for name in TELLING):
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
        stranger=_stranger(environment, branch),
    )


def _stranger(environment: Mapping[str, str], branch: str | None) -> str:
    if any(environment.get(name) for name in _OF_FORKS) or (branch and _BRANCH_OF_FORK.fullmatch(branch)):
        return "This is a fork's pull request"
    return "" if branch else "CircleCI names no branch that this would be of"
