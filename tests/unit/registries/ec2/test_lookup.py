from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.errors import Terminal, Transient
from reconciler.registries.ec2.images import find, wait_available

REGION, AMI = "us-east-1", "ami-00000001"


class Time:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.clock = Clock(monotonic=lambda: sum(self.slept), sleep=self.slept.append)


@pytest.fixture
def time() -> Time:
    return Time()


def state(name: str, **more: Any) -> dict[str, Any]:
    return {"Images": [{"ImageId": AMI, "State": name, **more}]}


def not_found(ec2: Stubber) -> None:
    ec2.add_client_error("describe_images", "InvalidAMIID.NotFound")


def throttled(ec2: Stubber) -> None:
    ec2.add_client_error("describe_images", "RequestLimitExceeded")


def test_without_patience_not_found_is_believed_at_once(clients: Clients, ec2: Stubber, time: Time) -> None:
    not_found(ec2)

    assert find(clients, REGION, AMI, patience=0, clock=time.clock) is None
    assert time.slept == []


def test_with_patience_a_new_image_is_found_once_ec2_knows_it(clients: Clients, ec2: Stubber, time: Time) -> None:
    not_found(ec2)
    not_found(ec2)
    ec2.add_response("describe_images", state("available"))

    found = find(clients, REGION, AMI, patience=30, clock=time.clock)

    assert found is not None
    assert time.slept == [1, 2]


def test_patience_ends_after_the_seconds_given(clients: Clients, ec2: Stubber, time: Time) -> None:
    for _ in range(6):
        not_found(ec2)

    assert find(clients, REGION, AMI, patience=20, clock=time.clock) is None
    assert time.slept == [1, 2, 4, 8, 5]


def test_a_failed_read_is_not_retried_again_here(clients: Clients, ec2: Stubber, time: Time) -> None:
    throttled(ec2)

    with pytest.raises(Transient, match="RequestLimitExceeded after 1 try"):
        find(clients, REGION, AMI, patience=30, clock=time.clock)
    assert time.slept == []


@pytest.mark.parametrize("answer", [{"Images": []}, state("deregistered")], ids=["empty", "deregistered"])
def test_an_image_that_was_just_deregistered_is_gone(
    clients: Clients, ec2: Stubber, time: Time, answer: dict[str, Any]
) -> None:
    ec2.add_response("describe_images", answer)

    assert find(clients, REGION, AMI, patience=0, clock=time.clock) is None


def wait(clients: Clients, time: Time, *, timeout: float = 3600) -> str:
    polling = Polling(first=5, longest=30)
    return wait_available(clients, REGION, AMI, timeout=timeout, polling=polling, clock=time.clock).state


def test_a_copy_is_looked_at_less_and_less_often(clients: Clients, ec2: Stubber, time: Time) -> None:
    for _ in range(5):
        ec2.add_response("describe_images", state("pending"))
    ec2.add_response("describe_images", state("available"))

    assert wait(clients, time) == "available"
    assert time.slept == [5, 10, 20, 30, 30]


def test_a_copy_that_is_not_visible_yet_or_could_not_be_read_is_waited_for(
    clients: Clients, ec2: Stubber, time: Time
) -> None:
    not_found(ec2)
    throttled(ec2)
    ec2.add_response("describe_images", state("available"))

    assert wait(clients, time) == "available"


def test_a_copy_that_stays_invisible_is_gone(clients: Clients, ec2: Stubber, time: Time) -> None:
    for _ in range(5):
        not_found(ec2)

    with pytest.raises(Terminal, match=f"{AMI} in {REGION} is gone"):
        wait(clients, time)


def test_a_failed_copy_gives_ec2_s_reason(clients: Clients, ec2: Stubber, time: Time) -> None:
    reason = {"Code": "Client.InternalError", "Message": "Snapshot snap-1 could not be decrypted"}
    ec2.add_response("describe_images", state("failed", StateReason=reason))

    with pytest.raises(Terminal, match=f"{AMI} in {REGION} is failed: Snapshot snap-1 could not be decrypted"):
        wait(clients, time)


def test_time_that_is_over_is_passing_and_never_overstepped(clients: Clients, ec2: Stubber, time: Time) -> None:
    for _ in range(4):
        ec2.add_response("describe_images", state("pending"))

    with pytest.raises(Transient, match="still pending after 20 s"):
        wait(clients, time, timeout=20)
    assert sum(time.slept) == 20


def test_a_right_that_is_missing_ends_the_wait_at_once(clients: Clients, ec2: Stubber, time: Time) -> None:
    ec2.add_client_error("describe_images", "UnauthorizedOperation")

    with pytest.raises(Terminal, match="not allowed"):
        wait(clients, time)
    assert time.slept == []
