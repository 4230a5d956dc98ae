"""What EC2 says of an image beside its content, and does with it: deprecated, protected, disabled, shared with all.

Seen with moto 5.2.5, which has disabling without its consequences, and nothing of the rest. Where no page names the
code of an error, that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.responses import EC2Response

_LONGEST = timedelta(days=3652)
_LONGEST_PUBLIC = timedelta(days=730)
_COOLDOWN = timedelta(hours=24)
_BLOCKED, _UNBLOCKED = "block-new-sharing", "unblocked"


def fields(image: Any) -> Mapping[str, str | None]:
    """What DescribeImages tells of it, under the names that it has in EC2's XML."""
    return {
        "deprecationTime": getattr(image, "deprecation_time", None),
        "deregistrationProtection": _protection(image),
    }


def is_told_of(image: Any, *, account: str, disabled: bool, deprecated: bool) -> bool:
    """Whether DescribeImages has it in its answer, by what is to be included.

    No disabled image by default, and of others' no deprecated one (IncludeDisabled, IncludeDeprecated: API reference).
    """
    since = getattr(image, "deprecation_time", None)
    if image.state == "disabled" and not disabled:
        return False
    return image.owner_id == account or deprecated or since is None or _moment(since) > datetime.now(UTC)


def refuse_unavailable(image: Any) -> None:
    """Refuse what needs an image that can be launched (InvalidAMIID.Unavailable in EC2's list of error codes)."""
    if image.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is no longer available")


# Deprecation: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableImageDeprecation.html


def enable_image_deprecation(self: EC2Response) -> ActionResult:
    """EnableImageDeprecation: to the nearest minute, in ten years at most; of what is public two years from birth."""
    image = asked_image(self)
    at = _moment(self._get_param("DeprecateAt"))
    rounded = (at + timedelta(seconds=30)).replace(second=0, microsecond=0)
    born = _moment(image.creation_date)
    latest = born + _LONGEST_PUBLIC if image.is_public else datetime.now(UTC) + _LONGEST
    if not datetime.now(UTC) < rounded <= latest:  # no page names the code
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{at:%Y-%m-%dT%H:%M:%SZ}' for DeprecateAt")
    image.deprecation_time = rounded.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return ActionResult({"Return": True})


def disable_image_deprecation(self: EC2Response) -> ActionResult:
    """DisableImageDeprecation."""
    asked_image(self).deprecation_time = None
    return ActionResult({"Return": True})


# Deregistration protection: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deregistration-protection.html


def enable_image_deregistration_protection(self: EC2Response) -> ActionResult:
    """EnableImageDeregistrationProtection."""
    image = asked_image(self)
    image.deregistration_protection = (
        "enabled-with-cooldown" if self._get_bool_param("WithCooldown") else "enabled-without-cooldown"
    )
    image.protected_until = None
    return ActionResult({"Return": "true"})


def disable_image_deregistration_protection(self: EC2Response) -> ActionResult:
    """DisableImageDeregistrationProtection: what had a cooldown stays protected for 24 hours."""
    image = asked_image(self)
    if getattr(image, "deregistration_protection", None) == "enabled-with-cooldown" and image.protected_until is None:
        image.protected_until = datetime.now(UTC) + _COOLDOWN
    elif getattr(image, "protected_until", None) is None:
        image.deregistration_protection = "disabled"
    return ActionResult({"Return": "true"})


def refuse_protected(image: Any) -> None:
    """Refuse to deregister what is protected; no page names the code."""
    if _protection(image) != "disabled":
        raise EC2ClientError("OperationNotPermitted", f"{image.id} is protected from deregistration")


def _protection(image: Any) -> str:
    """The state as DescribeImages words it. What it says during a cooldown no page tells: here, that it is on."""
    until = getattr(image, "protected_until", None)
    if until is not None and until <= datetime.now(UTC):
        image.deregistration_protection, image.protected_until = "disabled", None
    return str(getattr(image, "deregistration_protection", "disabled"))


# Disabling: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DisableImage.html


def disable_image(self: EC2Response) -> ActionResult:
    """DisableImage: all launch permissions are gone, and EnableImage does not bring them back."""
    image = asked_image(self)
    image.state = "disabled"
    image.launch_permissions.clear()
    return ActionResult({"Return": True})


def enable_image(self: EC2Response) -> ActionResult:
    """EnableImage."""
    image = asked_image(self)
    image.state = "available" if image.state == "disabled" else image.state
    return ActionResult({"Return": True})


# Sharing: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-public-access-to-amis.html


def refuse_sharing(self: EC2Response) -> None:
    """Refuse to share a disabled image, and any with everybody where public access is blocked."""
    image = asked_image(self)
    added = self._get_param("LaunchPermission", {}).get("Add", [])
    groups = self._get_param("UserGroups", []) if self._get_param("OperationType") == "add" else []
    if self._get_param("LaunchPermission") or self._get_param("Attribute") == "launchPermission":
        refuse_unavailable(image)
    public = "all" in groups or any(one.get("Group") == "all" for one in added)
    if public and _public_access(self) == _BLOCKED:
        raise EC2ClientError(
            "OperationNotPermitted",
            "You can't publicly share this image because block public access for AMIs is enabled for this account.",
        )


def get_image_block_public_access_state(self: EC2Response) -> ActionResult:
    """GetImageBlockPublicAccessState: blocked, as it is by default in accounts of today."""
    self.error_on_dryrun()
    return ActionResult({"ImageBlockPublicAccessState": _public_access(self), "ManagedBy": "account"})


def enable_image_block_public_access(self: EC2Response) -> ActionResult:
    """EnableImageBlockPublicAccess."""
    self.error_on_dryrun()
    self.ec2_backend.public_access = _BLOCKED
    return ActionResult({"ImageBlockPublicAccessState": _BLOCKED})


def disable_image_block_public_access(self: EC2Response) -> ActionResult:
    """DisableImageBlockPublicAccess."""
    self.error_on_dryrun()
    self.ec2_backend.public_access = _UNBLOCKED
    return ActionResult({"ImageBlockPublicAccessState": _UNBLOCKED})


def _public_access(self: EC2Response) -> str:
    return str(getattr(self.ec2_backend, "public_access", _BLOCKED))


def asked_image(self: EC2Response) -> Any:
    """The image that a call is about; a dry run ends here."""
    image_id = self._get_param("ImageId")
    self.error_on_dryrun()
    if image_id not in self.ec2_backend.amis:
        raise InvalidAMIIdError(image_id)
    return self.ec2_backend.amis[image_id]


def _moment(value: Any) -> datetime:
    read = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


HANDLERS = (
    disable_image, disable_image_block_public_access, disable_image_deprecation,
    disable_image_deregistration_protection, enable_image, enable_image_block_public_access, enable_image_deprecation,
    enable_image_deregistration_protection, get_image_block_public_access_state,
)  # fmt: skip
"""Those that moto lacks, or that do less there."""
