"""The Recycle Bin: for how long it keeps AMIs that are deregistered, which ones it has, and bringing them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.restoration import Binned
from reconciler.model.values import told_instant
from reconciler.ports.registry import Located
from reconciler.registries.ec2.dialect import AMI
from reconciler.registries.ec2.images import FLEET_TAG, GONE, describe

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_BRIEF = Config(retries={"mode": "standard", "total_max_attempts": 2})
"""For what nothing hangs on."""
_PAGE = 1000
"""The most that a page may have (ListImagesInRecycleBin, API reference)."""


def restorable(clients: Clients, location: str, *, fleet: str) -> int | None:
    """For how many days the Recycle Bin of a region keeps a fleet's AMIs and their snapshots.

    An AMI without its snapshots can't be restored, so that the shorter of the two counts: 0 where one is not kept, None
    where that could not be read. A rule is of a whole region, or of what carries one of its tags ("Recycle Bin
    retention rules", EBS user guide). Costs a ListRules for each of the two, and a GetRule for each rule.
    """
    try:
        with translated(f"reading the Recycle Bin's rules in {location}"):
            bin_ = clients.client("rbin", location, config=_BRIEF)
            return min(_kept_for(bin_, kind, fleet=fleet) for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"))
    except ReconcilerError:
        return None


def _kept_for(bin_: Any, kind: str, *, fleet: str) -> int:
    pages = bin_.get_paginator("list_rules").paginate(ResourceType=kind)
    ids = [one["Identifier"] for page in pages for one in page["Rules"]]
    rules = (bin_.get_rule(Identifier=rule) for rule in ids)
    return max((one["RetentionPeriod"]["RetentionPeriodValue"] for one in rules if _keeps(one, fleet=fleet)), default=0)


def _keeps(rule: Mapping[str, Any], *, fleet: str) -> bool:
    """Whether a rule is in force, and of this fleet's: by its tag, or of the whole region but for what it excludes."""

    def is_ours(tag: Mapping[str, str]) -> bool:
        return tag["ResourceTagKey"] == FLEET_TAG and tag.get("ResourceTagValue") in (None, "", fleet)

    if rule.get("Status") != "available":
        return False
    named = rule.get("ResourceTags", [])
    return any(map(is_ours, named)) if named else not any(map(is_ours, rule.get("ExcludeResourceTags", [])))


def binned(clients: Clients, location: str) -> Sequence[Binned]:
    """What the Recycle Bin of a region has of the account's AMIs. See `Registry.binned`. One call for a thousand."""
    with translated(f"listing the Recycle Bin of {location}"):
        pages = (
            clients.ec2(location)
            .get_paginator("list_images_in_recycle_bin")
            .paginate(PaginationConfig={"PageSize": _PAGE})
        )
        found = [one for page in pages for one in page["Images"]]
    return [
        Binned(
            AMI.name, location, one["ImageId"], one.get("Name", ""), told_instant(one.get("RecycleBinExitTime")) or None
        )
        for one in sorted(found, key=lambda one: one["ImageId"])
    ]


def restore(clients: Clients, artifact: Located) -> None:
    """Bring an AMI back, after its snapshots. See `Registry.restore`.

    EC2 restores no AMI whose snapshots are not there ("Recover deleted AMIs from the Recycle Bin", EBS user guide).
    Costs a listing of the snapshots that are there, one of the bin where some are not, and a call for each of those.
    """
    with translated(f"restoring {artifact.id} in {artifact.location}"):
        ec2 = clients.ec2(artifact.location)
        _restore_snapshots(ec2, artifact)
        try:
            ec2.restore_image_from_recycle_bin(ImageId=artifact.id)
        except ClientError as error:
            # Another run may have brought it back meanwhile, or this one, whose answer was lost.
            if code_of(error) not in GONE or describe(ec2, artifact.id) is None:
                raise


def _restore_snapshots(ec2: EC2Client, artifact: Located) -> None:
    if not artifact.parts:
        return
    # By filter, not by SnapshotIds: those make one missing snapshot an error.
    named = [{"Name": "snapshot-id", "Values": list(artifact.parts)}]
    there = {one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"], Filters=named)["Snapshots"]}  # type: ignore[arg-type]  # a filter
    missing = [one for one in artifact.parts if one not in there]
    if not missing:
        return
    pages = ec2.get_paginator("list_snapshots_in_recycle_bin").paginate(PaginationConfig={"PageSize": _PAGE})
    kept = {one["SnapshotId"] for page in pages for one in page["Snapshots"]}
    lost = [one for one in missing if one not in kept]
    if lost:
        raise Terminal(
            f"{artifact.id} in {artifact.location} can't be restored: its snapshot {lost[0]} is gone for good",
            hint="have the Recycle Bin keep EBS_SNAPSHOT as long as EC2_IMAGE, or longer",
        )
    for one in missing:
        ec2.restore_snapshot_from_recycle_bin(SnapshotId=one)
