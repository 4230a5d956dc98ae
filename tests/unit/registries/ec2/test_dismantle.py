from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.errors import Transient
from reconciler.registries.ec2.dismantle import Leftovers, Parts, dismantle, find

REGION = "us-east-1"
NAME = "smoke-test-web-1a2b3c4d"
EXPIRED = "2025-12-31T00:00:00Z"
ENDING: dict[str, Any] = {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": "shutting-down"}}]}]}
GONE: dict[str, Any] = {"Reservations": []}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    key = tmp_path / "key"
    key.touch()
    return Parts(NAME, key, instance="i-1", security_group="sg-1")


def remove(clients: Clients, parts: Parts) -> None:
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    clock = Clock(monotonic=lambda: passed[0], sleep=sleep)
    dismantle(clients.ec2(REGION), parts, clock=clock, polling=Polling(first=100, longest=100))


def test_the_instance_ends_first_and_its_group_once_it_has_ended(clients: Clients, ec2: Stubber, parts: Parts) -> None:
    ec2.add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
    ec2.add_response("delete_key_pair", {}, {"KeyName": NAME})
    ec2.add_response("describe_instances", ENDING)
    ec2.add_response("describe_instances", GONE)
    ec2.add_response("delete_security_group", {}, {"GroupId": "sg-1"})

    remove(clients, parts)

    assert not parts.private_key.exists()


def test_a_group_that_an_interface_still_holds_is_deleted_a_little_later(
    clients: Clients, ec2: Stubber, parts: Parts
) -> None:
    ec2.add_response("terminate_instances", {})
    ec2.add_response("delete_key_pair", {})
    ec2.add_response("describe_instances", GONE)
    ec2.add_client_error("delete_security_group", "DependencyViolation")
    ec2.add_response("describe_instances", GONE)
    ec2.add_response("delete_security_group", {})

    remove(clients, parts)


def test_patience_has_an_end_and_says_what_is_left(clients: Clients, ec2: Stubber, parts: Parts) -> None:
    ec2.add_response("terminate_instances", {})
    ec2.add_response("delete_key_pair", {})
    for _ in range(4):
        ec2.add_response("describe_instances", ENDING)

    with pytest.raises(Transient, match="security group sg-1 is not removed after 300 s: i-1 is still ending"):
        remove(clients, parts)


def test_what_is_gone_already_is_no_error(clients: Clients, ec2: Stubber, parts: Parts) -> None:
    for _ in range(5):
        ec2.add_client_error("terminate_instances", "InvalidInstanceID.NotFound")
    ec2.add_client_error("delete_key_pair", "InvalidKeyPair.NotFound")
    ec2.add_response("describe_instances", GONE)
    ec2.add_client_error("delete_security_group", "InvalidGroup.NotFound")
    parts.private_key.unlink()

    remove(clients, parts)


def test_an_instance_that_ec2_does_not_know_yet_is_ended_when_it_does(
    clients: Clients, ec2: Stubber, parts: Parts
) -> None:
    ec2.add_client_error("terminate_instances", "InvalidInstanceID.NotFound")
    ec2.add_response("terminate_instances", {})
    ec2.add_response("delete_key_pair", {})
    ec2.add_response("describe_instances", GONE)
    ec2.add_response("delete_security_group", {})

    remove(clients, parts)


def test_the_key_goes_even_where_the_instance_can_not_be_ended(clients: Clients, ec2: Stubber, parts: Parts) -> None:
    ec2.add_client_error("terminate_instances", "UnauthorizedOperation")
    ec2.add_response("delete_key_pair", {})

    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        remove(clients, parts)

    assert not parts.private_key.exists()


def test_what_ec2_never_told_of_is_found_by_its_name(clients: Clients, ec2: Stubber, parts: Parts) -> None:
    unknown = Parts(NAME, parts.private_key)
    states = {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]}
    by_key = [{"Name": "key-name", "Values": [NAME]}, states]
    ec2.add_response("describe_instances", ENDING, {"Filters": by_key})
    ec2.add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
    ec2.add_response("delete_key_pair", {})
    by_name = [{"Name": "group-name", "Values": [NAME]}]
    ec2.add_response("describe_security_groups", {"SecurityGroups": [{"GroupId": "sg-1"}]}, {"Filters": by_name})
    ec2.add_response("describe_instances", GONE)
    ec2.add_response("delete_security_group", {}, {"GroupId": "sg-1"})

    remove(clients, unknown)


def test_what_only_its_tags_call_a_leftover_is_not_swept(clients: Clients, ec2: Stubber) -> None:
    # Given a leftover, and another team's things, on which somebody put a leftover's tags
    tags = {"reconciler:fleet": "acme/images", "reconciler:purpose": "smoke-test", "reconciler:keep-until": EXPIRED}
    tagged = [{"Key": key, "Value": value} for key, value in tags.items()]
    names = {"i-1": NAME, "i-2": "payroll", "i-3": f"payroll-{NAME}"}
    instances = [
        {"InstanceId": one, "KeyName": name, "State": {"Name": "running"}, "Tags": tagged, "SecurityGroups": []}
        for one, name in names.items()
    ]
    groups = [{"GroupId": f"sg{one[1:]}", "GroupName": name, "Tags": tagged} for one, name in names.items()]
    pairs = [{"KeyName": name, "Tags": tagged} for name in ("smoke-test-api-1a2b3c4d", "payroll")]
    ec2.add_response("describe_tags", {"Tags": [{"ResourceId": "i-1"}]})
    ec2.add_response("describe_instances", {"Reservations": [{"Instances": instances}]})
    ec2.add_response("describe_key_pairs", {"KeyPairs": pairs})
    ec2.add_response("describe_security_groups", {"SecurityGroups": groups})

    # When another run looks for what was left
    found = find(clients.ec2(REGION), fleet="acme/images", now=datetime(2026, 1, 1, tzinfo=UTC))

    # Then the names, which nobody gives to what is there already, tell one from the other
    assert found == Leftovers(("i-1",), ("smoke-test-api-1a2b3c4d",), ("sg-1",))
