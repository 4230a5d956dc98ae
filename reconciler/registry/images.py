"""An image as EC2 describes it, turned into an artifact seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.model.observation import Seen, State
from reconciler.registry.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import ImageTypeDef

KIND = "ami"
PAGE = 1000
"""The most that DescribeImages returns at once."""

GONE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})
"""Unavailable is what EC2 says of an image that was deregistered a while ago."""

_STATES: Mapping[str, State] = {
    "available": "available",
    "pending": "pending",
    "transient": "pending",
    "failed": "failed",
    "error": "failed",
}
"""EC2's other states (invalid, deregistered, disabled) are of images that exist and can't be launched."""


def seen(image: ImageTypeDef, location: str) -> Seen:
    """The artifact that EC2 describes. Plain lookups: it runs once for every image of the fleet in every plan."""
    return Seen(
        kind=KIND,
        location=location,
        id=image["ImageId"],
        name=image.get("Name", ""),
        state=_STATES.get(image["State"], "unusable"),
        created=instant(image.get("CreationDate", "")),
        tags={tag["Key"]: tag["Value"] for tag in image.get("Tags", ())},
        snapshots=snapshots(image),
        copy_of=copied_from(image),
    )


def snapshots(image: ImageTypeDef) -> tuple[str, ...]:
    """The EBS snapshots behind an image, in order of its devices; none for one that is stored in S3."""
    return tuple(
        mapping["Ebs"]["SnapshotId"]
        for mapping in image.get("BlockDeviceMappings", ())
        if "SnapshotId" in mapping.get("Ebs", ())
    )


def copied_from(image: ImageTypeDef) -> tuple[str, str] | None:
    """The region and id that CopyImage made an image from.

    CreateImage names a source as well, that of an instance which anybody may have changed, and the instance with it
    (DescribeImages, API reference).
    """
    region, source = image.get("SourceImageRegion"), image.get("SourceImageId")
    return (region, source) if region and source and not image.get("SourceInstanceId") else None


def instant(creation_date: str) -> str:
    """EC2's `2026-11-22T10:15:30.000Z` in whole seconds: `2026-11-22T10:15:30Z`. Empty stays empty."""
    return f"{creation_date[:19]}Z" if creation_date else ""


def describe(ec2: EC2Client, image_id: str) -> ImageTypeDef | None:
    """One image by id, whoever owns it; None if there is none. Raises botocore's errors.

    For a while after it was deregistered EC2 answers with an empty list, or with the state `deregistered`, and only
    later with InvalidAMIID.NotFound (DescribeImages, API reference).
    """
    try:
        images = ec2.describe_images(ImageIds=[image_id], IncludeDeprecated=True, IncludeDisabled=True)["Images"]
    except ClientError as error:
        if code_of(error) in GONE:
            return None
        raise
    return next((image for image in images if image["State"] != "deregistered"), None)
