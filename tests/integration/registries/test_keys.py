"""Whether those who may launch an encrypted AMI may use its key, asked of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.session import Clients
from reconciler.model.care import Grants
from reconciler.model.declaration import AwsSettings
from reconciler.model.lockfile import Artifact
from reconciler.registries.ec2.keys import lacking

REGION, OURS = "us-east-1", "123456789012"
ONE, TWO, THREE = "111111111111", "222222222222", "333333333333"
ORGANIZATION = "arn:aws:organizations::123456789012:organization/o-a1b2c3d4e5"
SCALING = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
Encrypted = Callable[..., tuple[Any, str]]


def an_ami(*snapshots: str) -> Artifact:
    return Artifact(
        kind="ami", builder="amazon-ebs.web", location=REGION, id="ami-0aa11bb22cc33dd44", name="web", parts=snapshots
    )


@pytest.fixture
def clients(moto: str) -> Clients:
    assert moto
    return Clients(AwsSettings(), attempts=2)


@pytest.fixture
def kms(clients: Clients) -> Any:
    assert clients
    make: Any = boto3.client
    return make("kms", REGION)


@pytest.fixture
def encrypted(kms: Any, monkeypatch: pytest.MonkeyPatch) -> Encrypted:
    """Make an artifact with one encrypted snapshot, whose key's policy lets in some principals; with the key's id.

    moto does not tell a snapshot's key; the sandbox does, and its tests ask for both.
    """
    known: dict[str, str] = {}
    monkeypatch.setattr("reconciler.registries.ec2.keys.keys_of", lambda _, parts: {one: known[one] for one in parts})

    def make(*principals: str, **condition: Any) -> tuple[Any, str]:
        own = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OURS}:root"}, "Action": "kms:*", "Resource": "*"}
        theirs = {
            "Effect": "Allow", "Principal": {"AWS": list(principals)}, "Action": ["kms:Decrypt", "kms:CreateGrant"],
            "Resource": "*", **condition,
        }  # fmt: skip
        statements = [own, *([theirs] if principals else [])]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        key = kms.create_key(Policy=policy)["KeyMetadata"]
        part = f"snap-{len(known):017x}"
        known[part] = str(key["Arn"])
        return an_ami(part), str(key["KeyId"])

    return make


def test_what_is_not_encrypted_lacks_nothing_and_no_key_is_asked_for(clients: Clients) -> None:
    plain = an_ami()
    assert lacking(clients, REGION, [plain], to=Grants.of([ONE])) == {}


def test_an_account_that_neither_the_policy_nor_a_grant_names_can_not_launch_it(
    clients: Clients, encrypted: Encrypted
) -> None:
    made, key = encrypted(f"arn:aws:iam::{TWO}:root")
    assert lacking(clients, REGION, [made], to=Grants.of([ONE])) == {
        made.id: (f"the policy of the key {key} does not name {ONE}, and there is no grant for it: it can't launch it",)
    }


def test_an_account_without_a_grant_can_not_launch_it_in_its_groups(
    clients: Clients, encrypted: Encrypted, kms: Any
) -> None:
    # Given three accounts that the policy names, in its three spellings, of which one has made its grant
    made, key = encrypted(f"arn:aws:iam::{ONE}:root", TWO, f"arn:aws:iam::{THREE}:role/builder")
    kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{TWO}:{SCALING}", Operations=["Decrypt"])
    ((_, said),) = lacking(clients, REGION, [made], to=Grants.of([ONE, TWO, THREE])).items()
    assert [one.partition(" ")[0] for one in said] == [ONE, THREE]
    assert all("until it makes a grant to their service-linked role" in one for one in said)


def test_an_organization_needs_a_statement_for_everybody_which_a_condition_may_narrow(
    clients: Clients, encrypted: Encrypted
) -> None:
    made, key = encrypted(f"arn:aws:iam::{ONE}:root")
    assert lacking(clients, REGION, [made], to=Grants.of(organizations=[ORGANIZATION])) == {
        made.id: (f"the policy of the key {key} allows no organization: o-a1b2c3d4e5 can't launch it",)
    }
    narrowed, _ = encrypted("*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})
    assert lacking(clients, REGION, [narrowed], to=Grants.of(organizations=[ORGANIZATION])) == {}


EC2_ALONE: dict[str, Any] = {"StringEquals": {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"}}
S3 = f"s3.{REGION}.amazonaws.com"
S3_ALONE: dict[str, Any] = {"StringEquals": {"kms:ViaService": [S3]}}
FOR_AWS: dict[str, Any] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
OF, BY = "aws:PrincipalOrgID", "kms:ViaService"
OF_ORG: dict[str, Any] = {"StringEquals": {OF: "o-a1b2c3d4e5"}}
LAUNCH, GRANT = ["kms:Decrypt", "kms:DescribeKey", "kms:ReEncrypt*"], "kms:CreateGrant"
CANT = "it can't launch it"
POLICY, ALL = "the policy of the key KEY", [*LAUNCH, GRANT]
UNKNOWN = f"whether {POLICY} allows {ONE} is not known: it depends on"
NO_GRANT = f"{ONE} has no grant of the key KEY: its Auto Scaling groups can't launch it until it makes a grant"


def a_statement(actions: Any, principal: Any = ONE, *, effect: str = "Allow", **conditions: Any) -> dict[str, Any]:
    whom = principal if isinstance(principal, str) and principal == "*" else {"AWS": principal}
    made = {"Effect": effect, "Principal": whom, "Action": actions, "Resource": "*"}
    return {**made, **({"Condition": conditions} if conditions else {})}


# What an account lacks by the statements of a key's policy: how the text begins, and how it ends.
BY_CONDITIONS = {
    "by another service": (
        [a_statement(LAUNCH, **S3_ALONE), a_statement(GRANT)],
        f"{POLICY} allows {ONE} kms:Decrypt only where StringEquals kms:ViaService s3.", CANT,
    ),
    "by EC2, and grants by EC2 alone": (
        [a_statement(ALL, **EC2_ALONE)],
        NO_GRANT, f"allows it {GRANT} only where StringEquals kms:ViaService ec2.us-east-1.amazonaws.com",
    ),
    "grants for AWS's resources alone": (
        [a_statement(LAUNCH), a_statement(GRANT, **FOR_AWS)],
        NO_GRANT, f"allows it {GRANT} only where Bool kms:GrantIsForAWSResource true",
    ),
    "all of it for AWS's resources alone": (
        [a_statement(ALL, **FOR_AWS)],
        f"{POLICY} allows {ONE} kms:Decrypt only where Bool kms:GrantIsForAWSResource true", CANT,
    ),
    "no grants": (
        [a_statement(LAUNCH)], f"{POLICY} does not allow {ONE} {GRANT}, and there", CANT,
    ),
    "everybody of another account": (
        [a_statement(ALL, "*", StringEquals={"kms:CallerAccount": [TWO, THREE]})],
        f"{POLICY} allows {ONE} kms:Decrypt only where StringEquals kms:CallerAccount 2222", CANT,
    ),
    "everybody of this account": (
        [a_statement(ALL, "*", StringEquals={"kms:CallerAccount": [TWO, ONE]})],
        NO_GRANT, "to their service-linked role",
    ),
    "everybody of an organization": (
        [a_statement(ALL, "*", **OF_ORG)],
        f"{UNKNOWN} StringEquals aws:PrincipalOrgID",
        "o-a1b2c3d4e5",
    ),
    "but for another organization": (
        [a_statement(ALL), a_statement("kms:*", "*", effect="Deny", StringNotEquals=OF_ORG["StringEquals"])],
        f"{UNKNOWN} StringNotEquals aws:Prin",
        "o-a1b2c3d4e5",
    ),
    "but not without TLS": (
        [a_statement(ALL), a_statement("kms:*", "*", effect="Deny", Bool={"aws:SecureTransport": "false"})],
        NO_GRANT, "to their service-linked role",
    ),
    "denied": (
        [a_statement(ALL), a_statement("kms:Decrypt", f"arn:aws:iam::{ONE}:root", effect="Deny")],
        f"{POLICY} denies {ONE} kms:Decrypt", CANT,
    ),
    "one of its roles denied": (
        [a_statement(ALL), a_statement("kms:*", f"arn:aws:iam::{ONE}:role/x", effect="Deny")],
        NO_GRANT, "to their service-linked role",
    ),
    "by a condition that nobody knows": (
        [a_statement(ALL, IpAddress={"aws:SourceIp": "10.0.0.0/8"})],
        f"{UNKNOWN} IpAddress aws:SourceIp",
        "10.0.0.0/8",
    ),
    "grants to whom nobody knows": (
        [a_statement(ALL, **EC2_ALONE), a_statement(GRANT, StringLike={"kms:GranteePrincipal": "*Scaling"})],
        NO_GRANT, f"allows it {GRANT} is not known: it depends on StringLike kms:GranteePrincipal *Scaling",
    ),
}  # fmt: skip


@pytest.fixture
def by_policy(kms: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], tuple[Any, str]]:
    """Make an artifact whose snapshot's key has these statements beside its owner's; with the key's id."""

    def make(statements: list[dict[str, Any]]) -> tuple[Any, str]:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [a_statement("kms:*", OURS), *statements]})
        key = kms.create_key(Policy=policy)["KeyMetadata"]
        monkeypatch.setattr("reconciler.registries.ec2.keys.keys_of", lambda _, parts: dict.fromkeys(parts, key["Arn"]))
        return an_ami("snap-1"), str(key["KeyId"])

    return make


@pytest.mark.forms(quick=5)
@pytest.mark.parametrize("case", BY_CONDITIONS)
def test_conditions_of_the_policy_are_judged_by_what_is_known_of_a_launch(
    clients: Clients, by_policy: Callable[[list[dict[str, Any]]], tuple[Any, str]], case: str
) -> None:
    statements, begins, ends = BY_CONDITIONS[case]
    made, key = by_policy(statements)
    ((said,),) = lacking(clients, REGION, [made], to=Grants.of([ONE])).values()
    said = said.replace(key, "KEY")
    assert (said[: len(begins)], said[-len(ends) :]) == (begins, ends)


def test_what_the_policy_denies_a_grant_does_not_give(
    clients: Clients, by_policy: Callable[[list[dict[str, Any]]], tuple[Any, str]], kms: Any
) -> None:
    made, key = by_policy([a_statement(LAUNCH, **S3_ALONE)])
    kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{ONE}:{SCALING}", Operations=["Decrypt"])
    assert lacking(clients, REGION, [made], to=Grants.of([ONE])) == {}
    denied, other = by_policy([a_statement("kms:*", "*", effect="Deny", StringNotEquals={"kms:CallerAccount": OURS})])
    kms.create_grant(KeyId=other, GranteePrincipal=f"arn:aws:iam::{ONE}:{SCALING}", Operations=["Decrypt"])
    ((said,),) = lacking(clients, REGION, [denied], to=Grants.of([ONE])).values()
    assert said == (
        f"the policy of the key {other} denies {ONE} kms:Decrypt where StringNotEquals kms:CallerAccount {OURS}: {CANT}"
    )


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize(
    ("equals", "said"),
    [
        ({OF: "o-a1b2c3d4e5"}, None),
        ({OF: "o-a1b2c3d4e5", BY: f"ec2.{REGION}.amazonaws.com"}, None),
        ({OF: "o-others0000"},
         f"{POLICY} allows kms:Decrypt only where StringEquals {OF} o-others0000: o-a1b2c3d4e5 can't launch it"),
        ({OF: "o-a1b2c3d4e5", BY: S3},
         f"{POLICY} allows kms:Decrypt only where StringEquals {BY} {S3}: o-a1b2c3d4e5 can't launch it"),
        ({"kms:CallerAccount": ONE},
         UNKNOWN.replace(ONE, "o-a1b2c3d4e5") + f" StringEquals kms:CallerAccount {ONE}"),
    ],
)  # fmt: skip
def test_an_organization_is_known_by_its_id(
    clients: Clients,
    by_policy: Callable[[list[dict[str, Any]]], tuple[Any, str]],
    equals: dict[str, Any],
    said: str | None,
) -> None:
    made, key = by_policy([a_statement(ALL, "*", StringEquals=equals)])
    found = lacking(clients, REGION, [made], to=Grants.of(organizations=[ORGANIZATION]))
    assert [one.replace(key, "KEY") for some in found.values() for one in some] == ([] if said is None else [said])


def test_that_it_is_not_known_is_said(clients: Clients, encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = encrypted(f"arn:aws:iam::{ONE}:root")

    def refused(**_: object) -> SimpleNamespace:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetKeyPolicy")

    monkeypatch.setattr(clients.client("kms", REGION, config=Config()), "get_key_policy", refused)
    assert lacking(clients, REGION, [made], to=Grants.of([ONE])) == {
        made.id: (f"whether the key {key} allows them is not known (AccessDeniedException)",)
    }


@pytest.mark.forms(quick=3)
@pytest.mark.parametrize(
    "policy", ["[", "null", "[]", '"x"', '{"Statement": [1]}', '{"Statement": {"Condition": []}}',
               '{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": "*", "Condition": {"StringLike": 1}}]}'],
)  # fmt: skip
def test_a_policy_of_another_shape_says_nothing_that_is_known(
    clients: Clients, encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    made, key = encrypted(f"arn:aws:iam::{ONE}:root")
    monkeypatch.setattr(
        clients.client("kms", REGION, config=Config()), "get_key_policy", lambda **_: {"Policy": policy}
    )
    ((said,),) = lacking(clients, REGION, [made], to=Grants.of([ONE])).values()
    assert said in (
        f"whether the key {key} allows them is not known (its policy can't be read)",
        f"the policy of the key {key} does not name {ONE}, and there is no grant for it: it can't launch it",
    )
