"""Who runs this: a job of CircleCI, one of GitHub Actions, a person, or something that nobody here knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.lockfile import CiRun


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
    from reconciler.ci import circleci, github  # noqa: PLC0415 - each needs Job

    said = [job for job in (circleci.job(environment), github.job(environment)) if job is not None]
    if len(said) == 1:
        return said[0]
    if said:
        both = " and ".join(job.provider for job in said)
        return Job(provider="unknown", stranger=f"This says to be a job of {both} at once")
    if sign := next(_signs(environment), None):
        return Job(provider="unknown", stranger=f"This CI is not known here (it sets {sign})")
    return Job()


def runs_in(environment: Mapping[str, str]) -> bool:
    """Whether a CI runs this, known or not. Then there is nobody to ask."""
    return bool(job_of(environment).provider)


def telling(environment: Iterable[str]) -> tuple[str, ...]:
    """The names in an environment by which a CI tells of a job: without them it is a person's."""
    from reconciler.ci import circleci, github  # noqa: PLC0415 - as above

    return tuple(name for name in environment if name in {*circleci.TELLING, *github.TELLING, *_OTHERS})


def _signs(environment: Mapping[str, str]) -> Iterator[str]:
    return (name for name in _OTHERS if environment.get(name, "").lower() not in ("", "0", "false"))


# What other CIs set in each job, from their lists of predefined variables.
_OTHERS = (
    "GITLAB_CI", "JENKINS_URL", "BUILDKITE", "TF_BUILD", "TEAMCITY_VERSION", "BITBUCKET_BUILD_NUMBER", "DRONE",
    "CODEBUILD_BUILD_ID", "TRAVIS", "APPVEYOR", "SEMAPHORE", "CIRRUS_CI", "WOODPECKER_CI_WORKFLOW", "CI_NAME",
    "GITEA_ACTIONS", "FORGEJO_ACTIONS", "CI",
)  # fmt: skip
