"""AMIs of a made-up fleet, put into the sandbox's EC2 by bare boto3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3

from reconciler.model.lockfile import Artifact
from reconciler.sandbox.handle import Sandbox
from tests.bench.fleet import REGIONS, Unborn

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def environment(sandbox: Sandbox) -> dict[str, str]:
    """What a client exports to reach the sandbox over plain HTTP, as the floor and the plan do alike."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED")
    return {"AWS_ENDPOINT_URL": sandbox.endpoint, **{name: sandbox.environment[name] for name in names}}


def publish(sandbox: Sandbox, unborn: Sequence[Unborn]) -> Mapping[tuple[str, str], Artifact]:
    """Make these AMIs in the sandbox: one is registered in each region and copied, as copies carry tags from birth."""
    session = boto3.Session(
        aws_access_key_id=sandbox.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=sandbox.environment["AWS_SECRET_ACCESS_KEY"],
    )
    clients = {region: session.client("ec2", region_name=region, endpoint_url=sandbox.endpoint) for region in REGIONS}

    def fill(region: str) -> list[Artifact]:
        return _fill(clients[region], region, [one for one in unborn if one.region == region])

    with ThreadPoolExecutor(max_workers=len(REGIONS)) as pool:
        made = [artifact for some in pool.map(fill, REGIONS) for artifact in some]
    return {(artifact.location, artifact.name or ""): artifact for artifact in made}


def _fill(ec2: EC2Client, region: str, unborn: Sequence[Unborn]) -> list[Artifact]:
    seed = ec2.register_image(Name="seed", RootDeviceName="/dev/xvda", VirtualizationType="hvm")["ImageId"]
    for one in unborn:
        ec2.copy_image(
            SourceImageId=seed,
            SourceRegion=region,
            Name=one.name,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": [{"Key": key, "Value": value} for key, value in one.tags.items()]}
            ],
        )
    pages = ec2.get_paginator("describe_images").paginate(Owners=["self"], PaginationConfig={"PageSize": 1000})
    return [
        Artifact(
            kind="ami",
            builder="amazon-ebs.image",
            location=region,
            id=image["ImageId"],
            name=image["Name"],
            parts=tuple(mapping["Ebs"]["SnapshotId"] for mapping in image["BlockDeviceMappings"]),
        )
        for page in pages
        for image in page["Images"]
        if image["ImageId"] != seed
    ]
