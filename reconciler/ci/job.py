"""Who runs this: a job of CircleCI, one of GitHub Actions, a person, or something that nobody here knows.

Sources: https://circleci.com/docs/variables/#built-in-environment-variables; "Variables reference" and "Events that
trigger workflows" of docs.github.com/en/actions; of other CIs their lists of predefined variables, and those by which
npm's `ci-info` tells them. That one of them runs is all that is read of these: none is believed. What sets nothing
that is listed here is taken for a person (docs/security.md, "Not held").
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
_IMITATORS = ("GITEA_ACTIONS", "FORGEJO_ACTIONS")
"""Beside these stand the variables of GitHub Actions, as somebody else says them."""
_SWITCHES = (
    "APPVEYOR", "BITRISE_IO", "BUILDKITE", "CAPAWESOME_CLOUD", "CF_PAGES", "CIRRUS_CI", "CONTINUOUS_INTEGRATION",
    "DRONE", "DSARI", "EARTHLY_CI", "EAS_BUILD", "GITLAB_CI", "LAYERCI", "MAGNUM", "NETLIFY", "NEVERCODE", "RENDER",
    "RWX", "SAILCI", "SCREWDRIVER", "SEMAPHORE", "SHIPPABLE", "STRIDER", "TDDIUM", "TF_BUILD", "TRAVIS", "VELA",
    "VERCEL", "WERCKER", "WORKERS_CI", "XCS", "CI",
)  # fmt: skip
"""Each says of a CI that it runs, unless it is switched off: CI=false."""
_OTHERS = (
    # One CI each: Jenkins and its plugins, Hudson, TeamCity, Bamboo, GoCD, Azure, AWS CodeBuild, Cloud Build, Prow,
    # Concourse, sourcehut, Taskcluster, Argo Workflows, Zuul, Atlantis, Harness, Bitbucket, Buddy and so on.
    "JENKINS_URL", "JENKINS_HOME", "HUDSON_URL", "CHANGE_FORK", "CHANGE_ID", "ghprbPullId", "GERRIT_REFSPEC",
    "TEAMCITY_VERSION", "bamboo_planKey", "bamboo_buildKey", "GO_PIPELINE_LABEL", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI",
    "CODEBUILD_BUILD_ID", "CODEBUILD_BUILD_ARN", "BUILDER_OUTPUT", "PROW_JOB_ID", "JOB_SPEC", "BUILD_PIPELINE_NAME",
    "ATC_EXTERNAL_URL", "BUILD_SUBMITTER", "BUILD_REASON", "JOB_URL", "JOB_ID", "TASKCLUSTER_WORKER_LOCATION",
    "ARGO_NODE_ID", "ARGO_TEMPLATE", "ATLANTIS_TERRAFORM_VERSION", "PULL_NUM", "HARNESS_BUILD_ID", "CF_BUILD_ID",
    "CM_BUILD_ID", "BITBUCKET_BUILD_NUMBER", "BITBUCKET_COMMIT", "BUDDY_WORKSPACE_ID", "WOODPECKER_CI_WORKFLOW",
    "HEROKU_TEST_RUN_ID", "OPENSHIFT_BUILD_NAME", "AGOLA_GIT_REF", "AC_APPCIRCLE", "NOW_BUILDER", "ALPIC_HOST",
    "APPCENTER_BUILD_ID", "CI_XCODE_PROJECT", "GERRIT_PROJECT", "RELEASE_BUILD_ID",
    # What several of them have in common.
    "CI_NAME", "CI_APP_ID", "CI_BUILD_ID", "CI_BUILD_NUMBER", "CI_COMMIT_SHA", "CI_JOB_ID", "CI_PIPELINE_ID",
    "BUILD_ID", "BUILD_NUMBER", "BUILD_TAG", "BUILD_URL", "RUN_ID",
)  # fmt: skip
"""Each tells of a job, whatever its value is: it may be the one with the number 0."""
_VALUES = {"NODE": "/app/.heroku/node/bin/node"}
"""Variables that others set as well, and that hold this where a CI (Heroku) has set them."""
_PREFIXES = ("ZUUL_", "TEKTON_")
_FOLDERS = ("/tekton",)
"""Folders of a CI that sets no variable: Tekton's reserved directory ("Authoring Tasks", tekton.dev/docs)."""


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
        default_branch: The default branch of that repository, as the job's own event has it; None where none says so.
        stranger: Why what is checked out may be a stranger's, as a sentence; empty where it is the team's own. A CI
            that is not known, or that contradicts itself, does not tell: then it is a stranger's.
    """

    provider: str = ""
    url: str | None = None
    name: str | None = None
    branch: str | None = None
    pull_request: int | None = None
    repository: str | None = None
    default_branch: str | None = None
    stranger: str = ""

    @property
    def record(self) -> CiRun | None:
        """What a build's record says of the job that built it; None where it has no log to be read."""
        return CiRun(provider=self.provider, url=self.url, job=self.name) if self.url else None


def job_of(environment: Mapping[str, str]) -> Job:
    """Read which job runs from what a CI sets in its environment."""
    said = [job for job in (_circleci(environment), _github(environment)) if job is not None]
    imitator = next((name for name in _IMITATORS if environment.get(name)), None)
    if imitator is not None:
        return Job(provider="unknown", stranger=f"This CI is not known here (it sets {imitator})")
    if len(said) == 1:
        return said[0]
    if said:
        both = " and ".join(job.provider for job in said)
        return Job(provider="unknown", stranger=f"This says to be a job of {both} at once")
    sign = _sign_of_another(environment)
    return Job(provider="unknown", stranger=f"This CI is not known here ({sign})") if sign else Job()


def telling(environment: Iterable[str]) -> tuple[str, ...]:
    """The names in an environment by which a CI tells of a job: without them it is a person's."""
    known = {*_CIRCLECI, *_GITHUB, *_IMITATORS, *_OTHERS, *_SWITCHES, *_VALUES}
    return tuple(name for name in environment if name in known or name.startswith(_PREFIXES))


def _sign_of_another(environment: Mapping[str, str]) -> str:
    """The sign of a CI that nobody here knows, in words; empty where there is none."""
    named = (*_OTHERS, *(name for name in environment if name.startswith(_PREFIXES)))
    switched = (name for name in _SWITCHES if environment.get(name, "").lower() not in ("", "0", "false"))
    held = (name for name, part in _VALUES.items() if part in environment.get(name, ""))
    name = next((one for one in named if environment.get(one)), None) or next(switched, None) or next(held, None)
    if name is not None:
        return f"it sets {name}"
    folder = next((one for one in _FOLDERS if Path(one).is_dir()), None)
    return f"it has {folder}" if folder is not None else ""


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
        default_branch=_default_on_github(environment, event),
        stranger=_strangers_on_github(environment, event),
    )


def _strangers_on_github(environment: Mapping[str, str], event: Mapping[str, Any]) -> str:
    name = environment.get("GITHUB_EVENT_NAME", "")
    if name in _OF_A_BRANCH and "pull_request" not in event:
        return _strangers_on_a_branch(environment, event)
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


def _strangers_on_a_branch(environment: Mapping[str, str], event: Mapping[str, Any]) -> str:
    """Why what was pushed to a branch, or is scheduled for one, may be a stranger's: the event has to say the same.

    An event without a repository, or without a reference, is none of a push; that of a schedule may have neither.
    """
    name, ref = environment.get("GITHUB_EVENT_NAME", ""), environment.get("GITHUB_REF", "")
    if not ref.startswith(_BRANCH):
        return "GitHub names no branch that this would be of"
    if environment.get("GITHUB_HEAD_REF"):
        return f"GitHub names a pull request's branch for the event {name}, which is of none"
    repository, needed = _repository({"repo": event.get("repository")}), name != "schedule"
    if repository is None:
        if needed or not event:
            return f"The event {name} does not tell whose commit is checked out"
    elif str(repository.get("full_name")).lower() != environment.get("GITHUB_REPOSITORY", "").lower():
        return f"GitHub names two repositories: {environment.get('GITHUB_REPOSITORY') or 'none'} and that of the event"
    group = event.get("merge_group")
    told = group.get("head_ref") if isinstance(group, dict) else event.get("ref")
    if told is None and name != "push":
        return ""
    return "" if told in (ref, ref.removeprefix(_BRANCH)) else f"GitHub names two branches: {ref} and {told or 'none'}"


def _default_on_github(environment: Mapping[str, str], event: Mapping[str, Any]) -> str | None:
    """The default branch that the event names, of the very repository whose job this is ("Webhook payload object")."""
    repository = _repository({"repo": event.get("repository")})
    if (
        repository is None
        or str(repository.get("full_name")).lower() != environment.get("GITHUB_REPOSITORY", "").lower()
    ):
        return None
    name = repository.get("default_branch")
    return name if isinstance(name, str) and name else None


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
