"""Resolves what an image is built on: an AMI id, a filter or an SSM parameter, to one AMI.

Packer's own "most recent" sorts unstably, and inside the build. Here the newest creation date wins, then the greatest
id, so that the same catalogue gives the same AMI every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.source import AmiPin, AmiRequest, Pin, SourceRequest
from reconciler.registry.errors import code_of, misspelt, translated
from reconciler.registry.images import PAGE, describe, instant
from reconciler.registry.observe import NEVER_REACHED
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef

_AMI_ID = re.compile(r"ami-[0-9a-f]+")
_NO_PARAMETER = frozenset({"ParameterNotFound", "ParameterVersionNotFound"})


def resolve(clients: Clients, request: SourceRequest, *, region: str, architecture: str | None, now: datetime) -> Pin:
    """Resolve a source in a region. See `Registry.resolve`. `now` tells which AMIs are deprecated."""
    with _spelt(clients, region):
        return _resolved(clients, request, region=region, architecture=architecture, now=now)


@contextmanager
def _spelt(clients: Clients, region: str) -> Iterator[None]:
    """Where a region could not be reached, say so if there is none of that name."""
    try:
        yield
    except ReconcilerError as error:
        never_reached = isinstance(error.__cause__, Exception) and code_of(error.__cause__) in NEVER_REACHED
        fault = misspelt(region, known=clients.regions) if never_reached else None
        if fault is None:
            raise
        raise fault.rule.error(fault.reason, mend=fault.rule.mend) from error


def _resolved(clients: Clients, request: SourceRequest, *, region: str, architecture: str | None, now: datetime) -> Pin:
    if request.ssm is not None:
        held = _parameter(clients, request.ssm, region=region)
        return _pin(_by_id(clients, held, region=region, said_by=f"SSM parameter {request.ssm}"), region)
    if request.ami is None:
        raise ValueError("a parent image is resolved from state/, not from a registry")
    if request.ami.id is not None:
        return _pin(_by_id(clients, request.ami.id, region=region, said_by=None), region)
    return _pin(_newest(clients, request.ami, region=region, architecture=architecture, now=now), region)


def _pin(image: ImageTypeDef, region: str) -> Pin:
    created = image.get("CreationDate")
    return Pin(
        ami=AmiPin(
            region=region,
            id=image["ImageId"],
            name=image.get("Name"),
            owner=image.get("OwnerId"),
            created=instant(created) if created else None,
        )
    )


def _by_id(clients: Clients, image_id: str, *, region: str, said_by: str | None) -> ImageTypeDef:
    with translated(f"describing source {image_id} in {region}"):
        image = describe(clients.ec2(region), image_id)
    whence = f" (from {said_by})" if said_by else ""
    if image is None:
        raise UserError(
            f"source {image_id}{whence} is not in {region}, or not shared with this account",
            mend="AMI ids differ from region to region: name one of this region, or declare a filter with owners",
        )
    if image["State"] != "available":
        raise UserError(
            f"source {image_id}{whence} in {region} is {image['State']} and can't be built on",
            mend="name another AMI, or wait until its owner makes it available",
        )
    return image


def _parameter(clients: Clients, name: str, *, region: str) -> str:
    with translated(f"reading SSM parameter {name} in {region}"):
        try:
            parameter = clients.ssm(region).get_parameter(Name=name)["Parameter"]
        except ClientError as error:
            if code_of(error) not in _NO_PARAMETER:
                raise
            raise UserError(
                f"there is no SSM parameter {name} in {region}",
                mend=f"`aws ssm get-parameter --region {region} --name {name}` shows what it holds",
            ) from error
    value = parameter.get("Value", "").strip()
    if not _AMI_ID.fullmatch(value):
        # The value of a SecureString is never shown, encrypted or not.
        shown = "a SecureString" if parameter.get("Type") == "SecureString" else repr(value[:40])
        raise UserError(
            f"SSM parameter {name} in {region} holds {shown}, which is no AMI id",
            mend="its value must be an AMI id; of public parameters that is often the one that ends in /image_id",
        )
    return value


def _newest(
    clients: Clients, request: AmiRequest, *, region: str, architecture: str | None, now: datetime
) -> ImageTypeDef:
    filters = _filters(request, architecture=architecture)
    with translated(f"looking in {region} for an AMI with {_described(filters, request.owners)}"):
        matches = _matches(clients.ec2(region), filters, owners=request.owners)
    if not matches:
        raise UserError(
            f"no AMI in {region} has {_described(filters, request.owners)}",
            mend=(
                "check name, owners and architecture; AMIs of other owners that are deprecated are not taken",
                f"`aws ec2 describe-images --region {region} --owners {' '.join(request.owners)}` lists what there is",
            ),
        )
    # EC2 hides the deprecated images of other owners, but shows one's own.
    current = [image for image in matches if not _is_deprecated(image, now=now)]
    return max(current or matches, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]))


def _filters(request: AmiRequest, *, architecture: str | None) -> dict[str, tuple[str, ...]]:
    wanted = dict(request.filters)
    if request.name is not None:
        wanted["name"] = (request.name,)
    arch = request.architecture or (None if "architecture" in wanted else architecture)
    if arch is not None:
        wanted["architecture"] = (arch,)
    wanted["state"] = ("available",)
    return dict(sorted(wanted.items()))


def _matches(ec2: EC2Client, filters: dict[str, tuple[str, ...]], *, owners: Sequence[str]) -> list[ImageTypeDef]:
    listed: list[FilterTypeDef] = [{"Name": name, "Values": list(values)} for name, values in filters.items()]
    # Aliases (self, amazon, aws-marketplace) go to Owners as account ids do.
    pages = ec2.get_paginator("describe_images").paginate(
        Owners=list(owners), Filters=listed, PaginationConfig={"PageSize": PAGE}
    )
    return [image for page in pages for image in page["Images"]]


def _is_deprecated(image: ImageTypeDef, *, now: datetime) -> bool:
    since = image.get("DeprecationTime")
    return since is not None and datetime.fromisoformat(since).astimezone(UTC) <= now


def _described(filters: dict[str, tuple[str, ...]], owners: Sequence[str]) -> str:
    asked = (f"{name} {' or '.join(values)}" for name, values in filters.items() if name != "state")
    return f"{', '.join(asked)} and owner {' or '.join(owners)}"
