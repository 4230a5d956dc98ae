"""The subnets that an instance may start in: those declared, or those of the default VPC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.errors import UserError
from reconciler.registry.instances.capacity import EC2_CHOOSES, Place

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_SUBNETS = "`smoke_test.subnets` in image.yaml"


@dataclass(frozen=True)
class Site:
    """One VPC, and the places in it in the order in which they are tried."""

    vpc: str
    places: tuple[Place, ...]


def find_site(ec2: EC2Client, subnets: Sequence[str], *, region: str) -> Site:
    """Read the site with one DescribeSubnets. Raises botocore's errors, and UserError where there is no such site."""
    return _declared(ec2, subnets) if subnets else _default(ec2, region)


def _declared(ec2: EC2Client, subnets: Sequence[str]) -> Site:
    found = {one["SubnetId"]: one for one in ec2.describe_subnets(SubnetIds=list(dict.fromkeys(subnets)))["Subnets"]}
    vpcs = sorted({one["VpcId"] for one in found.values()})
    if len(vpcs) > 1:
        # The security group is one VPC's.
        raise UserError(f"the subnets are of several VPCs: {', '.join(vpcs)}", mend=f"keep to one in {_SUBNETS}")
    return Site(vpcs[0], tuple(Place(name, found[name]["AvailabilityZone"]) for name in dict.fromkeys(subnets)))


def _default(ec2: EC2Client, region: str) -> Site:
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    if not found:
        raise UserError(
            f"there is no default VPC in {region} to boot in",
            mend=(f"name subnets: {_SUBNETS}", f"or make one: `aws ec2 create-default-vpc --region {region}`"),
        )
    by_zone = sorted(found, key=lambda one: one["AvailabilityZone"])
    return Site(
        by_zone[0]["VpcId"], (EC2_CHOOSES, *(Place(one["SubnetId"], one["AvailabilityZone"]) for one in by_zone))
    )
