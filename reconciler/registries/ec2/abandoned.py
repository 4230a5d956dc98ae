"""Leftovers of builds that were killed in an account: Packer's instances, key pairs, security groups and volumes.

Packer removes what it made for a build, unless it is killed. All of it carries what the template gives by `run_tags`
and `run_volume_tags` (amazon plugin, "Run configuration"), so the fleet's tag and the run's. That Packer made it its
names say: `packer_…` of keys and groups (ibid.), and `Packer Builder` of instances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.errors import translated
from reconciler.aws.session import Clients
from reconciler.model.collection import Abandoned
from reconciler.model.values import told_instant
from reconciler.registries.ec2.admission import PURPOSE_TAG, find_instances
from reconciler.registries.ec2.dismantle import REMOVAL_SECONDS, delete_group_once_free, delete_key, end, tagged
from reconciler.registries.ec2.images import FLEET_TAG, literal

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef

_RUN_TAG, _IMAGE_TAG = "reconciler:run", "reconciler:image"
_BUILDER = "Packer Builder"
_KEYS = "packer_"
_TAGGED = ("instance", "key-pair", "security-group", "volume")


def abandoned(clients: Clients, location: str, *, fleet: str, before: datetime) -> Sequence[Abandoned]:
    """List what builds left that began before a time, in the order of its removal. See `Registry.abandoned`.

    By one call where nothing of any build is there, else by five.
    """
    with translated(f"listing what builds left in {location}"):
        ec2 = clients.ec2(location)
        if not tagged(ec2, FLEET_TAG, fleet, kinds=_TAGGED):
            return []
        instances = [one for one in find_instances(ec2, _wanted(fleet)) if PURPOSE_TAG not in _tags(one)]
        keys = ec2.describe_key_pairs(Filters=_filters(fleet))["KeyPairs"]
        pages = ec2.get_paginator("describe_security_groups").paginate(Filters=_filters(fleet))
        groups = [group for page in pages for group in page["SecurityGroups"]]
        listed = ec2.get_paginator("describe_volumes").paginate(
            Filters=[*_filters(fleet), {"Name": "status", "Values": ["available", "in-use"]}]
        )
        volumes = [volume for page in listed for volume in page["Volumes"]]
    old = [one for one in instances if one["LaunchTime"] < before and _is_packers(one)]
    living = {_tags(one).get(_RUN_TAG) for one in instances if one not in old}
    old_keys = [
        one for one in keys
        if one["KeyName"].startswith(_KEYS) and PURPOSE_TAG not in _tags(one)
        and one.get("CreateTime", before) < before and _tags(one).get(_RUN_TAG) not in living
    ]  # fmt: skip
    dead = {_tags(one).get(_RUN_TAG) for one in (*old, *old_keys)} - living
    # EC2 tells of no group when it was made, and Packer gives no volume a name: they go with what their run left beside
    # them.
    old_groups = [
        one for one in groups
        if one["GroupName"].startswith(_KEYS) and PURPOSE_TAG not in _tags(one) and _tags(one).get(_RUN_TAG) in dead
    ]  # fmt: skip
    ids = {one["InstanceId"] for one in old}
    old_volumes = [
        one for one in volumes
        if one["CreateTime"] < before and PURPOSE_TAG not in _tags(one) and _tags(one).get(_RUN_TAG) in dead
        and all(at["InstanceId"] in ids and not at.get("DeleteOnTermination") for at in one.get("Attachments", ()))
    ]  # fmt: skip
    ending = [one for one in old if one["State"]["Name"] == "shutting-down"]
    # A key goes last: by it a later run knows what else a run that it can't ask left.
    return [
        *(
            _told("instance", location, one["InstanceId"], one, since=one["LaunchTime"])
            for one in old
            if one not in ending
        ),
        *(_told("volume", location, one["VolumeId"], one, since=one["CreateTime"]) for one in old_volumes),
        *(_told("security group", location, one["GroupId"], one) for one in old_groups),
        *(_told("key pair", location, one["KeyName"], one, since=one.get("CreateTime")) for one in old_keys),
    ]


def remove(clients: Clients, found: Sequence[Abandoned], *, clock: Clock, polling: Polling) -> Iterator[Abandoned]:
    """Remove these, and tell each that is removed. See `Registry.remove_abandoned`.

    Raises Transient when something holds a group for more than five minutes: what comes after it stays for a later run.
    """
    ended = [one.id for one in found if one.kind == "instance"]
    for one in found:
        with translated(f"removing the {one.kind} {one.id} in {one.location}"):
            ec2 = clients.ec2(one.location)
            if one.kind == "instance":
                end(ec2, one.id, clock=clock)
            elif one.kind == "volume":
                _delete_volume_once_free(ec2, one.id, clock=clock, polling=polling)
            elif one.kind == "security group":
                delete_group_once_free(ec2, one.id, ended, clock=clock, polling=polling)
            else:
                delete_key(ec2, one.id)
        yield one


def _delete_volume_once_free(ec2: EC2Client, volume: str, *, clock: Clock, polling: Polling) -> None:
    """Delete a volume once the instance that it is attached to has ended. One that is gone is no error."""
    began = clock.monotonic()
    for delay in polling.delays():
        try:
            ec2.delete_volume(VolumeId=volume)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidVolume.NotFound":
                return
            if code not in {"VolumeInUse", "IncorrectState"} or clock.monotonic() - began >= REMOVAL_SECONDS:
                raise
            clock.sleep(delay)
        else:
            return


def _wanted(fleet: str) -> Mapping[str, Sequence[str]]:
    return {f"tag:{FLEET_TAG}": [literal(fleet)], "tag-key": [_RUN_TAG]}


def _filters(fleet: str) -> list[FilterTypeDef]:
    return [{"Name": name, "Values": list(values)} for name, values in _wanted(fleet).items()]


def _tags(one: Mapping[str, Any]) -> Mapping[str, str]:
    return {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}


def _is_packers(one: Mapping[str, Any]) -> bool:
    return str(one.get("KeyName", "")).startswith(_KEYS) or _tags(one).get("Name") == _BUILDER


def _told(
    kind: str, location: str, identifier: str, one: Mapping[str, Any], *, since: datetime | None = None
) -> Abandoned:
    tags = _tags(one)
    return Abandoned(
        image=tags.get(_IMAGE_TAG, ""),
        kind=kind,
        location=location,
        id=identifier,
        run=tags[_RUN_TAG],
        since=told_instant(since) or None,
    )
