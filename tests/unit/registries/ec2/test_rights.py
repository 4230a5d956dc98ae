"""What each role may do in AWS: work goes on, who builds does not judge, and what others have is left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.aws.iam import Need, permitted, several
from reconciler.registries.ec2.rights import ROLES, UNFENCED, Account, Policy, Role, disks, policy, publishing, untagged
from reconciler.registries.ec2.trust import documents
from tests.iam import AT, DISKS, FLEET, OURS, THEIRS, Question, arn, questions, tagging

PUBLISHING = replace(AT, published="/images/", disks=DISKS.disks)
IAM = Path(__file__).parents[4] / "docs" / "iam"


@pytest.mark.parametrize("question", questions(), ids=lambda one: f"{one.role}: {one.what}")
def test_a_role_may_do_its_work_and_nothing_to_others(question: Question) -> None:
    assert permitted(question.need, question.documents()) is question.allowed


def test_the_pages_have_the_policies_that_are_made() -> None:
    written = {file.name: json.loads(file.read_text()) for file in IAM.glob("*.json")}

    assert written == documents()


def fences(statement: dict[str, Any]) -> bool:
    """Whether a tag that has to be there is what a statement asks for."""
    keys = statement.get("Condition", {}).get("StringEquals", {})
    return bool({"aws:ResourceTag/reconciler:fleet", "aws:RequestTag/reconciler:fleet"} & set(keys))


def test_every_statement_is_fenced_by_a_tag_or_listed_with_the_reason_why_not() -> None:
    made = [policy(role, PUBLISHING) for role in ROLES] + [untagged(AT)]
    allowing = [one for document in made for one in document["Statement"] if one["Effect"] == "Allow"]

    assert {one["Sid"] for one in allowing if not fences(one)} == set(UNFENCED)


def weaker(document: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy without one denial, or without one statement's conditions, each in its turn."""
    for at, one in enumerate(document["Statement"]):
        others = [*document["Statement"][:at], *document["Statement"][at + 1 :]]
        if one["Effect"] == "Deny":
            yield one["Sid"], {**document, "Statement": others}
        elif "Condition" in one:
            bare = {key: value for key, value in one.items() if key != "Condition"}
            yield one["Sid"], {**document, "Statement": [*others, bare]}


@pytest.mark.parametrize("role", ["preview", "reconcile"])
def test_each_wall_is_needed_against_some_attack(role: Role) -> None:
    attacks = [one for one in questions() if one.role == role and not one.allowed]

    walls = {sid: any(permitted(one.need, [less]) for one in attacks) for sid, less in weaker(policy(role, PUBLISHING))}

    assert walls
    assert [sid for sid, let_in in walls.items() if not let_in] == []


def test_the_page_lists_every_statement_and_every_reason() -> None:
    page = " ".join((IAM / "README.md").read_text().split())

    for document in (*(policy(role, PUBLISHING) for role in ROLES), untagged(AT)):
        assert [one["Sid"] for one in document["Statement"] if one["Sid"] not in page] == []
    assert [reason for reason in UNFENCED.values() if reason not in page] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_policies_have_room_for_it(role: Any) -> None:
    # 10,240 characters without blanks, for all inline policies of a role together, and 6,144 of a managed one (IAM
    # quotas). Both kinds of what is asked for beside it need one of these (docs/iam/README.md).
    subnets = ["subnet-0123456789abcdef0"] * 3
    for path, untagged_builds in (("", True), ("/images/of/a/team/", False)):
        at = Account("a" * 60, "1" * 12, subnets=subnets, published=path)
        beside = disks(role, Account("a" * 60, "1" * 12, disks=["s3://acme-images/a/team/appliance"] * 5))
        assert len(json.dumps(beside, separators=(",", ":"))) < 6_144
        whole = policy(role, at, untagged_builds=untagged_builds)
        assert len(json.dumps(whole, separators=(",", ":"))) < 10_240
        assert len(json.dumps(publishing(role, at), separators=(",", ":"))) < 6_144


@pytest.mark.parametrize("has", [THEIRS, {"aws:ResourceTag/Name": "database"}], ids=["another fleet's", "named"])
@pytest.mark.parametrize("action", ["TerminateInstances", "StopInstances", "CreateImage", "ModifyInstanceAttribute"])
def test_untagged_builds_leave_alone_what_has_a_name_or_a_fleet(action: str, has: dict[str, str]) -> None:
    documents = [policy("reconcile", AT), untagged(AT)]

    assert not permitted(Need(f"ec2:{action}", arn("instance"), has), documents)
    assert permitted(Need(f"ec2:{action}", arn("instance")), documents)


def test_untagged_builds_claim_an_image_only_where_it_has_no_fleet() -> None:
    documents = [policy("reconcile", AT), untagged(AT)]

    assert permitted(tagging("image", {"reconciler:fleet": FLEET}, {}), documents)
    assert not permitted(tagging("image", {"reconciler:fleet": FLEET}, THEIRS), documents)
    assert not permitted(tagging("image", {"reconciler:verdict": "passed"}, {}), documents)


def test_subnets_that_are_named_are_the_only_ones() -> None:
    document = policy("reconcile", Account(FLEET, "123456789012", subnets=["subnet-0a"]))

    assert permitted(Need("ec2:RunInstances", arn("subnet", "subnet-0a")), [document])
    assert not permitted(Need("ec2:RunInstances", arn("subnet", "subnet-0b")), [document])


def test_the_one_that_reads_changes_nothing() -> None:
    actions = {action for one in policy("plan", PUBLISHING)["Statement"] for action in several(one["Action"])}

    assert all(action.partition(":")[2].startswith(("Describe", "Get", "List")) for action in actions)


def test_what_is_forbidden_stays_so_whatever_else_allows_it() -> None:
    deny = {"Statement": {"Effect": "Deny", "Action": "ec2:*", "Resource": "*"}}

    assert not permitted(Need("ec2:DeregisterImage", arn("image"), OURS), [policy("reconcile", AT), deny])
