"""Who is let in to an instance: its key, its security group, the tags on both, and EC2's patience."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from reconciler.aws.clock import Clock
from reconciler.aws.errors import code_of
from reconciler.model.errors import UserError
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.values import format_instant, parse_instant
from reconciler.ports.bench import LIFE
from reconciler.registries.ec2.images import FLEET_TAG, literal
from reconciler.registries.machines import SshKey

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef, TagTypeDef


# The keys that instances are logged in to with.
#
# That of a test is made here: AWS is given the public half, and the private one never leaves this machine. EC2's
# CreateKeyPair would make the private key at AWS and send it over; ImportKeyPair needs no such trust, and nothing
# secret is in an answer that a debug log could hold. By a library and not by `ssh-keygen`, so that no process is run.

_PAUSES = (1, 2, 4, 8)
"""Seconds."""


def public_half(ec2: EC2Client, name: str, *, since: datetime, clock: Clock) -> str | None:
    """The public half of a key pair as EC2 has it, a line of authorized_keys; None of one that is older, or not there.

    One that was made a moment ago may not be listed yet, so it is asked for a few times. Raises botocore's errors.
    """
    for pause in (*_PAUSES, None):
        # By filter: by KeyNames a pair that is not listed yet would be an error.
        answer = ec2.describe_key_pairs(
            Filters=[{"Name": "key-name", "Values": [literal(name)]}], IncludePublicKey=True
        )  # fmt: skip
        for one in answer["KeyPairs"]:
            if one["KeyName"] == name:
                return one.get("PublicKey") if one["CreateTime"] >= since else None
        if pause is not None:
            clock.sleep(pause)
    return None


# The tags on what is made for a smoke test: whose it is, what for, and until when it may stay.

PURPOSE_TAG = f"{TAG_PREFIX}purpose"
PURPOSE = "smoke-test"
KEEP_TAG = f"{TAG_PREFIX}keep-until"


_NAMED = re.compile(rf"{PURPOSE}-.+-[0-9a-f]{{8}}")


def name_of(boot: str, key: SshKey) -> str:
    """The name of the key pair and the group of a boot. No two meet in it, as it has a mark of the key."""
    return f"{PURPOSE}-{boot}-{key.mark}"


def is_name(name: str) -> bool:
    """Whether something has such a name. It got that when it was made: a tag may have been put on since, by anybody."""
    return _NAMED.fullmatch(name) is not None


def at_birth(tags: Mapping[str, str], *, name: str, fleet: str, now: datetime) -> list[TagTypeDef]:
    """The run's own tags with ours. Everything has its end written on it: a security group knows no birthday."""
    own = {FLEET_TAG: fleet, PURPOSE_TAG: PURPOSE, KEEP_TAG: format_instant(now + LIFE)}
    return [{"Key": key, "Value": value} for key, value in {"Name": name, **tags, **own}.items()]


def is_due(tags: Sequence[TagTypeDef], *, fleet: str, now: datetime) -> bool:
    """Whether something is this fleet's, was made for a smoke test, and is expired.

    What has no time written on it, or one that can't be read (`for ever`), somebody has taken over: it stays.
    """
    held = {tag["Key"]: tag["Value"] for tag in tags}
    if held.get(FLEET_TAG) != fleet or held.get(PURPOSE_TAG) != PURPOSE:
        return False
    try:
        return parse_instant(held.get(KEEP_TAG, "")) < now
    except ValueError:
        return False


# Patience with what was made a moment ago: EC2 may not know it yet (EC2 developer guide, "Eventual consistency").

_TRIES = 5
"""With a pause of 1, 2, 4 and 8 seconds between them."""

_Result = TypeVar("_Result")


def settled(act: Callable[[], _Result], *, not_yet: Collection[str], clock: Clock) -> _Result:
    """Do something that needs what is new. The codes in `not_yet` are believed only after five tries."""

    def too_early(error: BaseException) -> bool:
        return isinstance(error, ClientError) and code_of(error) in not_yet

    return Retrying(
        retry=retry_if_exception(too_early),
        wait=wait_exponential(max=8),
        stop=stop_after_attempt(_TRIES),
        sleep=clock.sleep,
        reraise=True,
    )(act)


# Who is let in to an instance: whoever has its key, from where the declaration says, over SSH and nothing else.

Network = IPv4Network | IPv6Network
_SSH = 22
# EC2 takes no apostrophe here (CreateSecurityGroup, API reference), and moto takes anything.
_DESCRIPTION = "Lets the smoke test of reconciler in. Removed when it ends."


def networks(blocks: Sequence[str]) -> tuple[Network, ...]:
    """Read CIDR blocks; an address alone is a block of one. Raises UserError for what is none."""
    return tuple(_network(block) for block in dict.fromkeys(blocks))


def import_key(ec2: EC2Client, key: SshKey, *, name: str, tags: Sequence[TagTypeDef]) -> None:
    """Make a key pair of a public key. Raises botocore's errors."""
    ec2.import_key_pair(
        KeyName=name,
        PublicKeyMaterial=key.public,
        TagSpecifications=[{"ResourceType": "key-pair", "Tags": tags}],
    )


def open_group(
    ec2: EC2Client, vpc: str, *, name: str, allow_from: Sequence[Network], tags: Sequence[TagTypeDef], clock: Clock
) -> str:
    """Make a security group that lets SSH in, and everything out as all new groups do; return its id.

    Raises botocore's errors. What was made then is found by its name.
    """
    group = ec2.create_security_group(
        GroupName=name,
        Description=_DESCRIPTION,
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
    )["GroupId"]
    settled(
        lambda: ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": _SSH,
                    "ToPort": _SSH,
                    "IpRanges": [{"CidrIp": str(one)} for one in allow_from if one.version == 4],
                    "Ipv6Ranges": [{"CidrIpv6": str(one)} for one in allow_from if one.version == 6],
                }
            ],
        ),
        not_yet=("InvalidGroup.NotFound",),
        clock=clock,
    )
    return group


def _network(block: str) -> Network:
    try:
        # Bits beyond the mask (10.1.2.3/8) EC2 would drop just so.
        return ip_network(block, strict=False)
    except ValueError as error:
        raise UserError(
            f"{block!r} is no block of addresses",
            hint="`smoke_test.allow_from` in image.yaml takes blocks such as 203.0.113.0/24",
        ) from error


# Instances that are there, by filter: an id that EC2 does not know is then no error, and nothing is found.

_NOT_YET_GONE = ("pending", "running", "shutting-down", "stopping", "stopped")


def find_instances(ec2: EC2Client, wanted: Mapping[str, Sequence[str]]) -> list[InstanceTypeDef]:
    """Every instance that is not yet terminated and matches the filters, such as `{"key-name": […]}`.

    Until it is terminated an instance holds its security group. Raises botocore's errors.
    """
    asked = {**wanted, "instance-state-name": _NOT_YET_GONE}
    pages = ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": list(values)} for name, values in asked.items()]
    )
    return [one for page in pages for held in page["Reservations"] for one in held["Instances"]]


def look_up(ec2: EC2Client, instance_id: str) -> InstanceTypeDef | None:
    """One instance in whatever state; None where EC2 knows none, as for the first moments and an hour after its end."""
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])["Reservations"]
    return found[0]["Instances"][0] if found else None
