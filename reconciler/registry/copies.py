"""Copies of an image in other regions, each as its original: CopyImage leaves out what was put on it afterwards.

CopyImage keeps what the image is made of: disks, architecture, boot mode, TPM, ENA. It leaves out tags (unless asked),
description, launch permissions and deprecation ("Copy an Amazon EC2 AMI", user guide, CopyingAMIs.html).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.model.declaration import AWS_PREFIX
from reconciler.model.errors import Terminal
from reconciler.model.observation import TAG_PREFIX
from reconciler.registry.errors import translated
from reconciler.registry.images import describe
from reconciler.registry.protocol import Located
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import ImageTypeDef, LaunchPermissionTypeDef, TagTypeDef


def copy(clients: Clients, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
    """Begin a CopyImage. See `Registry.copy`."""
    with translated(f"copying {source.id} from {source.location} to {to}"):
        ec2 = clients.ec2(source.location)
        original = _described(ec2, source)
        image_tags = {**foreign(original.get("Tags", ())), **tags}
        snapshot_tags = {**_shared_by_snapshots(ec2, source.snapshots), **tags}
        description = original.get("Description", "")
        answer = clients.ec2(to).copy_image(
            SourceImageId=source.id,
            SourceRegion=source.location,
            Name=name,
            Description=description,
            ClientToken=_client_token(
                token, source.location, source.id, to, name, description, image_tags, snapshot_tags
            ),
            # Given one by one: among the source's are ours, and its phase or verdict is not the copy's.
            CopyImageTags=False,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": as_list(image_tags)},
                {"ResourceType": "snapshot", "Tags": as_list(snapshot_tags)},
            ],
        )
    return answer["ImageId"]


def complete_copy(clients: Clients, made: Located, *, of: Located) -> None:
    """Give a copy what CopyImage left out. See `Registry.complete_copy`."""
    with translated(f"making {made.id} in {made.location} as {of.id} in {of.location} is"):
        source, ec2 = clients.ec2(of.location), clients.ec2(made.location)
        wanted = _permissions(source, of)
        given = _permissions(ec2, made) if wanted else []
        missing = [one for one in wanted if one not in given]
        if missing:
            ec2.modify_image_attribute(ImageId=made.id, LaunchPermission={"Add": missing})
        original, image = _described(source, of), _described(ec2, made)
        deprecation = original.get("DeprecationTime")
        if deprecation and image.get("DeprecationTime") != deprecation:
            ec2.enable_image_deprecation(ImageId=made.id, DeprecateAt=deprecation)
        if original.get("ImdsSupport") == "v2.0" != image.get("ImdsSupport"):
            ec2.modify_image_attribute(ImageId=made.id, ImdsSupport={"Value": "v2.0"})


def foreign(tags: Sequence[TagTypeDef]) -> dict[str, str]:
    """The tags that are neither ours nor AWS's own: the template's, and people's."""
    return {
        tag["Key"]: tag["Value"] for tag in tags if not tag["Key"].startswith((TAG_PREFIX, AWS_PREFIX))
    }  # fmt: skip


def as_list(tags: Mapping[str, str]) -> list[TagTypeDef]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _described(ec2: EC2Client, image: Located) -> ImageTypeDef:
    found = describe(ec2, image.id)
    if found is None:
        raise Terminal(f"{image.id} in {image.location} is gone")
    return found


def _shared_by_snapshots(ec2: EC2Client, ids: Sequence[str]) -> dict[str, str]:
    """The foreign tags that all of an image's snapshots carry: a copy's snapshots get one set of tags at birth."""
    if not ids:
        return {}
    # By filter, not by SnapshotIds: those make one missing snapshot an error.
    answer = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": list(ids)}])
    each = [foreign(snapshot.get("Tags", ())).items() for snapshot in answer["Snapshots"]]
    return dict(sorted(set.intersection(*map(set, each)))) if each else {}


def _permissions(ec2: EC2Client, image: Located) -> list[LaunchPermissionTypeDef]:
    """Who may launch an image beside its owner: accounts, organizations and their units, everybody."""
    return ec2.describe_image_attribute(ImageId=image.id, Attribute="launchPermission")["LaunchPermissions"]


def _client_token(*arguments: object) -> str:
    # 64 ASCII characters at most (CopyImage, API reference). With all arguments in it, a copy of a rebuilt or retagged
    # artifact is never refused with IdempotentParameterMismatch.
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
