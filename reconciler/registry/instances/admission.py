"""Who is let in to an instance: whoever has its key, from where the declaration says, over SSH and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from reconciler.model.errors import UserError
from reconciler.registry.clock import Clock
from reconciler.registry.instances.settling import settled
from reconciler.registry.instances.ssh_key import SshKey

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import TagTypeDef

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
            mend="`smoke_test.allow_from` in image.yaml takes blocks such as 203.0.113.0/24",
        ) from error
