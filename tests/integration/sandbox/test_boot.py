"""An AMI that Packer built boots through the registry's `Instances`, lets its key in, and goes without a trace."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.aws.clock import Clock, Polling
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.ports.bench import LIFE, BootRequest, Instance
from reconciler.registries.ec2.bench import Ec2Instances
from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.sandbox

FLEET, REGION = "acme/images", "us-east-1"
TAGS = {"reconciler:fleet": FLEET, "reconciler:image": "web", "reconciler:build": "20261122T120000Z-1a2b3c4"}
TEMPLATE = {
    "builders": [
        {
            "type": "amazon-ebs",
            "region": REGION,
            "instance_type": "t3.micro",
            "ami_name": "NAME",
            "ssh_username": "admin",
            "source_ami_filter": {
                "filters": {"name": "debian-12-amd64-*"},
                "owners": ["136693071363"],
                "most_recent": True,
            },
        }
    ],
    "provisioners": [{"type": "shell", "inline": ["echo built | sudo tee /opt/built"]}],
}

Ask = Callable[..., BootRequest]


@dataclass(frozen=True)
class Ami:
    id: str
    location: str = REGION
    parts: tuple[str, ...] = ()


@pytest.fixture
def instances(healthy: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Ec2Instances:
    for name, value in healthy.environment.items():
        monkeypatch.setenv(name, value)
    # Nothing takes time in the sandbox. A wait that would never end is ended by the clock, which passes as it is slept.
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    clock = Clock(monotonic=lambda: passed[0], sleep=sleep)
    return Ec2Instances(AwsSettings(), fleet=FLEET, clock=clock, polling=Polling(first=1), attempts=1)


@pytest.fixture
def ask(debian: str, tmp_path: Path) -> Ask:
    plain = BootRequest(
        artifact=Ami(debian),
        name="web-20261122T120000Z-1a2b3c4",
        user="admin",
        instance_types=(),
        subnets=(),
        allow_from=("127.0.0.0/8",),
        tags=TAGS,
        timeout=30,
        private_key=tmp_path / "key",
    )
    return lambda **wanted: replace(plain, **wanted)


@pytest.fixture
def booted(instances: Ec2Instances, ask: Ask) -> Iterator[Instance]:
    instance = instances.boot(ask())
    yield instance
    instances.terminate(instance)


def ssh(instance: Instance, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    plain = ("-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR")
    known = options or ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    who = ("-i", str(instance.private_key), f"{instance.user}@{instance.address}")
    return subprocess.run(["ssh", *plain, *known, *who, command], capture_output=True, text=True, check=False)


def left(ec2: EC2Client) -> dict[str, list[str]]:
    """Everything that is tagged as made for a smoke test, and is still there."""
    tagged = ec2.describe_tags(Filters=[{"Name": "key", "Values": ["reconciler:purpose"]}])["Tags"]
    ended = {
        one["InstanceId"]
        for held in ec2.describe_instances()["Reservations"]
        for one in held["Instances"]
        if one["State"]["Name"] == "terminated"
    }
    # What moto deletes, it still knows the tags of.
    there = {
        "instance": {one["ResourceId"] for one in tagged} - ended,
        "key-pair": {one["KeyPairId"] for one in ec2.describe_key_pairs()["KeyPairs"]},
        "security-group": {one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]},
        "volume": {one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]},
        "network-interface": {
            one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]
        },
    }
    found: dict[str, list[str]] = {}
    for one in tagged:
        if one["ResourceId"] in there[one["ResourceType"]]:
            found.setdefault(one["ResourceType"], []).append(one["ResourceId"])
    return found


@pytest.mark.packer
def test_what_packer_built_boots_lets_its_key_in_and_leaves_nothing(
    instances: Ec2Instances, ask: Ask, ec2: EC2Client, tmp_path: Path
) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE).replace("NAME", tmp_path.name))
    built = subprocess.run(
        ["packer", "build", "-color=false", "template.json"],
        cwd=tmp_path,
        env={**os.environ, "PACKER_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (image,) = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [tmp_path.name]}])["Images"]

    instance = instances.boot(ask(artifact=Ami(image["ImageId"])))
    inside = ssh(instance, "cat /opt/built")
    during = left(ec2)
    instances.terminate(instance)

    assert inside.stdout == "built\n", inside.stderr
    assert sorted(during) == ["instance", "key-pair", "network-interface", "security-group", "volume"]
    assert left(ec2) == {}
    assert ssh(instance, "true").returncode == 255


def test_only_its_own_key_is_let_in(instances: Ec2Instances, ask: Ask, booted: Instance, tmp_path: Path) -> None:
    other = instances.boot(ask(private_key=tmp_path / "other"))

    refused = ssh(replace(booted, private_key=other.private_key), "true")
    instances.terminate(other)

    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_it_is_born_guarded_and_owned(booted: Instance, ec2: EC2Client) -> None:
    found = ec2.describe_instances(InstanceIds=[booted.id])["Reservations"][0]["Instances"][0]
    (group,) = ec2.describe_security_groups(GroupIds=[booted.security_group])["SecurityGroups"]
    attribute: Any = ec2.describe_instance_attribute(
        InstanceId=booted.id, Attribute="instanceInitiatedShutdownBehavior"
    )

    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert "IamInstanceProfile" not in found
    assert attribute["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert TAGS.items() <= {tag["Key"]: tag["Value"] for tag in found["Tags"]}.items()
    (rule,) = group["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 22, 22)
    assert [one["CidrIp"] for one in rule["IpRanges"]] == ["127.0.0.0/8"]


def test_a_lost_answer_makes_no_second_instance(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    patient = Ec2Instances(AwsSettings(), fleet=FLEET)
    healthy.inject(action="RunInstances", code="InternalError", after=True)

    instance = patient.boot(ask())

    assert left(ec2)["instance"] == [instance.id]
    patient.terminate(instance)


def test_an_instance_that_ec2_never_told_of_is_ended_all_the_same(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client
) -> None:
    healthy.inject(action="RunInstances", code="InternalError", after=True)

    with pytest.raises(Transient, match="InternalError"):
        instances.boot(ask())

    assert healthy.calls()["ec2", "TerminateInstances", REGION] == 1
    assert left(ec2) == {}


@pytest.mark.parametrize(
    "action",
    ["ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RunInstances"],
)
def test_nothing_stays_of_a_boot_that_fails_anywhere(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client, action: str
) -> None:
    for after in (False, True):  # the call fails, or takes effect and its answer is lost
        healthy.inject(action=action, code="InternalError", after=after)

        with pytest.raises(Transient):
            instances.boot(ask())

        assert left(ec2) == {}
    assert not ask().private_key.exists()


def test_an_instance_that_dies_while_it_starts_is_told_of_and_leaves_nothing(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client
) -> None:
    def die(**_: object) -> None:
        for held in ec2.describe_instances(Filters=[{"Name": "tag:reconciler:purpose", "Values": ["smoke-test"]}])[
            "Reservations"
        ]:
            for one in held["Instances"]:
                if one["State"]["Name"] == "running":
                    healthy.kill(one["InstanceId"])

    instances._clients.ec2(REGION).meta.events.register("before-call.ec2.DescribeInstances", die)

    with pytest.raises(Transient, match=r"did not start, it is terminated: Server\.InternalError"):
        instances.boot(ask())

    assert left(ec2) == {}


def test_no_room_for_a_type_or_in_a_zone_leads_to_the_next(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client
) -> None:
    first, second = (one["SubnetId"] for one in ec2.describe_subnets()["Subnets"][:2])
    full = "InsufficientInstanceCapacity"
    healthy.inject(action="RunInstances", code=full, times=99, where={"InstanceType": "t3.micro"})
    healthy.inject(action="RunInstances", code=full, times=99, where={"SubnetId": first})

    instance = instances.boot(ask(subnets=(first, second)))

    found = ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    assert (instance.type, found["SubnetId"]) == ("t3a.micro", second)
    instances.terminate(instance)


def test_no_room_anywhere_is_asked_for_once_in_each_place_and_leaves_nothing(
    healthy: Sandbox, ask: Ask, ec2: EC2Client, instances: Ec2Instances, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = len(ec2.describe_subnets()["Subnets"])
    healthy.inject(action="RunInstances", code="InsufficientInstanceCapacity", times=999)
    # As in real life: botocore would ask for each eight times.
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    patient = Ec2Instances(AwsSettings(), fleet=FLEET, clock=Clock(sleep=lambda _: None))

    with pytest.raises(Transient, match="EC2 has no room") as caught:
        patient.boot(ask(instance_types=("t3.small", "t3.large")))

    assert healthy.calls()["ec2", "RunInstances", REGION] == 2 * (1 + zones)
    assert "a zone that EC2 chose" in caught.value.what
    assert left(ec2) == {}


def test_a_subnet_that_is_not_there_is_the_persons_to_mend(instances: Ec2Instances, ask: Ask, ec2: EC2Client) -> None:
    with pytest.raises(UserError, match="subnet-0123456789abcdef0"):
        instances.boot(ask(subnets=("subnet-0123456789abcdef0",)))

    assert left(ec2) == {}


def test_a_missing_right_is_terminal_and_leaves_nothing(
    healthy: Sandbox, instances: Ec2Instances, ask: Ask, ec2: EC2Client
) -> None:
    healthy.inject(action="RunInstances", code="UnauthorizedOperation")

    with pytest.raises(Terminal, match="not allowed: RunInstances"):
        instances.boot(ask())

    assert left(ec2) == {}


def test_the_console_tells_what_the_instance_wrote(instances: Ec2Instances, booted: Instance) -> None:
    ssh(booted, r"printf 'kernel \033[31mpanic\033[0m\a\n' | sudo tee /dev/console")

    assert instances.console(booted)[-1] == "kernel panic\N{REPLACEMENT CHARACTER}"
    assert any(booted.address in line for line in instances.console(booted))


def test_an_instance_that_dies_is_known_to_be_gone(healthy: Sandbox, instances: Ec2Instances, booted: Instance) -> None:
    assert ssh(booted, "true").returncode == 0

    healthy.kill(booted.id)

    assert ssh(booted, "true").returncode == 255
    assert instances.state(booted) == "terminated"
    assert any(booted.address in line for line in instances.console(booted))
    with pytest.raises(UserError, match="does not run here"):
        healthy.kill(booted.id)


def test_another_host_key_is_seen_by_who_knew_the_first(healthy: Sandbox, booted: Instance, tmp_path: Path) -> None:
    trusting = ("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={tmp_path / 'known'}")
    assert ssh(booted, "true", *trusting).returncode == 0

    healthy.change_host_key(booted.id)
    refused = ssh(booted, "true", *trusting)

    assert refused.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr.upper() or "verification failed" in refused.stderr
    assert ssh(booted, "true").returncode == 0


def test_the_hosts_own_host_keys_are_not_inside(booted: Instance) -> None:
    assert ssh(booted, "sudo sh -c 'ls /etc/ssh/ssh_host_* 2>/dev/null | wc -l'").stdout == "0\n"


def test_a_kept_instance_outlives_a_sweep_and_what_was_left_does_not(
    instances: Ec2Instances, ask: Ask, ec2: EC2Client, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    left_behind = instances.boot(ask(private_key=tmp_path / "left"))
    kept = instances.boot(ask(private_key=tmp_path / "kept"))
    instances.keep(kept, until=now + 3 * LIFE)

    assert instances.sweep(REGION, now=now + LIFE / 2) == ()
    assert instances.sweep(REGION, now=now + 2 * LIFE) == (left_behind.id,)
    assert instances.sweep(REGION, now=now + 2 * LIFE) == ()

    assert ssh(kept, "true").returncode == 0
    assert {kind: len(ids) for kind, ids in left(ec2).items()} == {
        "instance": 1, "key-pair": 1, "network-interface": 1, "security-group": 1, "volume": 1,
    }  # fmt: skip
    for _ in range(2):  # its security group is free only once it has ended
        instances.sweep(REGION, now=now + 3 * LIFE + timedelta(minutes=1))
    assert left(ec2) == {}


def test_what_is_not_this_fleets_is_not_swept(instances: Ec2Instances, booted: Instance) -> None:
    others = Ec2Instances(AwsSettings(), fleet="acme/*", attempts=1)

    assert others.sweep(REGION, now=datetime.now(UTC) + 2 * LIFE) == ()
    assert instances.state(booted) == "running"


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeKeyPairs", "DescribeSecurityGroups", "DescribeTags"])
def test_a_sweep_that_can_not_read_all_removes_nothing(
    healthy: Sandbox, instances: Ec2Instances, booted: Instance, action: str
) -> None:
    healthy.inject(action=action, code="RequestLimitExceeded")

    with pytest.raises(Transient, match="RequestLimitExceeded"):
        instances.sweep(REGION, now=datetime.now(UTC) + 2 * LIFE)

    assert instances.state(booted) == "running"


def test_a_sweep_of_nothing_is_one_call(healthy: Sandbox, instances: Ec2Instances) -> None:
    instances.sweep("eu-west-1", now=datetime.now(UTC))

    assert healthy.calls() == {("ec2", "DescribeTags", "eu-west-1"): 1}
