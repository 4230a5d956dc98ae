from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.registries.ec2.launch import wait_running

REGION = "us-east-1"


def described(state: str, **fields: Any) -> dict[str, Any]:
    return {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": state}, **fields}]}]}


def wait(clients: Clients, *, timeout: float = 30) -> str:
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    clock = Clock(monotonic=lambda: passed[0], sleep=sleep)
    return wait_running(clients.ec2(REGION), "i-1", timeout=timeout, clock=clock, polling=Polling(first=10, longest=10))


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"PublicIpAddress": "203.0.113.7", "PrivateIpAddress": "10.0.0.7"}, "203.0.113.7"),
        ({"PrivateIpAddress": "10.0.0.7"}, "10.0.0.7"),
        ({"PublicIpAddress": "", "Ipv6Address": "2001:db8::7"}, "2001:db8::7"),
    ],
    ids=["public", "private", "IPv6 only"],
)
def test_the_address_is_the_one_that_reaches_furthest(
    clients: Clients, ec2: Stubber, fields: dict[str, str], address: str
) -> None:
    ec2.add_response("describe_instances", described("running", **fields))

    assert wait(clients) == address


def test_it_is_waited_for_through_all_that_passes(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("describe_instances", {"Reservations": []})
    ec2.add_client_error("describe_instances", "RequestLimitExceeded")
    ec2.add_response("describe_instances", described("pending"))
    ec2.add_response("describe_instances", described("running", PrivateIpAddress="10.0.0.7"))

    assert wait(clients) == "10.0.0.7"


@pytest.mark.parametrize(
    ("answer", "still"),
    [
        ({"Reservations": []}, "not visible"),
        (described("pending"), "pending"),
        (described("running"), "running without an address"),
    ],
    ids=["invisible", "pending", "no address"],
)
def test_the_wait_ends_with_what_it_was_last(clients: Clients, ec2: Stubber, answer: Any, still: str) -> None:
    for _ in range(3):
        ec2.add_response("describe_instances", answer)

    with pytest.raises(Transient, match=f"i-1 is still {still} after 20 s"):
        wait(clients, timeout=20)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Server.InsufficientInstanceCapacity", Transient),
        ("Server.InternalError", Transient),
        ("Client.InternalError", Terminal),
        ("Client.UserInitiatedShutdown", Terminal),
    ],
)
def test_one_that_ends_at_once_is_told_with_ec2s_reason(
    clients: Clients, ec2: Stubber, code: str, kind: type[ReconcilerError]
) -> None:
    reason = {"Code": code, "Message": f"{code}: because"}
    ec2.add_response("describe_instances", described("terminated", StateReason=reason))

    with pytest.raises(kind, match=f"i-1 did not start, it is terminated: {code}: because"):
        wait(clients)


def test_a_missing_right_ends_the_wait(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error("describe_instances", "UnauthorizedOperation")

    with pytest.raises(Terminal, match="not allowed: DescribeInstances"):
        wait(clients)
