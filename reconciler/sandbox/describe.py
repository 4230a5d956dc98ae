"""DescribeImages as EC2 answers it: in pages, with every filter that templates use, and fast.

moto's answer has no pages, lacks filters (root-device-type, description), finds tags by walking all tags of the
region for each image, and serializes 1,000 images in two seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, MalformedAMIIdError
from moto.ec2.responses import EC2Response

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
    deprecation = getattr(image, "deprecation_time", None)
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
        "deprecationTime": _moment(deprecation) if deprecation else None,
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
        "<deleteOnTermination>true</deleteOnTermination><volumeType>gp3</volumeType><encrypted>false</encrypted>"
        "</ebs></item>"
    )
    return f"<item>{fields}<blockDeviceMapping>{disk}</blockDeviceMapping><tagSet>{tags}</tagSet></item>"


def _element(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>"


def _moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
