"""EC2's image calls as EC2 answers them, where moto answers less. Seen with moto 5.2.5."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, MalformedAMIIdError
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.ec2.responses.amis import AmisResponse
from moto.kms.models import kms_backends

from reconciler.sandbox import care, recycle_bin
from reconciler.sandbox.care import asked_image

# DescribeImages as EC2 answers it: in pages, with every filter that templates use, and fast.
#
# moto's answer has no pages, lacks filters (root-device-type, description), finds tags by walking all tags of the
# region for each image, and serializes 1,000 images in two seconds.

_PAGE = 1000  # the most that EC2 gives at once


def describe_images(self: EC2Response) -> str:
    """Answer one DescribeImages call."""
    self.error_on_dryrun()
    backend = self.ec2_backend
    ids = self._get_param("ImageIds", [])
    size = self._get_int_param("MaxResults")
    if ids and size:
        raise EC2ClientError(
            "InvalidParameterCombination",
            "The parameter imageIdsSet cannot be used with the parameter maxResults",
        )
    found = _named(backend, ids) if ids else _visible(backend, self._get_param("Owners", []))
    found = [image for image in found if care.is_told_of(image, account=backend.account_id, **_included(self))]
    wanted = {name: _patterns(values) for name, values in self._filters_from_querystring().items()}
    matching = [image for image in found if _matches(backend, image, wanted)]
    page, token = (matching, "") if ids else _page(matching, self._get_param("NextToken"), size or _PAGE)
    items = "".join(_item(backend, image) for image in page)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>request</requestId><imagesSet>{items}</imagesSet>"
        f"{_element('nextToken', token)}</DescribeImagesResponse>"
    )


def _included(self: EC2Response) -> dict[str, bool]:
    """What beside the usual the caller wants to be told of."""
    asked = {"disabled": "IncludeDisabled", "deprecated": "IncludeDeprecated"}
    return {name: bool(self._get_bool_param(parameter)) for name, parameter in asked.items()}


def _named(backend: Any, ids: list[str]) -> list[Any]:
    malformed = [image_id for image_id in ids if not image_id.startswith("ami-")]
    if malformed:
        raise MalformedAMIIdError(malformed)
    missing = [image_id for image_id in ids if image_id not in backend.amis]
    if missing:
        # moto answers nothing for a deregistered image, and fails only if none is found.
        raise InvalidAMIIdError(missing)
    return [backend.amis[image_id] for image_id in dict.fromkeys(ids)]


def _visible(backend: Any, owners: list[str]) -> list[Any]:
    own = backend.account_id
    wanted = {own if owner == "self" else owner for owner in owners}
    return [
        image
        for image in list(backend.amis.values())
        if (not wanted or image.owner_id in wanted or image.owner_alias in wanted)
        and (image.owner_id == own or image.is_public or {"UserId": own} in image.launch_permissions)
    ]


def _page(images: list[Any], token: str | None, size: int) -> tuple[list[Any], str]:
    """A page starts after the image that the token names; ids are in the order of their birth."""
    first = 0
    if token:
        places = [place for place, image in enumerate(images) if image.id == token]
        if not places:
            raise EC2ClientError("InvalidNextToken", "The token is not valid")
        first = places[0] + 1
    page = images[first : first + min(size, _PAGE)]
    return page, page[-1].id if page and first + len(page) < len(images) else ""


def _patterns(values: Iterable[str]) -> list[re.Pattern[str]]:
    # EC2 knows * and ? only; a bracket, which fnmatch would take for a set, is just a bracket.
    return [re.compile(re.escape(value).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL) for value in values]


def _matches(backend: Any, image: Any, wanted: Mapping[str, list[re.Pattern[str]]]) -> bool:
    return all(
        any(pattern.fullmatch(value) for value in _values(backend, image, name) for pattern in patterns)
        for name, patterns in wanted.items()
    )


def _values(backend: Any, image: Any, name: str) -> list[str]:
    """What a filter of this name looks at."""
    tags = backend.tags.get(image.id, {})
    if name.startswith("tag:"):
        return [tags[name[4:]]] if name[4:] in tags else []
    if name == "tag-key":
        return list(tags)
    fields = _fields(image)
    if name == "block-device-mapping.snapshot-id":
        return [image.ebs_snapshot.id]
    if name == "block-device-mapping.volume-type":
        return ["gp3"]
    if name not in _FILTERS:
        raise EC2ClientError("InvalidParameterValue", f"The filter '{name}' is invalid")
    value = fields[_FILTERS[name]]
    return [] if value is None else [value]


_FILTERS = {
    "architecture": "architecture",
    "creation-date": "creationDate",
    "description": "description",
    "ena-support": "enaSupport",
    "hypervisor": "hypervisor",
    "image-id": "imageId",
    "image-type": "imageType",
    "is-public": "isPublic",
    "name": "name",
    "owner-alias": "imageOwnerAlias",
    "owner-id": "imageOwnerId",
    "platform": "platform",
    "root-device-name": "rootDeviceName",
    "root-device-type": "rootDeviceType",
    "source-instance-id": "sourceInstanceId",
    "state": "imageState",
    "virtualization-type": "virtualizationType",
}


def _fields(image: Any) -> dict[str, str | None]:
    """An image's plain fields, under the names they have in EC2's XML."""
    copied_region, copied = getattr(image, "copy_of", (None, None))
    return {
        "imageId": image.id,
        "imageLocation": f"{image.owner_id}/{image.name}",
        "imageState": image.state,
        "imageOwnerId": image.owner_id,
        "imageOwnerAlias": image.owner_alias,
        "isPublic": "true" if image.is_public else "false",
        "architecture": image.architecture,
        "bootMode": image.boot_mode,
        "imageType": image.image_type,
        "platform": image.platform,
        "platformDetails": "Linux/UNIX",
        "usageOperation": "RunInstances",
        "creationDate": _moment(image.creation_date),
        **care.fields(image),
        "name": image.name,
        "description": image.description,
        "rootDeviceType": image.root_device_type,
        "rootDeviceName": image.root_device_name,
        "virtualizationType": image.virtualization_type,
        "hypervisor": image.hypervisor or "xen",
        "enaSupport": "true",
        "sriovNetSupport": "simple",
        "sourceInstanceId": image.source_instance_id,
        "sourceImageId": copied,
        "sourceImageRegion": copied_region,
    }


def _item(backend: Any, image: Any) -> str:
    fields = "".join(_element(name, value) for name, value in _fields(image).items() if value is not None)
    tags = "".join(
        f"<item>{_element('key', key)}{_element('value', value)}</item>"
        for key, value in backend.tags.get(image.id, {}).items()
    )
    disk = (
        f"<item>{_element('deviceName', image.root_device_name)}<ebs>"
        f"{_element('snapshotId', image.ebs_snapshot.id)}<volumeSize>8</volumeSize>"
        "<deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType>"
        f"{_element('encrypted', 'true' if image.ebs_snapshot.encrypted else 'false')}"
        "</ebs></item>"
    )
    return f"<item>{fields}<blockDeviceMapping>{disk}</blockDeviceMapping><tagSet>{tags}</tagSet></item>"


def _element(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>"


def _moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# EC2's image calls where moto answers less than EC2 does. Seen with moto 5.2.5.


def install() -> None:
    """Replace moto's handlers of these actions."""
    for handler in (
        copy_image,
        create_image,
        deregister_image,
        describe_image_attribute,
        modify_image_attribute,
        register_image,
        *care.HANDLERS,
    ):
        setattr(AmisResponse, handler.__name__, handler)
    AmisResponse.describe_images = describe_images  # type: ignore[method-assign, assignment]  # as above


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
    _encrypt(self, image, source=ec2_backends[backend.account_id][region].amis[source])
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
    if image is not None:
        care.refuse_protected(image)
        recycle_bin.keep_image(self.ec2_backend, image)
    self.ec2_backend.deregister_image(image_id)
    if self._get_param("DeleteAssociatedSnapshots") and image is not None:
        recycle_bin.delete(self.ec2_backend, image.ebs_snapshot.id)
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
    asked_image(self)
    return _describe_image_attribute(self)


def modify_image_attribute(self: EC2Response) -> ActionResult:
    """ModifyImageAttribute; moto answers a new description with success and forgets it.

    It may be asked for as a structure, as Packer does, or by the attribute's name and value:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html
    """
    care.refuse_sharing(self)
    answer = _modify_image_attribute(self)
    new = self._get_param("Description")
    by_name = self._get_param("Value") if self._get_param("Attribute") == "description" else None
    description = new.get("Value") if new is not None else by_name
    if description is not None:
        asked_image(self).description = description
    return answer


def _encrypt(self: EC2Response, image: Any, *, source: Any) -> None:
    """Encrypt a copy where that is asked for, or where its source is: with a key that is named, else with AWS's own.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopyImage.html
    Its snapshot names the key by its ARN, however it was named (`KmsKeyId` of Snapshot, ibid.).
    """
    if not (self._get_bool_param("Encrypted") or source.ebs_snapshot.encrypted):
        return
    backend = self.ec2_backend
    keys = kms_backends[backend.account_id][backend.region_name]
    key = self._get_param("KmsKeyId")
    if key is None:
        key = backend._create_default_encryption_key()  # noqa: SLF001  moto's
        keys.describe_key(key).key_manager = "AWS"
    alias = keys.get_alias_name(key)
    known = keys.any_id_to_key_id(key) if not alias.startswith("alias/") or keys.alias_exists(alias) else ""
    key = keys.describe_key(known).arn if known in keys.keys else key
    image.ebs_snapshot.encrypted, image.ebs_snapshot.kms_key_id = True, key


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
