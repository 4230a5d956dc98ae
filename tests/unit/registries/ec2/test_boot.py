from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.ports.bench import BootRequest, Instance
from reconciler.registries.ec2.bench import boot

REGION = "us-east-1"
IMAGE: dict[str, Any] = {
    "Images": [{"ImageId": "ami-1", "State": "available", "Architecture": "x86_64", "EnaSupport": True}]
}
SUBNET = {"Subnets": [{"SubnetId": "subnet-1", "AvailabilityZone": "us-east-1a", "VpcId": "vpc-1"}]}


@dataclass(frozen=True)
class Ami:
    id: str = "ami-1"
    location: str = REGION
    snapshots: tuple[str, ...] = ()


def request(folder: Path, **wanted: Any) -> BootRequest:
    plain: dict[str, Any] = {
        "artifact": Ami(),
        "name": "web-1",
        "user": "admin",
        "instance_types": ("t3.micro",),
        "subnets": ("subnet-1",),
        "allow_from": ("203.0.113.0/24",),
        "tags": {},
        "timeout": 60,
        "private_key": folder / "key",
    }
    return BootRequest(**{**plain, **wanted})


def booted(clients: Clients, asked: BootRequest) -> Instance:
    clock = Clock(sleep=lambda _: None)
    return boot(clients, asked, fleet="acme/images", clock=clock, polling=Polling())


def test_an_image_that_ec2_does_not_know_yet_is_for_a_later_run(clients: Clients, ec2: Stubber, tmp_path: Path) -> None:
    ec2.add_client_error("describe_images", "InvalidAMIID.NotFound")

    with pytest.raises(Transient, match="booting ami-1 in us-east-1: EC2 does not know this image"):
        booted(clients, request(tmp_path))


def test_an_image_that_is_not_whole_yet_is_for_a_later_run(clients: Clients, ec2: Stubber, tmp_path: Path) -> None:
    ec2.add_response("describe_images", {"Images": [{"ImageId": "ami-1", "State": "pending"}]})

    with pytest.raises(Transient, match="it is still pending"):
        booted(clients, request(tmp_path))


def test_a_windows_image_is_refused_with_what_to_declare(clients: Clients, ec2: Stubber, tmp_path: Path) -> None:
    ec2.add_response("describe_images", {"Images": [{**IMAGE["Images"][0], "Platform": "windows"}]})

    with pytest.raises(UserError, match="not tested over SSH") as caught:
        booted(clients, request(tmp_path))

    assert "boot: false" in str(caught.value)


def test_a_block_that_is_none_is_refused_before_anything_is_asked(
    clients: Clients, ec2: Stubber, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="is no block of addresses"):
        booted(clients, request(tmp_path, allow_from=("the office",)))


def test_a_type_that_there_is_not_is_the_persons_to_mend(clients: Clients, ec2: Stubber, tmp_path: Path) -> None:
    made_until_launch(ec2)
    ec2.add_client_error("run_instances", "InvalidParameterValue", "Invalid value 't9.micro' for InstanceType.")
    taken_down(ec2)

    with pytest.raises(UserError, match=r"booting ami-1 in us-east-1: Invalid value 't9\.micro' for InstanceType"):
        booted(clients, request(tmp_path, instance_types=("t9.micro",)))


def test_what_can_not_be_removed_is_told_beside_why_it_should_be(
    clients: Clients, ec2: Stubber, tmp_path: Path
) -> None:
    made_until_launch(ec2)
    ec2.add_client_error("run_instances", "UnauthorizedOperation")
    ec2.add_client_error("describe_instances", "RequestLimitExceeded")
    ec2.add_response("delete_key_pair", {})

    with pytest.raises(Terminal, match="not allowed: RunInstances") as caught:
        booted(clients, request(tmp_path))

    assert "something of it is left (removing what was made for smoke-test-web-1-" in caught.value.hint[-1]
    assert "RequestLimitExceeded" in caught.value.hint[-1]


def test_whatever_ends_it_nothing_stays(clients: Clients, ec2: Stubber, tmp_path: Path) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    made_until_launch(ec2)
    ec2.add_response("run_instances", {"Instances": [{"InstanceId": "i-1"}]})
    ec2.add_response("describe_instances", {"Reservations": []})
    ec2.add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
    ec2.add_response("delete_key_pair", {})
    ec2.add_response("describe_instances", {"Reservations": []})
    ec2.add_response("delete_security_group", {})

    with pytest.raises(KeyboardInterrupt):
        boot(clients, request(tmp_path), fleet="acme/images", clock=Clock(sleep=stop), polling=Polling())

    assert not (tmp_path / "key").exists()


def made_until_launch(ec2: Stubber) -> None:
    ec2.add_response("describe_images", IMAGE)
    ec2.add_response("describe_subnets", SUBNET)
    ec2.add_response("import_key_pair", {}, {"KeyName": ANY, "PublicKeyMaterial": ANY, "TagSpecifications": ANY})
    ec2.add_response("create_security_group", {"GroupId": "sg-1"})
    ec2.add_response("authorize_security_group_ingress", {})


def taken_down(ec2: Stubber) -> None:
    ec2.add_response("describe_instances", {"Reservations": []})
    ec2.add_response("delete_key_pair", {})
    ec2.add_response("delete_security_group", {}, {"GroupId": "sg-1"})
