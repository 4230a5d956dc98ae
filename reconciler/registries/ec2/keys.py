"""Keys of encrypted AMIs: whether those who may launch one may use the key of its snapshots, as far as can be seen.

To launch an AMI that is encrypted with a customer's key, another account has to be allowed to use the key by the key's
policy ("Share encrypted EBS-backed AMIs", EC2 user guide), and for its Auto Scaling groups it has to make a grant to
their service-linked role ("Required AWS KMS key policy for use with encrypted volumes", Auto Scaling user guide).
Without these the AMI is shared, and every launch fails. That grant the account makes itself: a policy that lets it make
grants for AWS's resources alone (kms:GrantIsForAWSResource) refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import AwsError, code_of, translated
from reconciler.aws.iam import holds_for, matches, several
from reconciler.aws.session import Clients
from reconciler.model.care import Grants
from reconciler.model.text import visible
from reconciler.ports.registry import Located

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_MOST_NAMES = 200  # values of one filter (EC2 API reference, "Resource filtering")
_USES, _GRANTS = "kms:Decrypt", "kms:CreateGrant"
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
    told = {key: tuple(_lacking(kms, key, to, region=region)) for key in sorted(set(keys.values()))}
    found = {
        one.id: tuple(dict.fromkeys(what for part in one.parts if part in keys for what in told[keys[part]]))
        for one in artifacts
    }
    return {artifact_id: what for artifact_id, what in found.items() if what}


def _lacking(kms: Any, key: str, to: Grants, *, region: str) -> Iterator[str]:
    """What accounts and organizations lack that are to use a key, one a clause."""
    try:
        policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
        pages = kms.get_paginator("list_grants").paginate(KeyId=key)
        given = [one for page in pages for one in page["Grants"]]
    except ValueError:
        policy, given = None, []
    except ClientError as error:
        yield f"whether the key {_short(key)} allows them is not known ({code_of(error)})"
        return
    statements = several(policy.get("Statement", [])) if isinstance(policy, dict) else [policy]
    if not all(map(_is_readable, statements)):
        yield f"whether the key {_short(key)} allows them is not known (its policy can't be read)"
        return
    for account in to.accounts:
        granted = any(account in (one.get("IssuingAccount", ""), _account_in(one)) for one in given)
        if said := _of_account(statements, key, account, region=region, granted=granted):
            yield said
    for organization in (*to.organizations, *to.organizational_units):
        if said := _of_organization(statements, key, organization, region=region):
            yield said


def _of_account(
    statements: Sequence[Mapping[str, Any]], key: str, account: str, *, region: str, granted: bool
) -> str | None:  # fmt: skip
    """What an account lacks; None where nothing is known to be in its way."""
    which = f"the policy of the key {_short(key)}"
    caller = {"kms:calleraccount": account, "aws:principalaccount": account, "aws:securetransport": "true"}
    launch = _launch(statements, caller, account=account, region=region)
    if launch.allowed == "denied":
        return f"{which} denies {account} {launch.action}{launch.where}: it can't launch it"
    if granted:  # a grant allows it as well as the policy does
        return None
    if launch.allowed == "unnamed":
        named = any(_is_for(one, account, denies=False) for one in statements if one.get("Effect") == "Allow")
        lacks = f"allow {account} {launch.action}" if named else f"name {account}"
        return f"{which} does not {lacks}, and there is no grant for it: it can't launch it"
    if launch.allowed == "refused":
        return (
            f"{which} allows {account} {launch.action} only{launch.where}, which is not so of EC2's launches, and "
            "there is no grant for it: it can't launch it"
        )
    if launch.allowed == "unknown":
        return f"whether {which} allows {account} is not known: it depends on {launch.depends_on}"
    itself = {**caller, "kms:viaservice": None, "kms:grantisforawsresource": "false"}
    grant = _judged(statements, _GRANTS, itself, account=account)
    may = {
        "allowed": "", "unnamed": f", and {which} does not allow it {_GRANTS}",
        "denied": f", and {which} denies it {_GRANTS}{grant.where}",
        "refused": f", and {which} allows it {_GRANTS} only{grant.where}",
        "unknown": f", and whether {which} allows it {_GRANTS} is not known: it depends on {grant.depends_on}",
    }[grant.allowed]  # fmt: skip
    return f"{account} has no grant of the key {_short(key)}: {_SCALING}{may}"


def _of_organization(statements: Sequence[Mapping[str, Any]], key: str, arn: str, *, region: str) -> str | None:
    """What the accounts of an organization, or of a unit, lack. Of statements for one account nothing is said."""
    name = arn.rpartition("/")[2]
    caller = {"aws:principalorgid": arn.split("/")[1], "aws:securetransport": "true"}
    launch = _launch(statements, caller, account=None, region=region)
    which = f"the policy of the key {_short(key)}"
    lacks = f" {launch.action}" if any(_is_for(one, None, denies=False) for one in statements) else ""
    return {
        "allowed": None, "unnamed": f"{which} allows no organization{lacks}: {name} can't launch it",
        "denied": f"{which} denies {name} what a launch needs{launch.where}: it can't launch it",
        "refused": f"{which} allows {launch.action} only{launch.where}: {name} can't launch it",
        "unknown": f"whether {which} allows {name} is not known: it depends on {launch.depends_on}",
    }[launch.allowed]  # fmt: skip


# What a key's policy says of those who call from another account. What nobody here knows stays unknown.

_Answer = Literal["allowed", "refused", "denied", "unnamed", "unknown"]


@dataclass(frozen=True)
class _Judged:
    """Whether a key's policy allows a call, and by which conditions it does not, or it is not known."""

    allowed: _Answer
    """`refused`: a condition keeps every statement that is for the caller from allowing it; `unnamed`: none is."""
    action: str
    conditions: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The conditions, as they go behind what is allowed, or denied, by them."""
        return f" where {' and '.join(self.conditions)}" if self.conditions else ""

    @property
    def depends_on(self) -> str:
        """The same, as they go behind what is not known."""
        return " and ".join(self.conditions)


def _launch(
    statements: Sequence[Mapping[str, Any]], caller: Mapping[str, str | None], *, account: str | None, region: str
) -> _Judged:
    """Whether the policy allows what EC2 does with a key for whoever launches: to read with it, and to make a grant.

    Source: "Permissions to use AWS KMS keys" and "How EC2 uses KMS" (EBS user guide): EC2 asks in the name of the
    caller, which is what kms:ViaService and kms:GrantIsForAWSResource tell ("AWS KMS condition keys", KMS guide).
    """
    # Of other partitions it is not written how kms:ViaService names their services.
    via = {} if region.startswith(("cn-", "us-iso", "eu-iso", "eusc-")) else {
        "kms:viaservice": f"ec2.{region}.amazonaws.com"
    }  # fmt: skip
    read = _judged(statements, _USES, {**caller, **via, "kms:grantisforawsresource": None}, account=account)
    grant = _judged(statements, _GRANTS, {**caller, **via, "kms:grantisforawsresource": "true"}, account=account)
    return min(read, grant, key=lambda one: _WORST_FIRST.index(one.allowed))


_WORST_FIRST: tuple[_Answer, ...] = ("denied", "refused", "unnamed", "unknown", "allowed")


def _judged(
    statements: Sequence[Mapping[str, Any]], action: str, context: Mapping[str, str | None], *, account: str | None
) -> _Judged:
    """Whether statements allow a call. `context` has what is known, None of a key that the call does not carry."""
    denied: list[tuple[bool | None, tuple[str, ...]]] = []
    given: list[tuple[bool | None, tuple[str, ...]]] = []
    for one in statements:
        if not _is_about(one, action):
            continue
        denies = one.get("Effect") == "Deny"
        is_for = _is_for(one, account, denies=denies)
        if is_for is False:
            continue
        holds, conditions = _held(one, context)
        if is_for is None:
            holds, conditions = (None, (*conditions, "NotPrincipal")) if holds is not False else (False, conditions)
        (denied if denies else given).append((holds, conditions))
    for answer, found, wanted in (
        ("denied", denied, True), ("allowed", given, True), ("unknown", given, None), ("refused", given, False),
    ):  # fmt: skip
        some = next((conditions for holds, conditions in found if holds is wanted), None)
        if some is None:
            continue
        doubt = next((why for holds, why in denied if holds is None), None)
        if doubt is not None and answer == "allowed":
            return _Judged("unknown", action, doubt)
        return _Judged(cast("_Answer", answer), action, some if answer != "allowed" else ())
    return _Judged("unnamed", action)


def _is_about(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(matches(action.lower(), str(one).lower()) for one in several(statement["NotAction"]))
    return any(matches(action.lower(), str(one).lower()) for one in several(statement.get("Action", [])))


def _is_for(statement: Mapping[str, Any], account: str | None, *, denies: bool) -> bool | None:
    """Whether a statement is for an account, or for everybody; None where it is not known, as it says for whom not.

    What allows one role of an account allows somebody there to launch, and what denies it does not deny the account.
    """
    if "NotPrincipal" in statement:
        return None
    for one in map(str, _principals(statement.get("Principal", {}))):
        named = one.split(":")[4] if one.startswith("arn:") and one.count(":") > 4 else one
        if one == "*" or (
            account is not None and named == account and (not denies or one.endswith((account, ":root")))
        ):
            return True
    return False


def _held(statement: Mapping[str, Any], context: Mapping[str, str | None]) -> tuple[bool | None, tuple[str, ...]]:
    """Whether a statement's conditions hold, and those that do not, or else those of which it is not known."""
    failed: list[str] = []
    unknown: list[str] = []
    met: list[str] = []
    written = ((operator, *one) for operator, keys in statement.get("Condition", {}).items() for one in keys.items())
    for operator, key, values in written:
        said = visible(f"{operator} {key} {', '.join(map(str, several(values)))}")
        try:
            (met if holds_for(operator, context[key.lower()], several(values)) else failed).append(said)
        except (KeyError, NotImplementedError):
            unknown.append(said)
    if failed:
        return False, tuple(failed)
    return (None, tuple(unknown)) if unknown else (True, tuple(met))


def _is_readable(statement: Any) -> bool:
    """Whether a statement has the shape that statements have."""
    if not isinstance(statement, dict) or not isinstance(statement.get("Condition", {}), dict):
        return False
    return all(isinstance(keys, dict) for keys in statement.get("Condition", {}).values())


def _principals(said: Any) -> list[Any]:
    return several(said.get("AWS", [])) if isinstance(said, dict) else several(said)


def _account_in(grant: Mapping[str, Any]) -> str:
    """The account of a grant's grantee: `arn:aws:iam::222222222222:role/…`."""
    parts = str(grant.get("GranteePrincipal", "")).split(":")
    return parts[4] if len(parts) > 4 else ""


def _short(key: str) -> str:
    """A key's id, without what all ARNs of a region's keys begin with."""
    return key.rpartition("/")[2]
