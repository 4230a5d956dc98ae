"""What is changed in EC2: tags, and what is retired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from tenacity import retry_if_exception

from reconciler.model.errors import Terminal
from reconciler.model.observation import TAG_PREFIX
from reconciler.registry.clock import SETTLING, Clock, asking_again
from reconciler.registry.copies import as_list
from reconciler.registry.errors import code_of, translated
from reconciler.registry.images import GONE, describe, seen
from reconciler.registry.observe import FLEET_TAG
from reconciler.registry.protocol import Located
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_MOST_RESOURCES = 1000  # in one CreateTags (EC2 API reference)
_IMAGE_TAG = f"{TAG_PREFIX}image"


def tag(clients: Clients, artifact: Located, tags: Mapping[str, str], *, clock: Clock) -> None:
    """Set tags with one CreateTags. See `Registry.tag`."""
    tag_all(clients, artifact.location, [artifact], tags, clock=clock)


def tag_all(
    clients: Clients, location: str, artifacts: Sequence[Located], tags: Mapping[str, str], *, clock: Clock
) -> None:
    """Set tags with one CreateTags for every thousand resources. See `Registry.tag_all`."""
    resources = [one for artifact in artifacts for one in (artifact.id, *artifact.snapshots)]
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


def retire(clients: Clients, artifact: Located, *, fleet: str, image: str) -> tuple[str, ...]:
    """Deregister an image and delete its snapshots. See `Registry.retire`.

    A snapshot goes only if it carries the tags itself: whoever registers an image names any snapshot of the account. A
    run that was killed between the two left snapshots without an image. They are known from the record then.
    """
    with translated(f"retiring {artifact.id} in {artifact.location}"):
        ec2 = clients.ec2(artifact.location)
        described = describe(ec2, artifact.id)
        if described is None:
            behind: tuple[str, ...] = ()
            doomed = _tagged_snapshots(ec2, artifact.snapshots, fleet=fleet, image=image)
        else:
            found = seen(described, artifact.location)
            _refuse_foreign(found.tags, what=f"{artifact.id} in {artifact.location}", fleet=fleet, image=image)
            behind = found.snapshots
            doomed = _tagged_snapshots(ec2, behind, fleet=fleet, image=image)
            _deregister(ec2, artifact.id)
        in_use = [snapshot for snapshot in doomed if not _delete_snapshot(ec2, snapshot)]
        return (*(snapshot for snapshot in behind if snapshot not in doomed), *in_use)


def _refuse_foreign(tags: Mapping[str, str], *, what: str, fleet: str, image: str) -> None:
    for key, wanted in ((FLEET_TAG, fleet), (_IMAGE_TAG, image)):
        found = tags.get(key)
        if found != wanted:
            raise Terminal(
                f"{what} is not retired: its tag {key} is {found!r}, not {wanted!r}",
                mend="if it is yours to delete, set the tag, or deregister it by hand",
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
