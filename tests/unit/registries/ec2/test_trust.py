"""Who may take each role: no name of a branch, a fork or a tag gets past the trust policies that are made."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aws.iam import Need, permitted
from reconciler.registries.ec2.rights import ROLES, Role
from reconciler.registries.ec2.trust import (  # fmt: skip
    ANY_UUID,
    TAKE,
    CircleCi,
    GitHub,
    github_trust,
    intruders,
    is_let_in,
    subject_of,
    trust,
    wanted,
)

CI = CircleCi(
    "123456789012",
    "11111111-0000-4000-8000-0123456789ab",
    "22222222-0000-4000-8000-0123456789ab",
    "github.com/acme/images",
)
MAIN = "refs/heads/main"
TAIL = f"/vcs-origin/{CI.repository}/vcs-ref/{MAIN}"
WORDS = ("x", "/", "main", "refs/heads/", "vcs-ref/", "vcs-origin/", "user/", CI.repository, TAIL, "*", "?")
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map("".join)


def loosened(role: Role, *, pattern: str | None = None, denies: bool = True) -> dict[str, Any]:
    """A policy as somebody might have changed it by hand."""
    document = copy.deepcopy(trust(role, CI))
    if pattern is not None:
        document["Statement"][0]["Condition"]["StringLike"][f"{CI.provider}:sub"] = pattern
    return document if denies else {**document, "Statement": document["Statement"][:1]}


def project() -> str:
    return f"org/{CI.organization}/project/{CI.project}"


AS_IT_WAS_ADVISED = f"{project()}/user/*{TAIL}"
A_BRANCH_CALLED_LIKE_MAIN = subject_of(CI, f"refs/heads/x{TAIL}")


def test_a_branch_that_is_called_like_the_end_of_a_subject_does_not_get_mains_role() -> None:
    assert not is_let_in(trust("reconcile", CI), A_BRANCH_CALLED_LIKE_MAIN, CI)
    # As it was with a `*` for the user.
    assert is_let_in(loosened("reconcile", pattern=AS_IT_WAS_ADVISED, denies=False), A_BRANCH_CALLED_LIKE_MAIN, CI)


def test_each_of_the_two_walls_holds_alone() -> None:
    assert not is_let_in(loosened("reconcile", denies=False), A_BRANCH_CALLED_LIKE_MAIN, CI)
    assert not is_let_in(loosened("reconcile", pattern=AS_IT_WAS_ADVISED), A_BRANCH_CALLED_LIKE_MAIN, CI)


@given(NAMES, st.sampled_from(["refs/heads/", "refs/tags/", "refs/pull/"]), st.booleans())
def test_mains_role_is_taken_by_main_alone_whatever_a_branch_is_called(name: str, kind: str, fork: bool) -> None:  # noqa: FBT001  hypothesis's
    subject = subject_of(CI, kind + name, repository="github.com/acme-fork/images" if fork else None)

    assert is_let_in(trust("reconcile", CI), subject, CI) is (subject == subject_of(CI, MAIN))
    assert not is_let_in(loosened("reconcile", denies=False), subject, CI) or subject == subject_of(CI, MAIN)


@given(NAMES, st.sampled_from(["plan", "preview"]))
def test_a_fork_takes_no_role_whatever_its_branch_is_called(name: str, role: Role) -> None:
    subject = subject_of(CI, f"refs/heads/{name}", repository="github.com/acme-fork/images")

    assert not is_let_in(trust(role, CI), subject, CI)
    assert not is_let_in(loosened(role, denies=False), subject, CI)


@pytest.mark.parametrize("role", ROLES)
def test_whoever_should_get_in_does_and_nobody_else(role: Role) -> None:
    document = trust(role, CI)

    assert all(is_let_in(document, subject, CI) for subject in wanted(role, CI))
    assert list(intruders(role, CI, document)) == []


@pytest.mark.parametrize("role", ROLES)
def test_no_wildcard_stands_before_text_that_somebody_else_chooses(role: Role) -> None:
    pattern = trust(role, CI)["Statement"][0]["Condition"]["StringLike"][f"{CI.provider}:sub"]

    assert "*" not in pattern[:-1]
    assert pattern.endswith("*") is (role != "reconcile")


def test_another_project_of_the_organization_takes_no_role() -> None:
    subject = subject_of(CI, MAIN)

    assert not is_let_in(trust("reconcile", CI), subject, CI, project="ffffffff-0000-4000-8000-0123456789ab")


def test_a_policy_that_is_as_strict_in_other_words_is_not_blamed() -> None:
    pattern = f"{project()}/user/{'?' * 36}{TAIL}"

    assert list(intruders("reconcile", CI, loosened("reconcile", pattern=pattern, denies=False))) == []


@pytest.mark.parametrize(
    "pattern",
    [
        AS_IT_WAS_ADVISED,
        f"{project()}/*",
        f"{project()}/user/*",
        f"{project()}/user/{ANY_UUID}/vcs-origin/*/vcs-ref/{MAIN}",
        f"{project()}/user/{ANY_UUID}/vcs-origin/{CI.repository}/vcs-ref/*",
        f"{project()}/user/{ANY_UUID}/vcs-origin/{CI.repository}/vcs-ref/refs/heads/*main",
        f"{project()}/user/{ANY_UUID}/vcs-origin/{CI.repository}/vcs-ref/refs/heads/ma?n",
        f"org/{CI.organization}/project/*{TAIL}",
        "*",
    ],
)
def test_a_looser_policy_is_found_out_with_a_subject_that_it_lets_in(pattern: str) -> None:
    found = list(intruders("reconcile", CI, loosened("reconcile", pattern=pattern, denies=False)))

    assert found
    assert subject_of(CI, MAIN) not in found
    assert json.dumps(pattern) not in found


GITHUB = GitHub("123456789012", "4711", "acme/images")
OF_MAIN = {"sub": "repo:acme/images:environment:images", "ref": "refs/heads/main"}
OF_A_PULL_REQUEST = {"sub": "repo:acme/images:pull_request", "ref": "refs/pull/7/merge"}


def github_lets_in(role: Role, **claims: str) -> bool:
    token = {"aud": "sts.amazonaws.com", "repository_id": "4711", **claims}
    context = {f"{GITHUB.provider}:{claim}": value for claim, value in token.items()}
    return permitted(Need(TAKE, context=context), [github_trust(role, GITHUB)])


def test_each_job_of_github_takes_its_own_role_and_no_other() -> None:
    assert github_lets_in("reconcile", **OF_MAIN)
    assert github_lets_in("preview", **OF_A_PULL_REQUEST)
    assert not github_lets_in("reconcile", **OF_A_PULL_REQUEST)
    assert not github_lets_in("preview", **OF_MAIN)


@pytest.mark.parametrize(
    "claims",
    [
        {"repository_id": "4712"},
        {"aud": "https://github.com/acme"},
        {"sub": "repo:acme/images:ref:refs/heads/main"},
        {"sub": "repo:acme/images:environment:imagesx"},
        {"sub": "repo:mallory/images:environment:images"},
        {"sub": "repo:acme/images:environment:images:ref:refs/heads/x"},
        {"ref": "refs/heads/main2"},
        {"ref": "refs/tags/main"},
        {"ref": "refs/heads/x/refs/heads/main"},
    ],
)
def test_nobody_else_on_github_takes_mains_role(claims: dict[str, str]) -> None:
    assert not github_lets_in("reconcile", **{**OF_MAIN, **claims})


def test_a_token_without_the_claims_of_github_takes_no_role() -> None:
    context = {f"{GITHUB.provider}:aud": "sts.amazonaws.com", f"{GITHUB.provider}:sub": OF_MAIN["sub"]}
    assert not permitted(Need(TAKE, context=context), [github_trust("reconcile", GITHUB)])
