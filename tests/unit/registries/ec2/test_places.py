from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from reconciler.aws.session import Clients
from reconciler.model.errors import UserError
from reconciler.registries.ec2.launch import EC2_CHOOSES, Place, Site, find_site

REGION = "us-east-1"


def subnet(name: str, zone: str, vpc: str = "vpc-1") -> dict[str, Any]:
    return {"SubnetId": name, "AvailabilityZone": zone, "VpcId": vpc}


def site(clients: Clients, *subnets: str) -> Site:
    return find_site(clients.ec2(REGION), subnets, region=REGION)


def test_declared_subnets_are_tried_in_their_order(clients: Clients, ec2: Stubber) -> None:
    answer = {"Subnets": [subnet("subnet-1", "us-east-1a"), subnet("subnet-2", "us-east-1b")]}
    ec2.add_response("describe_subnets", answer, {"SubnetIds": ["subnet-2", "subnet-1"]})

    found = site(clients, "subnet-2", "subnet-1", "subnet-2")

    assert found == Site("vpc-1", (Place("subnet-2", "us-east-1b"), Place("subnet-1", "us-east-1a")))


def test_without_any_ec2_chooses_first_and_then_each_zone_of_the_default_vpc(clients: Clients, ec2: Stubber) -> None:
    answer = {"Subnets": [subnet("subnet-2", "us-east-1b"), subnet("subnet-1", "us-east-1a")]}
    ec2.add_response("describe_subnets", answer)

    found = site(clients)

    assert found.places == (EC2_CHOOSES, Place("subnet-1", "us-east-1a"), Place("subnet-2", "us-east-1b"))


def test_an_account_without_a_default_vpc_is_told_what_to_declare(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_subnets", {"Subnets": []})

    with pytest.raises(UserError, match="no default VPC in us-east-1") as caught:
        site(clients)

    assert "smoke_test.subnets" in str(caught.value)


def test_subnets_of_two_vpcs_are_refused(clients: Clients, ec2: Stubber) -> None:
    answer = {"Subnets": [subnet("subnet-1", "us-east-1a"), subnet("subnet-2", "us-east-1b", "vpc-2")]}
    ec2.add_response("describe_subnets", answer)

    with pytest.raises(UserError, match="several VPCs: vpc-1, vpc-2"):
        site(clients, "subnet-1", "subnet-2")
