from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from reconciler.aws.clock import Clock
from reconciler.aws.session import Clients
from reconciler.model.errors import UserError
from reconciler.registries.ec2.admission import networks, open_group

REGION = "us-east-1"


class Allowed:
    """Equals every text that EC2 takes for the description of a security group."""

    def __eq__(self, text: object) -> bool:
        return bool(re.fullmatch(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}", str(text)))

    __hash__ = None  # type: ignore[assignment] # equal to many


def test_blocks_and_addresses_are_read() -> None:
    read = networks(["203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "10.1.2.3/8", "203.0.113.0/24"])

    assert list(map(str, read)) == ["203.0.113.0/24", "198.51.100.7/32", "2001:db8::/32", "10.0.0.0/8"]


@pytest.mark.parametrize("block", ["", "my-office", "10.0.0.0/33", "203.0.113.0/24 ", "300.1.1.1"])
def test_what_is_no_block_is_refused_with_an_example(block: str) -> None:
    with pytest.raises(UserError, match="is no block of addresses") as caught:
        networks([block])

    assert "smoke_test.allow_from" in str(caught.value)


def test_only_ssh_is_let_in_also_where_ec2_knows_the_group_late(clients: Clients, ec2: Stubber) -> None:
    tags: Any = [{"Key": "reconciler:fleet", "Value": "acme/images"}]
    slept: list[float] = []
    ec2.add_response(
        "create_security_group",
        {"GroupId": "sg-1"},
        {"GroupName": ANY, "Description": Allowed(), "VpcId": "vpc-1", "TagSpecifications": ANY},
    )
    ec2.add_client_error("authorize_security_group_ingress", "InvalidGroup.NotFound")
    rule = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "203.0.113.0/24"}],
        "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}],
    }
    ec2.add_response("authorize_security_group_ingress", {}, {"GroupId": "sg-1", "IpPermissions": [rule]})

    group = open_group(
        clients.ec2(REGION),
        "vpc-1",
        name="smoke-test-web-1a2b3c4d",
        allow_from=networks(["203.0.113.0/24", "2001:db8::/32"]),
        tags=tags,
        clock=Clock(sleep=slept.append),
    )

    assert (group, slept) == ("sg-1", [1.0])
