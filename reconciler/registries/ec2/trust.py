"""Who may take each role: trust policies for CircleCI's and GitHub's tokens, and what gets past one that stands.

`python -m reconciler.registries.ec2.trust docs/iam` writes them, and those of `rights`.

The subject of a token (`CIRCLE_OIDC_TOKEN_V2`) ends with text that whoever pushes chooses: the name of a branch. IAM's
`*` spans slashes, so a `*` before the part that names repository and branch lets a branch through that is called after
that part. Here the one id that may vary, the user's, has its length, so each part has its place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.aws.iam import Need, permitted, several
from reconciler.registries.ec2.rights import ROLES, Account, Role, disks, policy, publishing, untagged

TAKE = "sts:AssumeRoleWithWebIdentity"
ANY_UUID = "-".join("?" * length for length in (8, 4, 4, 4, 12))
"""What a user's id looks like. `?` is one character in IAM, so what follows stands where it has to."""
_SOMEBODY = "0a1b2c3d-0000-4000-8000-0123456789ab"
_OTHER = "ffffffff-0000-4000-8000-0123456789ab"
_REFS = ("heads", "tags")


@dataclass(frozen=True)
class CircleCi:
    """A project on CircleCI, and where its repository is."""

    account: str
    organization: str
    project: str
    repository: str
    """Host and path: `github.com/acme/images`."""
    branch: str = "main"
    """The one that state is recorded to."""
    partition: str = "aws"

    @property
    def provider(self) -> str:
        """The name of the organization's tokens in IAM."""
        return f"oidc.circleci.com/org/{self.organization}"


def trust(role: Role, ci: CircleCi) -> dict[str, Any]:
    """The trust policy of a role: `reconcile` for one branch, the others for every branch of the repository's own."""
    ref = ci.branch if role == "reconcile" else "*"
    subject = f"{_project(ci)}/user/{ANY_UUID}/vcs-origin/{ci.repository}/vcs-ref/refs/heads/{ref}"
    whoever = {"Federated": f"arn:{ci.partition}:iam::{ci.account}:oidc-provider/{ci.provider}"}
    allow = {
        "Sid": "Branches" if ref == "*" else "OneBranch",
        "Effect": "Allow", "Principal": whoever, "Action": TAKE,
        "Condition": {
            "StringEquals": {
                f"{ci.provider}:aud": ci.organization, f"{ci.provider}:oidc.circleci.com/project-id": ci.project,
            },
            "StringLike": {f"{ci.provider}:sub": subject},
        },
    }  # fmt: skip
    # Whatever is made of the other statement later: no branch speaks of a repository or a branch.
    twice = ["*/vcs-origin/*/vcs-origin/*", "*/vcs-ref/*/vcs-ref/*"]
    deny = {
        "Sid": "NoBranchThatSoundsLikeAnother",
        "Effect": "Deny", "Principal": whoever, "Action": TAKE,
        "Condition": {"StringLike": {f"{ci.provider}:sub": twice}},
    }  # fmt: skip
    return {"Version": "2012-10-17", "Statement": [allow, deny]}


@dataclass(frozen=True)
class GitHub:
    """A repository whose jobs GitHub Actions runs."""

    account: str
    repository_id: str
    """Its number, which a repository that takes over the name does not have."""
    repository: str
    """`owner/name`."""
    branch: str = "main"
    """The one that state is recorded to."""
    environment: str = "images"
    """The environment that the job of that branch names."""
    partition: str = "aws"

    provider = "token.actions.githubusercontent.com"


def github_trust(role: Role, ci: GitHub) -> dict[str, Any]:
    """The trust policy of a role: `reconcile` for one branch in one environment, the others for pull requests.

    All is compared whole, so no name that somebody chooses can meet a pattern. GitHub gives a fork's job no token.
    `repository_id` and `ref` are among the claims that AWS STS reads of it.
    """
    main = f"repo:{ci.repository}:environment:{ci.environment}"
    pulls = f"repo:{ci.repository}:pull_request"
    said = {
        "aud": "sts.amazonaws.com",
        "repository_id": ci.repository_id,
        "sub": main if role == "reconcile" else pulls,
    }
    said |= {"ref": f"refs/heads/{ci.branch}"} if role == "reconcile" else {}
    allow = {
        "Sid": "OneBranch" if role == "reconcile" else "PullRequests",
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:{ci.partition}:iam::{ci.account}:oidc-provider/{ci.provider}"},
        "Action": TAKE,
        "Condition": {"StringEquals": {f"{ci.provider}:{claim}": value for claim, value in said.items()}},
    }
    return {"Version": "2012-10-17", "Statement": [allow]}


def is_let_in(document: Mapping[str, Any], subject: str, ci: CircleCi, *, project: str | None = None) -> bool:
    """Whether a job with this subject may take a role with this trust policy."""
    token = {
        f"{ci.provider}:sub": subject,
        f"{ci.provider}:aud": ci.organization,
        f"{ci.provider}:oidc.circleci.com/project-id": project or ci.project,
    }
    return permitted(Need(TAKE, context=token), [document])


def subject_of(ci: CircleCi, ref: str, *, repository: str | None = None) -> str:
    """A job's subject, as the token has it."""
    return f"{_project(ci)}/user/{_SOMEBODY}/vcs-origin/{repository or ci.repository}/vcs-ref/{ref}"


def wanted(role: Role, ci: CircleCi) -> Iterator[str]:
    """Subjects that have to be let in."""
    yield subject_of(ci, f"refs/heads/{ci.branch}")
    if role != "reconcile":
        yield subject_of(ci, "refs/heads/topic/of/somebody")


def intruders(role: Role, ci: CircleCi, document: Mapping[str, Any]) -> Iterator[str]:
    """Subjects that are let in and should not be. Some are made of the policy's own patterns, as an attacker would."""
    for subject, project in _attempts(ci, document):
        if not _may_enter(role, ci, subject) and is_let_in(document, subject, ci, project=project):
            yield subject


def _may_enter(role: Role, ci: CircleCi, subject: str) -> bool:
    """Whether this is a job of the repository's own, whoever began it; for main's role, on that branch."""
    tail = f"/vcs-origin/{ci.repository}/vcs-ref/refs/heads/" + (ci.branch if role == "reconcile" else "")
    user, found, branch = subject.removeprefix(f"{_project(ci)}/user/").partition(tail)
    return bool(found) and "/" not in user and (role != "reconcile" or not branch)


def _attempts(ci: CircleCi, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Subjects with the project whose token has them: of forks, tags, webhooks, other projects, and odd branches."""
    owner, _, name = ci.repository.rpartition("/")
    fork, main = f"{owner}-fork/{name}", f"refs/heads/{ci.branch}"
    tail = f"/vcs-origin/{ci.repository}/vcs-ref/{main}"
    endings = ["", f"/{ci.branch}", tail, f"/vcs-ref/{main}"]
    for pattern in _patterns(document):
        # All that follows a `*`, as the end of a name; and what comes of the whole.
        endings += [_filled(pattern[at + 1 :]) for at, sign in enumerate(pattern) if sign == "*"]
        yield _filled(pattern.replace(ANY_UUID, _SOMEBODY)), ci.project
    for ref in (main, f"{main}/x", f"refs/heads/{main}", *(f"refs/{kind}/x{end}" for kind in _REFS for end in endings)):
        yield subject_of(ci, ref), ci.project
        yield subject_of(ci, ref, repository=fork), ci.project
    yield f"{_project(ci)}/user/{_SOMEBODY}", ci.project
    elsewhere = f"org/{ci.organization}/project/{_OTHER}/user/{_SOMEBODY}"
    yield f"{elsewhere}{tail}", _OTHER
    yield f"{elsewhere}/vcs-origin/{fork}/vcs-ref/refs/heads/{subject_of(ci, main)}", _OTHER


def _patterns(document: Mapping[str, Any]) -> Iterator[str]:
    for statement in several(document.get("Statement", [])):
        for keys in statement.get("Condition", {}).values():
            yield from (value for key, values in keys.items() if key.endswith(":sub") for value in several(values))


def _filled(pattern: str) -> str:
    return pattern.replace("*", "x").replace("?", "x")


def _project(ci: CircleCi) -> str:
    return f"org/{ci.organization}/project/{ci.project}"


def documents() -> Mapping[str, Mapping[str, Any]]:
    """The files of docs/iam, by name: with words where names stand."""
    words = Account(fleet="FLEET", account="ACCOUNT")
    below = replace(words, published="/images/")
    ci = CircleCi("ACCOUNT", "ORGANIZATION", "PROJECT", "github.com/OWNER/NAME")
    github = GitHub("ACCOUNT", "REPOSITORY_ID", "OWNER/NAME")
    rights = {f"{role}.json": policy(role, words) for role in ROLES}
    published = {"publish.json": publishing("reconcile", below), "publish-read.json": publishing("plan", below)}
    return (
        {**rights, "untagged-builds.json": untagged(words)}
        | published
        | {f"disks-{role}.json": disks(role, replace(words, disks=["s3://BUCKET/PREFIX"])) for role in ROLES}
        | {
            **{f"trust-{role}.json": trust(role, ci) for role in ROLES},
            **{f"trust-{role}-github.json": github_trust(role, github) for role in ROLES},
        }
    )


def main(folder: Path) -> None:
    """Write docs/iam."""
    for name, document in documents().items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
