"""The end of an instance and of all that was made for it, also where the run was killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.errors import Transient
from reconciler.registries.ec2.admission import PURPOSE, PURPOSE_TAG, find_instances, is_due, is_name, settled
from reconciler.registries.ec2.images import FLEET_TAG, literal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef


REMOVAL_SECONDS = 300.0
"""Seconds for an instance to end. Most take less than one minute."""
_UNKNOWN_INSTANCE = "InvalidInstanceID.NotFound"
_UNKNOWN_GROUP = ("InvalidGroup.NotFound", "InvalidGroupId.NotFound")
_GROUP_IN_USE = ("DependencyViolation", "InvalidGroup.InUse")


@dataclass(frozen=True)
class Parts:
    """What one boot made. `name` is that of the key pair and of the group; ids are there once EC2 has told them."""

    name: str
    private_key: Path
    instance: str | None = None
    security_group: str | None = None


def dismantle(ec2: EC2Client, parts: Parts, *, clock: Clock, polling: Polling) -> None:
    """End and remove what there is of them. Idempotent. What matters most comes first, and waits for nothing.

    Raises botocore's errors, and Transient when the instance holds its security group for more than five minutes:
    the sweep of a later run removes that.
    """
    try:
        instances = _instances(ec2, parts)
        for instance in instances:
            end(ec2, instance, clock=clock)
    finally:
        delete_key(ec2, parts.name)
        parts.private_key.unlink(missing_ok=True)
    for group in _groups(ec2, parts):
        delete_group_once_free(ec2, group, instances, clock=clock, polling=polling)


def end(ec2: EC2Client, instance_id: str, *, clock: Clock) -> None:
    """Terminate an instance. One that EC2 does not know is no error, once it has said so for some seconds."""
    try:
        settled(
            lambda: ec2.terminate_instances(InstanceIds=[instance_id]), not_yet=(_UNKNOWN_INSTANCE,), clock=clock
        )  # fmt: skip
    except ClientError as error:
        if code_of(error) != _UNKNOWN_INSTANCE:
            raise


def delete_key(ec2: EC2Client, name: str) -> None:
    """Delete a key pair. EC2 takes one that is not there for deleted; moto and older endpoints may not."""
    try:
        ec2.delete_key_pair(KeyName=name)
    except ClientError as error:
        if code_of(error) != "InvalidKeyPair.NotFound":
            raise


def delete_group(ec2: EC2Client, group: str) -> bool:
    """Delete a security group; False if it stays because something still uses it."""
    try:
        ec2.delete_security_group(GroupId=group)
    except ClientError as error:
        code = code_of(error)
        if code in _GROUP_IN_USE:
            return False
        if code not in _UNKNOWN_GROUP:
            raise
    return True


def _instances(ec2: EC2Client, parts: Parts) -> list[str]:
    # The answer of RunInstances may have been lost. Nothing else was ever started with this key.
    known = [parts.instance] if parts.instance else []
    return known or [one["InstanceId"] for one in find_instances(ec2, {"key-name": [parts.name]})]


def _groups(ec2: EC2Client, parts: Parts) -> list[str]:
    if parts.security_group:
        return [parts.security_group]
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [parts.name]}])
    return [one["GroupId"] for one in found["SecurityGroups"]]


def delete_group_once_free(
    ec2: EC2Client, group: str, instances: Sequence[str], *, clock: Clock, polling: Polling
) -> None:
    """Delete a security group once these instances, which have it, are gone.

    Raises botocore's errors, and Transient when something still holds it after five minutes.
    """
    began = clock.monotonic()
    for delay in polling.delays():
        waited = clock.monotonic() - began
        held = bool(instances) and bool(find_instances(ec2, {"instance-id": instances}))
        if not held and delete_group(ec2, group):
            return
        if waited >= REMOVAL_SECONDS:
            user = f"{', '.join(instances)} is still ending" if held else "something still uses it"
            raise Transient(
                f"security group {group} is not removed after {REMOVAL_SECONDS:.0f} s: {user}",
                hint="a later run sweeps it",
            )
        clock.sleep(min(delay, REMOVAL_SECONDS - waited))


# What killed runs left of smoke tests, and its removal.

_KINDS = ("instance", "key-pair", "security-group")


@dataclass(frozen=True)
class Leftovers:
    """Expired test resources: ids of instances, names of key pairs, ids of security groups."""

    instances: tuple[str, ...] = ()
    key_pairs: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


def sweep(clients: Clients, location: str, *, fleet: str, now: datetime, clock: Clock) -> Sequence[str]:
    """Remove leftovers. See `Instances.sweep`. Everything is read before anything is removed."""
    with translated(f"sweeping {location} for what smoke tests left"):
        ec2 = clients.ec2(location)
        found = find(ec2, fleet=fleet, now=now)
        for instance in found.instances:
            end(ec2, instance, clock=clock)
        for name in found.key_pairs:
            delete_key(ec2, name)
        for group in found.security_groups:
            delete_group(ec2, group)  # one that a dying interface still holds is there for the next sweep
    return found.instances


def find(ec2: EC2Client, *, fleet: str, now: datetime) -> Leftovers:
    """Find the expired resources of smoke tests: by one call where there are none of any, else by four.

    What an instance uses that still exists stays with it, expired or not: it is kept on purpose, or is still ending.
    Raises botocore's errors.
    """
    if not tagged(ec2, PURPOSE_TAG, PURPOSE, kinds=_KINDS):
        return Leftovers()
    ours = {f"tag:{FLEET_TAG}": [literal(fleet)], f"tag:{PURPOSE_TAG}": [PURPOSE]}
    instances = find_instances(ec2, ours)
    filters: list[FilterTypeDef] = [{"Name": name, "Values": values} for name, values in ours.items()]
    key_pairs = ec2.describe_key_pairs(Filters=filters)["KeyPairs"]
    pages = ec2.get_paginator("describe_security_groups").paginate(Filters=filters)
    groups = [group for page in pages for group in page["SecurityGroups"]]
    used = {one.get("KeyName") for one in instances}
    used |= {group["GroupId"] for one in instances for group in one["SecurityGroups"]}

    def had_its_time(name: str, tags: Sequence[TagTypeDef]) -> bool:
        return is_name(name) and is_due(tags, fleet=fleet, now=now)

    return Leftovers(
        instances=tuple(
            one["InstanceId"]
            for one in instances
            if had_its_time(one.get("KeyName", ""), one.get("Tags", ())) and one["State"]["Name"] != "shutting-down"
        ),
        key_pairs=tuple(
            one["KeyName"]
            for one in key_pairs
            if had_its_time(one["KeyName"], one.get("Tags", ())) and one["KeyName"] not in used
        ),
        security_groups=tuple(
            one["GroupId"]
            for one in groups
            if had_its_time(one["GroupName"], one.get("Tags", ())) and one["GroupId"] not in used
        ),
    )


def tagged(ec2: EC2Client, key: str, value: str, *, kinds: Sequence[str]) -> bool:
    """Whether anything of these kinds carries a tag, which one call tells. Raises botocore's errors."""
    answer = ec2.describe_tags(
        Filters=[
            {"Name": "key", "Values": [key]},
            {"Name": "value", "Values": [literal(value)]},
            {"Name": "resource-type", "Values": list(kinds)},
        ],
    )
    # EC2 may give a page without a tag and with a token for more.
    return bool(answer["Tags"] or answer.get("NextToken"))
