"""What is changed in EC2: tags, copies in other regions, and what is retired."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from tenacity import retry_if_exception

from reconciler.aws.clock import SETTLING, Clock, asking_again
from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.care import soon
from reconciler.model.errors import Terminal
from reconciler.model.observation import TAG_PREFIX, Seen, is_ours
from reconciler.model.values import told_moment
from reconciler.ports.registry import Located, Remains
from reconciler.registries.ec2.care import permissions
from reconciler.registries.ec2.dialect import AMI
from reconciler.registries.ec2.images import FLEET_TAG, GONE, describe, seen

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import ImageTypeDef, TagTypeDef


# Copies of an image in other regions, each as its original: CopyImage leaves out what was put on it afterwards.
#
# CopyImage keeps what the image is made of: disks, architecture, boot mode, TPM, ENA. It leaves out tags (unless
# asked), description, launch permissions and deprecation ("Copy an Amazon EC2 AMI", user guide, CopyingAMIs.html).


def copy(clients: Clients, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
    """Begin a CopyImage. See `Registry.copy`."""
    with translated(f"copying {source.id} from {source.location} to {to}"):
        ec2 = clients.ec2(source.location)
        original = _described(ec2, source)
        image_tags = {**foreign(original.get("Tags", ())), **tags}
        part_tags = {**_shared_by_snapshots(ec2, source.parts), **tags}
        description = original.get("Description", "")
        answer = clients.ec2(to).copy_image(
            SourceImageId=source.id,
            SourceRegion=source.location,
            Name=name,
            Description=description,
            ClientToken=_client_token(token, source.location, source.id, to, name, description, image_tags, part_tags),
            # Given one by one: among the source's are ours, and its phase or verdict is not the copy's.
            CopyImageTags=False,
            TagSpecifications=[
                {"ResourceType": "image", "Tags": as_list(image_tags)},
                {"ResourceType": "snapshot", "Tags": as_list(part_tags)},
            ],
        )
    return answer["ImageId"]


def complete_copy(clients: Clients, made: Located, *, of: Located, now: datetime) -> None:
    """Give a copy what CopyImage left out. See `Registry.complete_copy`."""
    with translated(f"making {made.id} in {made.location} as {of.id} in {of.location} is"):
        source, ec2 = clients.ec2(of.location), clients.ec2(made.location)
        wanted = permissions(source, of)
        given = permissions(ec2, made) if wanted else []
        missing = [one for one in wanted if one not in given]
        if missing:
            ec2.modify_image_attribute(ImageId=made.id, LaunchPermission={"Add": missing})
        original, image = _described(source, of), _described(ec2, made)
        deprecation, there = original.get("DeprecationTime"), image.get("DeprecationTime")
        if (since := told_moment(deprecation)) is not None and since <= now:
            if not there:  # EC2 takes no date that is past
                ec2.enable_image_deprecation(ImageId=made.id, DeprecateAt=soon(now))
        elif deprecation and there != deprecation:
            ec2.enable_image_deprecation(ImageId=made.id, DeprecateAt=deprecation)
        if original.get("ImdsSupport") == "v2.0" != image.get("ImdsSupport"):
            ec2.modify_image_attribute(ImageId=made.id, ImdsSupport={"Value": "v2.0"})


def foreign(tags: Sequence[TagTypeDef]) -> dict[str, str]:
    """The tags that are neither ours nor AWS's own: the template's, and people's."""
    return {
        tag["Key"]: tag["Value"] for tag in tags if not (is_ours(tag["Key"]) or tag["Key"].startswith(AMI.reserved))
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


def _client_token(*arguments: object) -> str:
    # 64 ASCII characters at most (CopyImage, API reference). With all arguments in it, a copy of a rebuilt or retagged
    # artifact is never refused with IdempotentParameterMismatch.
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()


# Tags, and what is retired.

_MOST_RESOURCES = 1000  # in one CreateTags (EC2 API reference)
_IMAGE_TAG = f"{TAG_PREFIX}image"


def tag(clients: Clients, artifact: Located, tags: Mapping[str, str], *, clock: Clock) -> None:
    """Set tags with one CreateTags. See `Registry.tag`."""
    tag_all(clients, artifact.location, [artifact], tags, clock=clock)


def tag_all(
    clients: Clients, location: str, artifacts: Sequence[Located], tags: Mapping[str, str], *, clock: Clock
) -> None:
    """Set tags with one CreateTags for every thousand resources. See `Registry.tag_all`."""
    resources = [one for artifact in artifacts for one in (artifact.id, *artifact.parts)]
    named = artifacts[0].id if len(artifacts) == 1 else f"{len(artifacts)} artifacts"
    retrying = asking_again(retry_if_exception(_is_not_found), patience=SETTLING, clock=clock)
    for start in range(0, len(resources) if tags else 0, _MOST_RESOURCES):
        with translated(f"tagging {named} in {location}"):
            retrying(
                clients.ec2(location).create_tags,
                Resources=resources[start : start + _MOST_RESOURCES], Tags=as_list(tags),
            )  # fmt: skip


def _is_not_found(error: BaseException) -> bool:
    """Whether it may be too early: what was made moments ago, or its snapshot, is not known to CreateTags yet.

    `InvalidID` is what CreateTags says of resources of several kinds (EC2 API reference, error codes).
    """
    return isinstance(error, ClientError) and code_of(error) in {*GONE, "InvalidSnapshot.NotFound", "InvalidID"}


def retire(clients: Clients, artifact: Located, *, fleet: str, image: str) -> Remains:
    """Deregister an image and delete its snapshots. See `Registry.retire`.

    A snapshot goes only if it carries the tags itself: whoever registers an image names any snapshot of the account. A
    run that was killed between the two left snapshots without an image. They are known from the record then.
    """
    with translated(f"retiring {artifact.id} in {artifact.location}"):
        ec2 = clients.ec2(artifact.location)
        described = describe(ec2, artifact.id)
        if described is None:
            behind: tuple[str, ...] = ()
            doomed = _tagged_snapshots(ec2, artifact.parts, fleet=fleet, image=image)
        else:
            found = seen(described, artifact.location)
            _refuse_foreign(found.tags, what=f"{artifact.id} in {artifact.location}", fleet=fleet, image=image)
            _refuse_protected(found)
            behind = found.parts
            doomed = _tagged_snapshots(ec2, behind, fleet=fleet, image=image)
            _deregister(ec2, artifact.id)
        in_use = [snapshot for snapshot in doomed if not _delete_snapshot(ec2, snapshot)]
        return Remains((*(snapshot for snapshot in behind if snapshot not in doomed), *in_use))


def _refuse_foreign(tags: Mapping[str, str], *, what: str, fleet: str, image: str) -> None:
    for key, wanted in ((FLEET_TAG, fleet), (_IMAGE_TAG, image)):
        found = tags.get(key)
        if found != wanted:
            raise Terminal(
                f"{what} is not retired: its tag {key} is {found!r}, not {wanted!r}",
                hint="if it is yours to delete, set the tag, or deregister it by hand",
            )


def _refuse_protected(found: Seen) -> None:
    """Raise Terminal for what EC2 would refuse to deregister, before anything of it is done.

    A protection that was made with a cooldown lasts for 24 hours after it is switched off
    (EnableImageDeregistrationProtection, API reference).
    """
    if found.protection:
        raise Terminal(
            f"{found.id} in {found.location} is not retired: EC2 says of its deregistration protection: "
            f"{found.protection}",
            hint="switch it off (`aws ec2 disable-image-deregistration-protection`); with a cooldown, 24 hours before",
        )


def _deregister(ec2: EC2Client, image_id: str) -> None:
    try:
        ec2.deregister_image(ImageId=image_id)
    except ClientError as error:
        if code_of(error) not in GONE:
            raise


def _tagged_snapshots(ec2: EC2Client, ids: Sequence[str], *, fleet: str, image: str) -> tuple[str, ...]:
    if not ids:
        return ()
    # By filter, not by SnapshotIds: those make one missing snapshot an error.
    answer = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": list(ids)}])
    wanted = {FLEET_TAG: fleet, _IMAGE_TAG: image}.items()
    return tuple(
        one["SnapshotId"]
        for one in answer["Snapshots"]
        if wanted <= {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}.items()
    )


def _delete_snapshot(ec2: EC2Client, snapshot: str) -> bool:
    """Delete a snapshot; False if it stays because another image or a volume is made from it."""
    try:
        ec2.delete_snapshot(SnapshotId=snapshot)
    except ClientError as error:
        match code_of(error):
            case "InvalidSnapshot.InUse":
                return False
            case "InvalidSnapshot.NotFound":
                return True
            case _:
                raise
    return True
