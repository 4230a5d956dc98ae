"""`reconciler iam-policy`: the policies that it prints are those of the pages, and a looser one that stands is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.registries.ec2.rights import ROLES, Account, policy
from tests.integration.cli.conftest import Fleet

ACCOUNT, ORGANIZATION = "123456789012", "11111111-0000-4000-8000-0123456789ab"
PROJECT, REPOSITORY = "22222222-0000-4000-8000-0123456789ab", "github.com/acme/images"
TRUST = (
    "--trust", "--account", ACCOUNT, "--organization", ORGANIZATION, "--project", PROJECT, "--repository", REPOSITORY,
)  # fmt: skip
IAM = Path(__file__).parents[3] / "docs" / "iam"
WORDS = {"ACCOUNT": ACCOUNT, "ORGANIZATION": ORGANIZATION, "PROJECT": PROJECT, "OWNER/NAME": "acme/images"}


def printed(fleet: Fleet, *arguments: str) -> Any:
    ended = fleet.run("iam-policy", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def checked(fleet: Fleet, document: Any, *arguments: str) -> tuple[int, str]:
    (fleet.root / "policy.json").write_text(document if isinstance(document, str) else json.dumps(document))
    ended = fleet.run("iam-policy", *arguments, "--check", "policy.json")
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("role", ROLES)
def test_it_prints_the_pages_policies_with_names_for_words(fleet: Fleet, role: str) -> None:
    for name, arguments in ((f"trust-{role}", TRUST), (role, ("--account", ACCOUNT, "--fleet", "acme/images"))):
        page = (IAM / f"{name}.json").read_text()
        for word, value in {**WORDS, "FLEET": "acme/images"}.items():
            page = page.replace(word, value)

        document = printed(fleet, role, *arguments)

        assert document == json.loads(page)
        assert checked(fleet, document, role, *arguments) == (0, f"{role}: as it would be made\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--repository", REPOSITORY, "--organization", ORGANIZATION), "give one or the other"),
        (("--repository", "git.example.org/acme/images"), "--repository is at git.example.org"),
    ],
)
def test_what_is_not_githubs_is_refused_beside_its_id(fleet: Fleet, arguments: tuple[str, ...], told: str) -> None:
    ended = fleet.run("iam-policy", "preview", "--trust", "--account", ACCOUNT, "--repository-id", "4711", *arguments
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (1, "")
    assert told in " ".join(ended.stderr.split())


@pytest.mark.parametrize("role", ROLES)
def test_it_prints_whom_of_github_a_role_trusts_and_holds_another_policy_to_it(fleet: Fleet, role: str) -> None:
    page = (IAM / f"trust-{role}-github.json").read_text()
    for word, value in {**WORDS, "REPOSITORY_ID": "4711"}.items():
        page = page.replace(word, value)
    arguments = (role, "--trust", "--account", ACCOUNT, "--repository", REPOSITORY, "--repository-id", "4711")

    document = printed(fleet, *arguments)

    assert document == json.loads(page)
    assert checked(fleet, document, *arguments) == (0, f"{role}: as it would be made\n")
    loose = json.loads(page.replace('"StringEquals"', '"StringLike"'))
    code, told = checked(fleet, loose, *arguments)
    assert code == 1
    assert told.startswith("more than it would be: Allow sts:AssumeRoleWithWebIdentity")


def test_the_fleet_is_this_repositorys_unless_another_is_named(fleet: Fleet) -> None:
    fleet.commit({"desired/reconciler.yaml": "fleet: acme/others\ndefaults: { regions: [us-east-1] }\n"})

    ended = fleet.run("iam-policy", "preview", "--account", ACCOUNT)

    assert json.loads(ended.stdout) == policy("preview", Account("acme/others", ACCOUNT))
    assert ended.stderr == (
        "the policy allows no builds of base, web: their templates take no run_tags (or give --untagged-builds)\n"
    )


def test_with_untagged_builds_the_policy_is_enough_for_them(fleet: Fleet) -> None:
    fleet.commit({"desired/reconciler.yaml": "fleet: acme/others\ndefaults: { regions: [us-east-1] }\n"})

    document = printed(fleet, "preview", "--account", ACCOUNT, "--untagged-builds")

    assert document == policy("preview", Account("acme/others", ACCOUNT), untagged_builds=True)


def test_a_trust_policy_that_a_branch_name_can_meet_is_told_with_that_name(fleet: Fleet) -> None:
    # Given the policy as it was advised: with `*` for the user, and without the denial.
    document = printed(fleet, "reconcile", *TRUST)
    provider = f"oidc.circleci.com/org/{ORGANIZATION}"
    tail = f"/vcs-origin/{REPOSITORY}/vcs-ref/refs/heads/main"
    loose = f"org/{ORGANIZATION}/project/{PROJECT}/user/*{tail}"
    document["Statement"][0]["Condition"]["StringLike"] = {f"{provider}:sub": loose}
    del document["Statement"][1]

    code, said = checked(fleet, document, "reconcile", *TRUST)

    assert code == 1
    assert f"refs/heads/x{tail}\n" in said
    assert all(line.startswith("lets in ") for line in said.splitlines())


def test_the_role_of_every_branch_is_not_mains(fleet: Fleet) -> None:
    document = printed(fleet, "preview", *TRUST)

    code, said = checked(fleet, document, "reconcile", *TRUST)

    assert code == 1
    assert "/vcs-ref/refs/heads/x\n" in said


def test_a_policy_that_nobody_meets_is_told_too(fleet: Fleet) -> None:
    code, said = checked(fleet, printed(fleet, "reconcile", *TRUST), "preview", *TRUST)

    assert (code, said.split()[:2]) == (1, ["keeps", "out"])


def test_whoever_else_may_take_a_role_is_told(fleet: Fleet) -> None:
    document = printed(fleet, "reconcile", *TRUST)
    everybody = {"Sid": "Us", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document["Statement"].append(everybody)

    code, said = checked(fleet, document, "reconcile", *TRUST)

    assert (code, said) == (1, "lets in others than CircleCI's jobs: Allow sts:AssumeRole (Us)\n")


def test_a_right_that_is_more_and_one_that_is_missing_are_told(fleet: Fleet) -> None:
    asked = ("reconcile", "--account", ACCOUNT, "--fleet", "acme/images")
    document = printed(fleet, *asked)
    document["Statement"].reverse()
    assert checked(fleet, document, *asked)[0] == 0
    retire = next(one for one in document["Statement"] if one["Sid"] == "RetireAndRestoreImagesOfThisFleet")
    del retire["Condition"]

    code, said = checked(fleet, document, *asked)

    calls = ("DeregisterImage", "DeleteSnapshot", "Restore*FromRecycleBin")
    named = f"Allow {', '.join(f'ec2:{one}' for one in calls)} (RetireAndRestoreImagesOfThisFleet)"
    assert (code, said) == (1, f"more than it would be: {named}\nnot there: {named}\n")


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "[" * 10_000, "{}", '{"Statement": [1]}', '{"Statement": [{"Effect": "Allow"}]}',
        '{"Statement": [{"Effect": "Allow", "Action": [1]}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "Condition": {"StringLike": "x"}}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "Condition": {"IpAddress": {"x": "::1"}}}]}',
        '{"Statement": [{"Effect": "Allow", "Action": "*", "NotPrincipal": "x"}]}',
    ],
)  # fmt: skip
def test_what_is_no_policy_or_cannot_be_judged_is_refused_and_never_passed(fleet: Fleet, document: str) -> None:
    code, said = checked(fleet, document, "reconcile", *TRUST)

    assert code == 1
    assert "error: " in said
    assert "unexpected" not in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--repository", "github.com/*/images"), ("--branch", "ma*"), ("--project", "*"), ("--account", "12"),
        ("--organization", "acme"), ("--branch", "${aws:username}"), ("--repository", "acme"),
    ],
)  # fmt: skip
def test_a_name_that_a_policy_would_read_as_a_pattern_is_refused(fleet: Fleet, option: str, value: str) -> None:
    ended = fleet.run("iam-policy", "reconcile", *TRUST, option, value)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {option} is ")
    assert ended.stdout == ""
