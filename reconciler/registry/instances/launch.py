"""RunInstances, again and again, until some type has room in some place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from reconciler.registry.clock import Clock
from reconciler.registry.errors import code_of
from reconciler.registry.instances.capacity import FULL_HERE, QUOTA_REACHED, Place, Refusal, exhausted
from reconciler.registry.instances.settling import settled

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import BlockDeviceMappingTypeDef, ImageTypeDef, TagTypeDef

_BREATH = 1.0
"""Seconds between two tries. In them an interrupt ends the search."""
_JUST_MADE = ("InvalidAMIID.NotFound", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound")


@dataclass(frozen=True)
class Launch:
    """One instance to be had. `name` is that of its key pair, and of nothing else that there ever was."""

    image: ImageTypeDef
    name: str
    security_group: str
    tags: Sequence[TagTypeDef]


@dataclass(frozen=True)
class Launched:
    """What was to be had."""

    id: str
    type: str


def launch(
    ec2: EC2Client, wanted: Launch, *, types: Sequence[str], places: Sequence[Place], clock: Clock, doing: str
) -> Launched:
    """Start one instance of the first type that has room, in the first place where it has.

    Raises botocore's errors; Transient where nothing has room, UserError where the types are not offered.
    """
    _take_no_for_an_answer(ec2)
    refusals: list[Refusal] = []
    for kind, place in product(types, places):
        if any(one.type == kind and one.code in QUOTA_REACHED for one in refusals):
            continue
        if refusals:
            clock.sleep(_BREATH)
        try:
            return Launched(_run(ec2, wanted, kind=kind, place=place, clock=clock), kind)
        except ClientError as error:
            if code_of(error) not in FULL_HERE | QUOTA_REACHED:
                raise
            refusals.append(Refusal(kind, place, code_of(error)))
    raise exhausted(refusals, doing=doing)


def _run(ec2: EC2Client, wanted: Launch, *, kind: str, place: Place, clock: Clock) -> str:
    where: dict[str, Any] = {"SubnetId": place.subnet} if place.subnet else {}
    answer = settled(
        lambda: ec2.run_instances(
            ImageId=wanted.image["ImageId"],
            InstanceType=kind,  # type: ignore[arg-type] # a list of all types there are; new ones come monthly
            MinCount=1,
            MaxCount=1,
            KeyName=wanted.name,
            SecurityGroupIds=[wanted.security_group],
            # A call that botocore makes again, as its answer was lost, makes no second instance.
            ClientToken=_client_token(wanted.name, kind, place),
            MetadataOptions={"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            # A test that shuts the instance down, or a person who kept it, leaves nothing to pay for.
            InstanceInitiatedShutdownBehavior="terminate",
            BlockDeviceMappings=_volumes_that_go_too(wanted.image),
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": wanted.tags},
                {"ResourceType": "volume", "Tags": wanted.tags},
                {"ResourceType": "network-interface", "Tags": wanted.tags},
            ],
            **where,
        ),
        not_yet=_JUST_MADE,
        clock=clock,
    )
    return answer["Instances"][0]["InstanceId"]


def _volumes_that_go_too(image: ImageTypeDef) -> list[BlockDeviceMappingTypeDef]:
    # Packer's amazon-ebs leaves `delete_on_termination` false unless told otherwise, and the AMI remembers. What is
    # not named here is as the AMI has it; the size would be too, but moto asks for it.
    return [
        {
            "DeviceName": mapping["DeviceName"],
            "Ebs": {"DeleteOnTermination": True, "VolumeSize": mapping["Ebs"]["VolumeSize"]},
        }
        for mapping in image.get("BlockDeviceMappings", ())
        if not mapping.get("Ebs", {}).get("DeleteOnTermination", True)
    ]


def _client_token(name: str, kind: str, place: Place) -> str:
    # 64 ASCII characters at most. Another type or place is another request, and needs another token.
    return hashlib.sha256(json.dumps([name, kind, place.subnet]).encode()).hexdigest()


def _take_no_for_an_answer(ec2: EC2Client) -> None:
    """Keep botocore from asking eight times for capacity where there is none: EC2 says so with a status of 500."""
    ec2.meta.events.register_first(
        "needs-retry.ec2.RunInstances",
        _no_room,  # type: ignore[arg-type] # the stubs know of no handler whose answer counts
        unique_id="reconciler-no-room",
    )


def _no_room(response: tuple[Any, Mapping[str, Any]] | None, **_: object) -> bool | None:
    """False: no retry. None: whatever the others say."""
    code = response[1].get("Error", {}).get("Code") if response is not None else None
    return False if code in FULL_HERE else None
