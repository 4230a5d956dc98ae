"""What killed runs left of smoke tests, and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.registry.clock import Clock
from reconciler.registry.errors import translated
from reconciler.registry.instances.dismantle import delete_group, delete_key, end
from reconciler.registry.instances.living import living
from reconciler.registry.instances.tags import PURPOSE, PURPOSE_TAG, is_due
from reconciler.registry.observe import FLEET_TAG, literal
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

_KINDS = ("instance", "key-pair", "security-group")


@dataclass(frozen=True)
class Leftovers:
    """What has had its time: ids of instances, names of key pairs, ids of security groups."""

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
    """Read what has had its time: one call where there is nothing of any smoke test, else four.

    What a living instance uses stays with it, whatever its own time: somebody keeps it, or it is still ending.
    Raises botocore's errors.
    """
    if not _is_anything_there(ec2):
        return Leftovers()
    ours = {f"tag:{FLEET_TAG}": [literal(fleet)], f"tag:{PURPOSE_TAG}": [PURPOSE]}
    instances = living(ec2, ours)
    filters: list[FilterTypeDef] = [{"Name": name, "Values": values} for name, values in ours.items()]
    key_pairs = ec2.describe_key_pairs(Filters=filters)["KeyPairs"]
    pages = ec2.get_paginator("describe_security_groups").paginate(Filters=filters)
    groups = [group for page in pages for group in page["SecurityGroups"]]
    used = {one.get("KeyName") for one in instances}
    used |= {group["GroupId"] for one in instances for group in one["SecurityGroups"]}

    def had_its_time(tags: Sequence[TagTypeDef]) -> bool:
        return is_due(tags, fleet=fleet, now=now)

    return Leftovers(
        instances=tuple(
            one["InstanceId"]
            for one in instances
            if had_its_time(one.get("Tags", ())) and one["State"]["Name"] != "shutting-down"
        ),
        key_pairs=tuple(
            one["KeyName"] for one in key_pairs if had_its_time(one.get("Tags", ())) and one["KeyName"] not in used
        ),
        security_groups=tuple(
            one["GroupId"] for one in groups if had_its_time(one.get("Tags", ())) and one["GroupId"] not in used
        ),
    )


def _is_anything_there(ec2: EC2Client) -> bool:
    """By tags, which one call reads for instances, key pairs and groups alike."""
    answer = ec2.describe_tags(
        Filters=[
            {"Name": "key", "Values": [PURPOSE_TAG]},
            {"Name": "value", "Values": [PURPOSE]},
            {"Name": "resource-type", "Values": _KINDS},
        ],
    )
    # EC2 may give a page without a tag and with a token for more.
    return bool(answer["Tags"] or answer.get("NextToken"))
