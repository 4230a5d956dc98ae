"""Keys of encrypted AMIs: whether those who may launch one may use the key of its snapshots, as far as can be seen.

To launch an AMI that is encrypted with a customer's key, another account has to be allowed to use the key by the key's
policy ("Share encrypted EBS-backed AMIs", EC2 user guide), and for its Auto Scaling groups it has to make a grant to
their service-linked role ("Required AWS KMS key policy for use with encrypted volumes", Auto Scaling user guide).
Without these the AMI is shared, and every launch fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import AwsError, code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.care import Grants
from reconciler.model.iam import matches, several
from reconciler.ports.registry import Located

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_MOST_NAMES = 200  # values of one filter (EC2 API reference, "Resource filtering")
_USES = "kms:Decrypt"
_SCALING = "its Auto Scaling groups can't launch it until it makes a grant to their service-linked role"


def keys_of(ec2: EC2Client, parts: Iterable[str]) -> Mapping[str, str]:
    """The key of each encrypted snapshot. By filter, not by SnapshotIds: those make one missing snapshot an error."""
    ids, found = sorted(parts), dict[str, str]()
    for start in range(0, len(ids), _MOST_NAMES):
        some = ids[start : start + _MOST_NAMES]
        answer = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": some}])
        found |= {one["SnapshotId"]: one["KmsKeyId"] for one in answer["Snapshots"] if one.get("KmsKeyId")}
    return found


def lacking(clients: Clients, region: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
    """What those lack who are to launch AMIs of a region. See `Registry.lacking`.

    Costs one DescribeSnapshots, and for each key one GetKeyPolicy and one ListGrants.
    """
    try:
        with translated(f"reading what encrypts AMIs in {region}"):
            keys = keys_of(clients.ec2(region), {part for one in artifacts for part in one.parts})
    except AwsError:
        return {}
    kms = clients.client("kms", region, config=Config()) if keys else None
    told = {key: tuple(_lacking(kms, key, to)) for key in sorted(set(keys.values()))}
    found = {
        one.id: tuple(dict.fromkeys(what for part in one.parts if part in keys for what in told[keys[part]]))
        for one in artifacts
    }
    return {artifact_id: what for artifact_id, what in found.items() if what}


def _lacking(kms: Any, key: str, to: Grants) -> Iterator[str]:
    """What accounts and organizations lack that are to use a key, one a clause."""
    try:
        policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
        pages = kms.get_paginator("list_grants").paginate(KeyId=key)
        given = [one for page in pages for one in page["Grants"]]
    except ClientError as error:
        yield f"whether the key {_short(key)} allows them is not known ({code_of(error)})"
        return
    allowed = _Allowed.by(policy)
    for account in to.accounts:
        granted = any(account in (one.get("IssuingAccount", ""), _account_in(one)) for one in given)
        if not granted and not allowed.everybody and account not in allowed.accounts:
            what = f"the policy of the key {_short(key)} does not name {account}, and there is no grant for it"
            yield f"{what}: it can't launch it"
        elif not granted:
            yield f"{account} has no grant of the key {_short(key)}: {_SCALING}"
    for organization in (*to.organizations, *to.organizational_units):
        if not allowed.everybody:
            name = organization.rpartition("/")[2]
            yield f"the policy of the key {_short(key)} allows no organization: {name} can't launch it"


@dataclass(frozen=True)
class _Allowed:
    """Who may use a key by its policy. Conditions are not looked at: whom one lets in is not seen from here."""

    accounts: frozenset[str]
    everybody: bool
    """Whether a statement is for any principal, as one is that names an organization by a condition."""

    @classmethod
    def by(cls, policy: Mapping[str, Any]) -> _Allowed:
        principals = [
            str(principal)
            for one in several(policy.get("Statement", []))
            if one.get("Effect") == "Allow"
            and any(matches(_USES.lower(), str(action).lower()) for action in several(one.get("Action", [])))
            for principal in _principals(one.get("Principal", {}))
        ]
        accounts = frozenset(one.split(":")[4] if one.startswith("arn:") else one for one in principals)
        return cls(accounts, everybody="*" in principals)


def _principals(said: Any) -> list[Any]:
    return several(said.get("AWS", [])) if isinstance(said, dict) else several(said)


def _account_in(grant: Mapping[str, Any]) -> str:
    """The account of a grant's grantee: `arn:aws:iam::222222222222:role/…`."""
    parts = str(grant.get("GranteePrincipal", "")).split(":")
    return parts[4] if len(parts) > 4 else ""


def _short(key: str) -> str:
    """A key's id, without what all ARNs of a region's keys begin with."""
    return key.rpartition("/")[2]
