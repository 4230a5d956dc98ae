"""Instances that are there, by filter: an id that EC2 does not know is then no error, and nothing is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

_NOT_YET_GONE = ("pending", "running", "shutting-down", "stopping", "stopped")


def living(ec2: EC2Client, wanted: Mapping[str, Sequence[str]]) -> list[InstanceTypeDef]:
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
