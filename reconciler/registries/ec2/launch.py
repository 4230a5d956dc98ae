"""RunInstances until some type has room in some place, and waiting until the instance runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.errors import AwsError, code_of, translate
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.registries.ec2.admission import look_up, settled

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import BlockDeviceMappingTypeDef, ImageTypeDef, InstanceTypeDef, TagTypeDef


# What is tried where, when EC2 has no room, and what is said when it has none anywhere.

NOT_OFFERED = "Unsupported"
"""The zone has no such type at all."""
FULL_HERE = frozenset({
    NOT_OFFERED, "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
})  # fmt: skip
"""Another zone may do. Codes as in the EC2 API reference."""
QUOTA_REACHED = frozenset({"InstanceLimitExceeded", "VcpuLimitExceeded"})
"""No other zone will do, as a quota counts for the region. Another type may have one of its own."""


@dataclass(frozen=True)
class Place:
    """Where an instance may start. No subnet: EC2 chooses the zone, within the default VPC."""

    subnet: str | None = None
    zone: str = ""

    def __str__(self) -> str:
        """`subnet-1 (us-east-1a)`, or `a zone that EC2 chose`."""
        if self.subnet is None:
            return "a zone that EC2 chose"
        return f"{self.subnet} ({self.zone})" if self.zone else self.subnet


EC2_CHOOSES = Place()


@dataclass(frozen=True)
class Refusal:
    """One try that EC2 had no room for."""

    type: str
    place: Place
    code: str


def exhausted(refusals: Sequence[Refusal], *, doing: str) -> ReconcilerError:
    """The error for when everything was tried: Transient, unless the types are not offered there."""
    tried = "; ".join(
        f"{kind}: {', '.join(_by_code([one for one in refusals if one.type == kind]))}"
        for kind in dict.fromkeys(one.type for one in refusals)
    )
    codes = {one.code for one in refusals}
    if codes == {NOT_OFFERED}:
        return UserError(
            f"{doing}: no such instance type is offered there ({tried})",
            hint="name others: `smoke_test.instance_type` in image.yaml",
        )
    hint = ["a later run tries again; more types or subnets: `smoke_test.instance_type`, `smoke_test.subnets`"]
    if not codes.isdisjoint(QUOTA_REACHED):
        hint.append("end instances that nobody needs, or ask AWS for a higher quota")
    return Transient(f"{doing}: EC2 has no room ({tried})", hint=hint)


def _by_code(refusals: Sequence[Refusal]) -> list[str]:
    # A region has up to six zones: told by their code once, not one by one.
    return [
        f"{code} in {', '.join(str(one.place) for one in refusals if one.code == code)}"
        for code in dict.fromkeys(one.code for one in refusals)
    ]


# RunInstances, again and again, until some type has room in some place.

_BREATH = 1.0
"""Seconds between two tries. In them an interrupt ends the search."""
_JUST_MADE = ("InvalidAMIID.NotFound", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound")


@dataclass(frozen=True)
class Launch:
    """What to launch. `name` is also the key pair's name and must be unique."""

    image: ImageTypeDef
    name: str
    security_group: str
    tags: Sequence[TagTypeDef]


@dataclass(frozen=True)
class Launched:
    """The instance that was started."""

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


# The subnets that an instance may start in: those declared, or those of the default VPC.

_SUBNETS = "`smoke_test.subnets` in image.yaml"


@dataclass(frozen=True)
class Site:
    """One VPC, and the places in it in the order in which they are tried."""

    vpc: str
    places: tuple[Place, ...]


def find_site(ec2: EC2Client, subnets: Sequence[str], *, region: str) -> Site:
    """Read the site with one DescribeSubnets. Raises botocore's errors, and UserError where there is no such site."""
    return _declared(ec2, subnets) if subnets else _default(ec2, region)


def _declared(ec2: EC2Client, subnets: Sequence[str]) -> Site:
    found = {one["SubnetId"]: one for one in ec2.describe_subnets(SubnetIds=list(dict.fromkeys(subnets)))["Subnets"]}
    vpcs = sorted({one["VpcId"] for one in found.values()})
    if len(vpcs) > 1:
        # The security group is one VPC's.
        raise UserError(f"the subnets are of several VPCs: {', '.join(vpcs)}", hint=f"keep to one in {_SUBNETS}")
    return Site(vpcs[0], tuple(Place(name, found[name]["AvailabilityZone"]) for name in dict.fromkeys(subnets)))


def _default(ec2: EC2Client, region: str) -> Site:
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    if not found:
        raise UserError(
            f"there is no default VPC in {region} to boot in",
            hint=(f"name subnets: {_SUBNETS}", f"or make one: `aws ec2 create-default-vpc --region {region}`"),
        )
    by_zone = sorted(found, key=lambda one: one["AvailabilityZone"])
    return Site(
        by_zone[0]["VpcId"], (EC2_CHOOSES, *(Place(one["SubnetId"], one["AvailabilityZone"]) for one in by_zone))
    )


# The smallest instance types that an image boots on, where nobody asked for others.

# All on Nitro but t2, which is on Xen and the one that needs no ENA driver in the image and boots no UEFI
# (EC2 User Guide, "Instances built on the Nitro System" and "Boot modes").
_NITRO = {"x86_64": ("t3.micro", "t3a.micro"), "arm64": ("t4g.micro", "t4g.small", "m7g.medium", "m6g.medium")}
_XEN = {"x86_64": ("t2.micro",), "i386": ("t2.micro", "t2.small")}


def smallest(image: ImageTypeDef) -> tuple[str, ...]:
    """The types to try, the cheapest first. Raises UserError for an architecture that has no small machine."""
    architecture = image.get("Architecture", "")
    nitro = _NITRO.get(architecture, ()) if image.get("EnaSupport") else ()
    xen = _XEN.get(architecture, ()) if image.get("BootMode") != "uefi" else ()
    if not nitro and not xen:
        raise UserError(
            f"no small instance type is known for {image['ImageId']} ({architecture or 'no architecture'})",
            hint="name one: `smoke_test.instance_type` in image.yaml",
        )
    return nitro + xen


# Waiting until an instance runs and can be reached. Whether SSH answers is another's question.


def wait_running(ec2: EC2Client, instance_id: str, *, timeout: float, clock: Clock, polling: Polling) -> str:
    """Wait, and return the address: the public one where there is one, else the private one, else IPv6.

    A look that fails for a passing reason is taken again until the time is over. Raises Transient after `timeout`
    seconds and where EC2 itself failed; Terminal where the instance can't run (`Client.InternalError`: the key that
    its disk is encrypted with may not be used).
    """
    began = clock.monotonic()
    for delay in polling.delays():
        waited = clock.monotonic() - began
        passing, instance = _look(ec2, instance_id)
        state = instance["State"]["Name"] if instance is not None else "not visible"
        if instance is not None and state == "running" and (address := _address(instance)):
            return address
        if instance is not None and state not in ("pending", "running"):
            raise _ended(instance, state)
        if waited >= timeout:
            without = " without an address" if state == "running" else ""
            raise Transient(f"{instance_id} is still {state}{without} after {timeout:.0f} s") from passing
        clock.sleep(min(delay, timeout - waited))
    raise AssertionError("delays never end")


def _look(ec2: EC2Client, instance_id: str) -> tuple[Transient | None, InstanceTypeDef | None]:
    try:
        return None, look_up(ec2, instance_id)
    except AwsError as error:
        ours = translate(error, doing=f"describing {instance_id}")
        if isinstance(ours, Transient):
            return ours, None
        raise ours from error


def _address(instance: InstanceTypeDef) -> str | None:
    return instance.get("PublicIpAddress") or instance.get("PrivateIpAddress") or instance.get("Ipv6Address")


def _ended(instance: InstanceTypeDef, state: str) -> ReconcilerError:
    """By EC2's reason: `Server.…` is its own fault, `Client.…` the image's or the account's (StateReason, API)."""
    reason = instance.get("StateReason", {})
    why = reason.get("Message") or "EC2 gives no reason"
    kind = Transient if reason.get("Code", "").startswith("Server.") else Terminal
    return kind(f"{instance['InstanceId']} did not start, it is {state}: {why}")
