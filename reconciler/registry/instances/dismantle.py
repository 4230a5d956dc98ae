"""The end of an instance and of all that was made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.model.errors import Transient
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.errors import code_of
from reconciler.registry.instances.living import living
from reconciler.registry.instances.settling import settled

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PATIENCE = 300.0
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
        _delete_group_once_free(ec2, group, instances, clock=clock, polling=polling)


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
    return known or [one["InstanceId"] for one in living(ec2, {"key-name": [parts.name]})]


def _groups(ec2: EC2Client, parts: Parts) -> list[str]:
    if parts.security_group:
        return [parts.security_group]
    found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [parts.name]}])
    return [one["GroupId"] for one in found["SecurityGroups"]]


def _delete_group_once_free(
    ec2: EC2Client, group: str, instances: Sequence[str], *, clock: Clock, polling: Polling
) -> None:
    began = clock.monotonic()
    for delay in polling.delays():
        waited = clock.monotonic() - began
        held = bool(instances) and bool(living(ec2, {"instance-id": instances}))
        if not held and delete_group(ec2, group):
            return
        if waited >= PATIENCE:
            user = f"{', '.join(instances)} is still ending" if held else "something still uses it"
            raise Transient(
                f"security group {group} is not removed after {PATIENCE:.0f} s: {user}",
                mend="a later run sweeps it",
            )
        clock.sleep(min(delay, PATIENCE - waited))
