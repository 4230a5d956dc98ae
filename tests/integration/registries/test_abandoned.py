"""What killed builds left, asked of a real server: what is removed, and everything like it that is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.session import Clients
from reconciler.model.collection import Abandoned
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Transient
from reconciler.registries.ec2 import dismantle
from reconciler.registries.ec2.abandoned import abandoned, remove

REGION, FLEET = "us-east-1", "acme/images"
PATIENT = Clock(monotonic=partial(next, count(0, 60)), sleep=lambda _: None)
OURS = {"reconciler:fleet": FLEET, "reconciler:run": "run-1"}


@pytest.fixture
def clients(moto: str) -> Clients:
    assert moto
    return Clients(AwsSettings(), attempts=2)


@pytest.fixture
def ec2(clients: Clients) -> Any:
    return boto3.client("ec2", REGION)


def tagged(kind: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def build(ec2: Any, tags: Mapping[str, str], *, key: str = "packer_1", group: str = "packer_1") -> dict[str, str]:
    """What Packer makes for a build: the ids, by kind."""
    ec2.create_key_pair(KeyName=key, TagSpecifications=tagged("key-pair", tags))
    made = ec2.create_security_group(
        GroupName=group, Description="-", TagSpecifications=tagged("security-group", tags)
    )["GroupId"]
    image = ec2.register_image(Name=f"from-{key}")["ImageId"]
    instance = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, KeyName=key, SecurityGroupIds=[made],
        TagSpecifications=tagged("instance", tags),
    )["Instances"][0]["InstanceId"]  # fmt: skip
    volume = ec2.create_volume(
        AvailabilityZone=f"{REGION}a", Size=8, TagSpecifications=tagged("volume", tags)
    )["VolumeId"]  # fmt: skip
    return {"instance": instance, "volume": volume, "security group": made, "key pair": key}


def found(clients: Clients, *, hours: int = 1) -> list[tuple[str, str]]:
    """What counts as left, of what was made until some hours from now on."""
    before = datetime.now(UTC) + timedelta(hours=hours)
    return [(one.kind, one.id) for one in abandoned(clients, REGION, fleet=FLEET, before=before)]


def left(clients: Clients) -> Sequence[Abandoned]:
    return abandoned(clients, REGION, fleet=FLEET, before=datetime.now(UTC) + timedelta(hours=1))


def test_all_that_a_killed_build_left_is_told_in_order_and_removed(clients: Clients, ec2: Any) -> None:
    made = build(ec2, {**OURS, "reconciler:image": "web"})
    assert found(clients) == list(made.items())
    assert {(one.run, one.image) for one in left(clients)} == {("run-1", "web")}
    removed = [one.kind for one in remove(clients, left(clients), clock=PATIENT, polling=Polling())]
    assert removed == list(made)
    (state,) = [
        one["Instances"][0]["State"]["Name"]
        for one in ec2.describe_instances(InstanceIds=[made["instance"]])["Reservations"]
    ]
    assert state in ("shutting-down", "terminated")
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    assert found(clients) == []


def test_a_volume_that_is_attached_goes_once_its_instance_has_ended(clients: Clients, ec2: Any) -> None:
    made = build(ec2, OURS)
    ec2.attach_volume(VolumeId=made["volume"], InstanceId=made["instance"], Device="/dev/sdf")

    removed = [one.kind for one in remove(clients, left(clients), clock=PATIENT, polling=Polling())]

    assert removed == list(made)
    assert found(clients) == []
    assert [one for one in ec2.describe_volumes()["Volumes"] if one["VolumeId"] == made["volume"]] == []


def test_a_volume_that_is_still_held_is_asked_for_again(
    clients: Clients, ec2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(ec2, OURS)
    refused: list[Any] = []
    plain = clients.ec2(REGION).delete_volume

    def held(**asked: Any) -> Any:
        if len(refused) < 2:
            refused.append(asked)
            raise ClientError({"Error": {"Code": "VolumeInUse", "Message": "attached"}}, "DeleteVolume")
        return plain(**asked)

    monkeypatch.setattr(clients.ec2(REGION), "delete_volume", held)

    assert [one.id for one in remove(clients, left(clients), clock=PATIENT, polling=Polling())] == [*made.values()]
    assert len(refused) == 2


def test_what_is_held_for_long_stays_with_the_key_by_which_a_later_run_finds_it(
    clients: Clients, ec2: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(ec2, OURS)
    monkeypatch.setattr(dismantle, "delete_group", lambda _ec2, _group: False)
    with pytest.raises(Transient, match="something still uses it"):
        list(remove(clients, left(clients), clock=PATIENT, polling=Polling()))
    held = {kind: made[kind] for kind in ("security group", "key pair")}
    assert found(clients) == list(held.items())
    monkeypatch.undo()
    assert [one.kind for one in remove(clients, left(clients), clock=PATIENT, polling=Polling())] == list(held)


def test_what_is_younger_may_be_at_work(clients: Clients, ec2: Any) -> None:
    build(ec2, OURS)
    assert found(clients, hours=-1) == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "tags",
    [
        {"Name": "Packer Builder"},
        {"reconciler:fleet": FLEET},
        {"reconciler:run": "run-1"},
        {**OURS, "reconciler:fleet": "others/images"},
        {**OURS, "reconciler:fleet": f"{FLEET}-2"},
        {**OURS, "reconciler:purpose": "smoke-test"},
    ],
    ids=["a name alone", "no run", "no fleet", "another fleet", "a longer name", "a smoke test's"],
)
def test_what_is_not_said_to_be_a_build_of_ours_stays(clients: Clients, ec2: Any, tags: dict[str, str]) -> None:
    build(ec2, tags)
    assert found(clients) == []


def test_what_packer_did_not_name_stays(clients: Clients, ec2: Any) -> None:
    """Somebody tagged machines of his own as ours: they may well run something."""
    build(ec2, OURS, key="deploy", group="web")
    assert found(clients) == []


def test_what_a_living_build_of_the_same_run_uses_stays(clients: Clients, ec2: Any) -> None:
    build(ec2, OURS)
    ec2.run_instances(
        ImageId=ec2.register_image(Name="other")["ImageId"], MinCount=1, MaxCount=1, KeyName="deploy",
        TagSpecifications=tagged("instance", OURS),
    )  # fmt: skip
    assert [kind for kind, _ in found(clients)] == ["instance"]


def test_one_call_tells_that_nothing_is_left(clients: Clients) -> None:
    asked: list[str] = []
    clients.ec2(REGION).meta.events.register("before-call.ec2", lambda model, **_: asked.append(model.name))
    assert left(clients) == []
    assert asked == ["DescribeTags"]
