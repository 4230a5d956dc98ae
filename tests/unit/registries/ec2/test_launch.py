from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from reconciler.aws.clock import Clock
from reconciler.aws.session import Clients
from reconciler.model.errors import Transient
from reconciler.registries.ec2.launch import EC2_CHOOSES, Launch, Launched, Place, launch

REGION = "us-east-1"
A, B = Place("subnet-1", "us-east-1a"), Place("subnet-2", "us-east-1b")
FULL = "InsufficientInstanceCapacity"
WANTED = Launch(
    image={
        "ImageId": "ami-1",
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/xvda", "Ebs": {"DeleteOnTermination": True, "VolumeSize": 8}},
            {"DeviceName": "/dev/xvdb", "Ebs": {"DeleteOnTermination": False, "VolumeSize": 20}},
            {"DeviceName": "/dev/xvdc", "VirtualName": "ephemeral0"},
        ],
    },
    name="smoke-test-web-1a2b3c4d",
    security_group="sg-1",
    tags=[{"Key": "reconciler:fleet", "Value": "acme/images"}],
)
STARTED = {"Instances": [{"InstanceId": "i-1"}]}


def asked(kind: str, **other: Any) -> dict[str, Any]:
    """A RunInstances of this type, whatever else is in it."""
    any_of_it = dict.fromkeys(
        ["ImageId", "MinCount", "MaxCount", "KeyName", "SecurityGroupIds", "ClientToken", "MetadataOptions",
         "InstanceInitiatedShutdownBehavior", "BlockDeviceMappings", "TagSpecifications"], ANY)  # fmt: skip
    return {**any_of_it, "InstanceType": kind, **other}


class Slept(list[float]):
    def clock(self) -> Clock:
        return Clock(sleep=self.append)


@pytest.fixture
def slept() -> Slept:
    return Slept()


def run(
    clients: Clients, slept: Slept, *, types: tuple[str, ...] = ("t3.micro",), places: tuple[Place, ...]
) -> Launched:
    return launch(
        clients.ec2(REGION), WANTED, types=types, places=places, clock=slept.clock(), doing="booting ami-1"
    )  # fmt: skip


def test_an_instance_is_born_with_all_that_guards_it(clients: Clients, ec2: Stubber, slept: Slept) -> None:
    tags = WANTED.tags
    ec2.add_response(
        "run_instances",
        STARTED,
        {
            "ImageId": "ami-1",
            "InstanceType": "t3.micro",
            "MinCount": 1,
            "MaxCount": 1,
            "KeyName": WANTED.name,
            "SecurityGroupIds": ["sg-1"],
            "SubnetId": "subnet-1",
            "ClientToken": ANY,
            "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "InstanceInitiatedShutdownBehavior": "terminate",
            "BlockDeviceMappings": [
                {"DeviceName": "/dev/xvdb", "Ebs": {"DeleteOnTermination": True, "VolumeSize": 20}}
            ],
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")
            ],
        },
    )

    assert run(clients, slept, places=(A,)) == Launched("i-1", "t3.micro")


def test_where_ec2_chooses_no_subnet_is_named(clients: Clients, ec2: Stubber, slept: Slept) -> None:
    ec2.add_response("run_instances", STARTED, asked("t3.micro"))

    run(clients, slept, places=(EC2_CHOOSES,))


def test_every_place_is_tried_before_the_next_type_and_never_in_haste(
    clients: Clients, ec2: Stubber, slept: Slept
) -> None:
    for kind, subnet in (("t3.micro", "subnet-1"), ("t3.micro", "subnet-2"), ("t3a.micro", "subnet-1")):
        ec2.add_client_error("run_instances", FULL, expected_params=asked(kind, SubnetId=subnet))
    ec2.add_response("run_instances", STARTED, asked("t3a.micro", SubnetId="subnet-2"))

    assert run(clients, slept, types=("t3.micro", "t3a.micro"), places=(A, B)).type == "t3a.micro"
    assert slept == [1.0, 1.0, 1.0]


def test_a_quota_that_is_reached_is_not_asked_about_in_another_zone(
    clients: Clients, ec2: Stubber, slept: Slept
) -> None:
    ec2.add_client_error("run_instances", "VcpuLimitExceeded", expected_params=asked("t3.micro", SubnetId="subnet-1"))
    ec2.add_response("run_instances", STARTED, asked("m7i.large", SubnetId="subnet-1"))

    assert run(clients, slept, types=("t3.micro", "m7i.large"), places=(A, B)).type == "m7i.large"


def test_nothing_anywhere_is_transient(clients: Clients, ec2: Stubber, slept: Slept) -> None:
    for code in (FULL, "InsufficientFreeAddressesInSubnet"):
        ec2.add_client_error("run_instances", code)

    with pytest.raises(Transient, match="booting ami-1: EC2 has no room"):
        run(clients, slept, places=(A, B))


def test_an_error_that_another_place_would_not_hint_ends_the_search(
    clients: Clients, ec2: Stubber, slept: Slept
) -> None:
    ec2.add_client_error("run_instances", "UnauthorizedOperation")

    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        run(clients, slept, places=(A, B))


def test_a_security_group_that_ec2_does_not_know_yet_is_waited_for(
    clients: Clients, ec2: Stubber, slept: Slept
) -> None:
    ec2.add_client_error("run_instances", "InvalidGroup.NotFound")
    ec2.add_response("run_instances", STARTED)

    run(clients, slept, places=(A,))

    assert slept == [1.0]


def test_an_interrupt_ends_the_search(clients: Clients, ec2: Stubber) -> None:
    def interrupted(_: float) -> None:
        raise Transient("interrupted")

    ec2.add_client_error("run_instances", FULL)

    with pytest.raises(Transient, match="interrupted"):
        launch(
            clients.ec2(REGION), WANTED, types=["t3.micro"], places=[A, B], clock=Clock(sleep=interrupted), doing="b"
        )  # fmt: skip
