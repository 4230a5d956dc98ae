"""AMIs beside their tags: who may launch them, deprecation, deregistration protection, and disabling.

DescribeImages tells of all but launch permissions, which are one DescribeImageAttribute for each AMI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import AwsError, translated
from reconciler.aws.session import Clients
from reconciler.model.care import Grants
from reconciler.ports.registry import Located
from reconciler.registries.ec2.keys import keys_of

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import LaunchPermissionTypeDef


def permissions(ec2: EC2Client, image: Located) -> list[LaunchPermissionTypeDef]:
    """Who may launch an image beside its owner: accounts, organizations and their units, everybody."""
    return ec2.describe_image_attribute(ImageId=image.id, Attribute="launchPermission")["LaunchPermissions"]


def grants(clients: Clients, artifact: Located) -> Grants:
    """Who may launch an AMI. See `Registry.grants`."""
    with translated(f"reading who may launch {artifact.id} in {artifact.location}"):
        found = permissions(clients.ec2(artifact.location), artifact)
    return Grants.of(
        (one["UserId"] for one in found if "UserId" in one),
        (one["OrganizationArn"] for one in found if "OrganizationArn" in one),
        (one["OrganizationalUnitArn"] for one in found if "OrganizationalUnitArn" in one),
        everybody=any(one.get("Group") == "all" for one in found),
    )


def share(clients: Clients, artifact: Located, *, add: Grants, remove: Grants) -> None:
    """Change launch permissions with one ModifyImageAttribute. See `Registry.share`.

    Launching needs no more: the snapshots behind an AMI have to be shared only with who copies it ("Share an AMI with
    specific AWS accounts", user guide, sharingamis-explicit.html).
    """
    changes = {"Add": list(_as_permissions(add)), "Remove": list(_as_permissions(remove))}
    wanted = {name: change for name, change in changes.items() if change}
    if wanted:
        with translated(f"sharing {artifact.id} in {artifact.location}"):
            clients.ec2(artifact.location).modify_image_attribute(
                ImageId=artifact.id,
                LaunchPermission=wanted,  # type: ignore[arg-type]  # of the two keys that it takes
            )


def _as_permissions(grants: Grants) -> Iterator[LaunchPermissionTypeDef]:
    for account in grants.accounts:
        yield {"UserId": account}
    for organization in grants.organizations:
        yield {"OrganizationArn": organization}
    for unit in grants.organizational_units:
        yield {"OrganizationalUnitArn": unit}
    if grants.everybody:
        yield {"Group": "all"}


def deprecate(clients: Clients, artifact: Located, at: datetime | None) -> None:
    """Set the date of deprecation, or take it away. See `Registry.deprecate`."""
    with translated(f"setting when {artifact.id} in {artifact.location} is deprecated"):
        ec2 = clients.ec2(artifact.location)
        if at is None:
            ec2.disable_image_deprecation(ImageId=artifact.id)
        else:
            ec2.enable_image_deprecation(ImageId=artifact.id, DeprecateAt=at)


def protect(clients: Clients, artifact: Located, *, on: bool) -> None:
    """Switch deregistration protection on, without a cooldown, or off. See `Registry.protect`."""
    with translated(f"{'protecting' if on else 'no more protecting'} {artifact.id} in {artifact.location}"):
        ec2 = clients.ec2(artifact.location)
        if on:
            ec2.enable_image_deregistration_protection(ImageId=artifact.id, WithCooldown=False)
        else:
            ec2.disable_image_deregistration_protection(ImageId=artifact.id)


def disable(clients: Clients, artifact: Located) -> None:
    """Disable an AMI. See `Registry.disable`."""
    with translated(f"disabling {artifact.id} in {artifact.location}"):
        clients.ec2(artifact.location).disable_image(ImageId=artifact.id)


def enable(clients: Clients, artifact: Located) -> None:
    """Enable a disabled AMI. See `Registry.enable`."""
    with translated(f"enabling {artifact.id} in {artifact.location}"):
        clients.ec2(artifact.location).enable_image(ImageId=artifact.id)


# Why nobody else could launch an AMI that they may launch.


def obstacles(clients: Clients, region: str, artifacts: Sequence[Located], *, everybody: bool) -> Mapping[str, str]:
    """What EC2 would refuse, or break without a word. See `Registry.obstacles`.

    What is encrypted with the key that AWS manages for EBS can't be shared, as nobody can give others that key ("Share
    encrypted EBS-backed AMIs", user guide, AMIEncryption.html). Costs one DescribeSnapshots, and a DescribeKey for each
    key.
    """
    try:
        found = dict(_encrypted(clients, region, artifacts))
        if everybody and _blocks_public(clients.ec2(region)):
            blocked = f"{region} blocks public access to this account's AMIs (GetImageBlockPublicAccessState)"
            found = {one.id: blocked for one in artifacts} | found
    except AwsError:
        return {}
    return found


def _blocks_public(ec2: EC2Client) -> bool:
    return ec2.get_image_block_public_access_state()["ImageBlockPublicAccessState"] != "unblocked"


def _encrypted(clients: Clients, region: str, artifacts: Sequence[Located]) -> Iterator[tuple[str, str]]:
    keys = keys_of(clients.ec2(region), {part for one in artifacts for part in one.parts})
    kms = clients.client("kms", region, config=Config()) if keys else None
    managed = {key for key in set(keys.values()) if kms is not None and _is_awss(kms, key)}
    for one in artifacts:
        part = next((part for part in one.parts if keys.get(part) in managed), None)
        if part is not None:
            why = f"{part} is encrypted with the key that AWS manages, which no other account can use"
            yield one.id, f"{why}: build it with one of your own (`kms_key_id`)"


def _is_awss(kms: Any, key: str) -> bool:
    """Whether AWS manages a key. One that may not be described is somebody's own: AWS's may be by whoever uses EBS."""
    try:
        return bool(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyManager"] == "AWS")
    except ClientError:
        return False
