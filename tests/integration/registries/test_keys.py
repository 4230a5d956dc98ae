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


def test_that_it_is_not_known_is_said(clients: Clients, encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = encrypted(f"arn:aws:iam::{ONE}:root")

    def refused(**_: object) -> SimpleNamespace:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetKeyPolicy")

    monkeypatch.setattr(clients.client("kms", REGION, config=Config()), "get_key_policy", refused)
    assert lacking(clients, REGION, [made], to=Grants.of([ONE])) == {
        made.id: (f"whether the key {key} allows them is not known (AccessDeniedException)",)
    }
