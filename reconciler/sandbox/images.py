"""EC2's image calls where moto answers less than EC2 does. Seen with moto 5.2.5."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.ec2.responses.amis import AmisResponse

from reconciler.sandbox import describe


def install() -> None:
    """Replace moto's handlers of these actions."""
    for handler in (
        copy_image,
        create_image,
        deregister_image,
        describe_image_attribute,
        disable_image_deprecation,
        enable_image_deprecation,
        modify_image_attribute,
        register_image,
    ):
        setattr(AmisResponse, handler.__name__, handler)
    AmisResponse.describe_images = describe.describe_images  # type: ignore[method-assign, assignment]  # as above


_describe_image_attribute = AmisResponse.describe_image_attribute
_modify_image_attribute = AmisResponse.modify_image_attribute


def copy_image(self: EC2Response) -> ActionResult:
    """CopyImage; moto ignores ClientToken, TagSpecifications and CopyImageTags."""
    source, region = self._get_param("SourceImageId"), self._get_param("SourceRegion")
    asked = (source, region, self._get_param("Name"), self._get_param("Description"))
    token = self._get_param("ClientToken")
    backend = self.ec2_backend
    self.error_on_dryrun()
    if token in backend.copy_tokens:
        first, image_id = backend.copy_tokens[token]
        if first != asked:
            raise EC2ClientError(
                "IdempotentParameterMismatch", f"The client token {token} was used with other parameters"
            )
        return ActionResult({"ImageId": image_id})
    image = backend.copy_image(*asked)
    if self._get_param("CopyImageTags"):
        image.add_tags(_own_tags(image.ec2_backend, source, region))
    _tag_at_birth(self, image)
    if token:
        backend.copy_tokens[token] = (asked, image.id)
    return ActionResult({"ImageId": image.id})


def create_image(self: EC2Response) -> ActionResult:
    """CreateImage; moto refuses TagSpecifications for snapshots."""
    self.error_on_dryrun()
    image = self.ec2_backend.create_image(
        self._get_param("InstanceId"),
        self._get_param("Name"),
        self._get_param("Description", ""),
        tag_specifications=[],
    )
    _tag_at_birth(self, image)
    return ActionResult({"ImageId": image.id})


def deregister_image(self: EC2Response) -> ActionResult:
    """DeregisterImage; moto ignores DeleteAssociatedSnapshots."""
    image_id = self._get_param("ImageId")
    self.error_on_dryrun()
    image = self.ec2_backend.amis.get(image_id)
    self.ec2_backend.deregister_image(image_id)
    if self._get_param("DeleteAssociatedSnapshots") and image is not None:
        self.ec2_backend.delete_snapshot(image.ebs_snapshot.id)
    return ActionResult({"Return": True})


def register_image(self: EC2Response) -> ActionResult:
    """RegisterImage; moto takes a name and a description only, and forgets what kind of machine the image is for."""
    self.error_on_dryrun()
    image = self.ec2_backend.register_image(self._get_param("Name"), self._get_param("Description", ""))
    # EC2's own defaults: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html
    image.architecture = self._get_param("Architecture") or "i386"
    image.virtualization_type = self._get_param("VirtualizationType") or "paravirtual"
    image.root_device_name = self._get_param("RootDeviceName") or image.root_device_name
    image.boot_mode = self._get_param("BootMode")  # absent: the default of the instance type
    _tag_at_birth(self, image)
    return ActionResult({"ImageId": image.id})


def describe_image_attribute(self: EC2Response) -> ActionResult:
    """DescribeImageAttribute; moto answers an unknown image with an internal error."""
    _image(self)
    return _describe_image_attribute(self)


def modify_image_attribute(self: EC2Response) -> ActionResult:
    """ModifyImageAttribute; moto answers a new description with success and forgets it.

    It may be asked for as a structure, as Packer does, or by the attribute's name and value:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html
    """
    answer = _modify_image_attribute(self)
    new = self._get_param("Description")
    by_name = self._get_param("Value") if self._get_param("Attribute") == "description" else None
    description = new.get("Value") if new is not None else by_name
    if description is not None:
        _image(self).description = description
    return answer


def enable_image_deprecation(self: EC2Response) -> ActionResult:
    """EnableImageDeprecation; moto has no such action."""
    _image(self).deprecation_time = self._get_param("DeprecateAt")
    return ActionResult({"Return": True})


def disable_image_deprecation(self: EC2Response) -> ActionResult:
    """DisableImageDeprecation; moto has no such action."""
    _image(self).deprecation_time = None
    return ActionResult({"Return": True})


def _image(self: EC2Response) -> Any:
    image_id = self._get_param("ImageId")
    self.error_on_dryrun()
    if image_id not in self.ec2_backend.amis:
        raise InvalidAMIIdError(image_id)
    return self.ec2_backend.amis[image_id]


def _own_tags(backend: Any, source: str, region: str) -> dict[str, str]:
    tags = ec2_backends[backend.account_id][region].tags.get(source, {})
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def _tag_at_birth(self: EC2Response, image: Any) -> None:
    for kind, tags in self._parse_tag_specification().items():
        if kind == "image":
            image.add_tags(tags)
        elif kind == "snapshot":
            image.ebs_snapshot.add_tags(tags)
        else:
            raise EC2ClientError("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type")
