"""What of a bench EC2 alone can do, asked of the one in memory and of EC2 (moto). Both answer alike.

What every kind's does is in test_every_bench.py.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.ec2.models import ec2_backends

from reconciler.aws.clock import Clock
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Transient
from reconciler.ports.bench import LIFE, BootRequest, Instances
from reconciler.registries.ec2.bench import Ec2Instances
from tests.doubles.bench import MemoryInstances

pytestmark = pytest.mark.long

HOME = "us-east-1"
ACCOUNT = "123456789012"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TAGS = {"reconciler:fleet": "acme/images", "reconciler:image": "web", "reconciler:run": "7"}


@dataclass(frozen=True)
class Ami:
    id: str
    location: str = HOME
    parts: tuple[str, ...] = ()


class Bench(Protocol):
    """Instances, and how a test arranges what becomes of them."""

    instances: Instances
    artifact: Ami

    def subnets(self) -> tuple[str, str]: ...
    def fill(self, *types_and_subnets: str) -> None: ...
    def block(self, location: str) -> None: ...
    def make_key(self, name: str) -> tuple[str, datetime]: ...
    def running(self) -> set[str]: ...


class MemoryBench:
    def __init__(self) -> None:
        self.memory = MemoryInstances(now=NOW)
        self.instances: Instances = self.memory
        self.artifact = Ami("ami-1")

    def subnets(self) -> tuple[str, str]:
        return "subnet-1", "subnet-2"

    def fill(self, *types_and_subnets: str) -> None:
        self.memory.full |= set(types_and_subnets)

    def block(self, location: str) -> None:
        self.memory.unreadable[location] = "RequestLimitExceeded after 8 tries"

    def make_key(self, name: str) -> tuple[str, datetime]:
        self.memory.key_pairs[name] = f"ssh-ed25519 AAAA{name}", NOW
        return self.memory.key_pairs[name]

    def running(self) -> set[str]:
        return {one.id for one in self.memory.running}


class Ec2Bench:
    def __init__(self) -> None:
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds

        self.real = Ec2Instances(
            AwsSettings(),
            fleet="acme/images",
            clock=Clock(now=lambda: NOW, monotonic=lambda: passed[0], sleep=sleep),
            attempts=1,
        )
        self.instances: Instances = self.real
        self.ec2 = boto3.client("ec2", region_name=HOME)
        self.artifact = Ami(self.ec2.register_image(Name="web-1")["ImageId"])
        ami: Any = ec2_backends[ACCOUNT][HOME].amis[self.artifact.id]
        ami.architecture, ami.ena_support = "x86_64", True  # moto drops both

    def subnets(self) -> tuple[str, str]:
        found = self.ec2.describe_subnets()["Subnets"]
        return found[0]["SubnetId"], found[1]["SubnetId"]

    def fill(self, *types_and_subnets: str) -> None:
        def refuse(params: Mapping[str, Any], **_: object) -> tuple[AWSResponse, dict[str, Any]] | None:
            body = params["body"]
            if {body["InstanceType"], body.get("SubnetId")}.isdisjoint(types_and_subnets):
                return None
            return failed("InsufficientInstanceCapacity", 500)

        self._events().register("before-call.ec2.RunInstances", refuse)

    def block(self, location: str) -> None:
        self._events(location).register("before-call.ec2", lambda **_: failed("RequestLimitExceeded", 503))

    def make_key(self, name: str) -> tuple[str, datetime]:
        self.ec2.create_key_pair(KeyName=name, KeyType="ed25519")
        made = ec2_backends[ACCOUNT][HOME].key_pairs[name]
        return made.public_key, made.create_time.replace(microsecond=0, tzinfo=UTC)

    def running(self) -> set[str]:
        instances = ec2_backends[ACCOUNT][HOME].all_instances()
        return {one.id for one in instances if one.state == "running"}

    def _events(self, location: str = HOME) -> Any:
        return self.real._clients.ec2(location).meta.events


def failed(code: str, status: int) -> tuple[AWSResponse, dict[str, Any]]:
    """EC2's answer to a call that fails, in place of sending it."""
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return AWSResponse("", status, HTTPHeaders(), None), answer


@pytest.fixture(params=["memory", "ec2"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    request.getfixturevalue("moto")
    return Ec2Bench()


Ask = Callable[..., BootRequest]


@pytest.fixture
def ask(bench: Bench, tmp_path: Path) -> Ask:
    """A request for an instance of the artifact, with what a test wants else of it."""

    def request(**wanted: Any) -> BootRequest:
        plain = BootRequest(
            artifact=bench.artifact,
            name="web-20261122T120000Z-1a2b3c4",
            user="admin",
            instance_types=(),
            subnets=(),
            allow_from=("0.0.0.0/0",),
            tags=TAGS,
            timeout=60,
            private_key=tmp_path / "key",
        )
        return replace(plain, **wanted)

    return request


def test_an_instance_runs_and_has_an_address_and_a_key_for_the_owner_alone(bench: Bench, ask: Ask) -> None:
    instance = bench.instances.boot(ask())

    assert bench.instances.state(instance) == "running"
    assert instance.address
    assert (instance.location, instance.user, instance.type) == (HOME, "admin", "t3.micro")
    assert stat.S_IMODE(instance.private_key.stat().st_mode) == 0o600


def test_the_next_subnet_is_taken_where_the_first_is_full_and_then_the_next_type(bench: Bench, ask: Ask) -> None:
    full, free = bench.subnets()
    request = ask(subnets=(full, free), instance_types=("t3.large", "t3.small"))
    bench.fill(full)

    first = bench.instances.boot(request)
    bench.fill("t3.large")
    second = bench.instances.boot(request)

    assert (first.type, second.type) == ("t3.large", "t3.small")


def test_where_nothing_has_room_it_is_said_what_was_tried_and_nothing_stays(bench: Bench, ask: Ask) -> None:
    subnets = bench.subnets()
    request = ask(subnets=subnets, instance_types=("t3.large", "t3.small"))
    bench.fill("t3.large", *subnets)

    with pytest.raises(Transient) as caught:
        bench.instances.boot(request)

    told = caught.value.what
    assert all(word in told for word in ("t3.large", "t3.small", "InsufficientInstanceCapacity", *subnets)), told
    assert bench.running() == set()
    assert not request.private_key.exists()


def test_the_public_half_of_a_key_pair_is_told_while_it_is_there(bench: Bench) -> None:
    """A name is taken as it stands: for EC2's filters `*` would be every name."""
    public, made = bench.make_key("packer_6912ab")
    bench.make_key("packer_x")

    assert bench.instances.public_key(HOME, "packer_6912ab", since=made) == public
    assert bench.instances.public_key(HOME, "packer_*", since=made) is None
    assert bench.instances.public_key(HOME, "packer_6912a", since=made) is None


def test_a_key_pair_that_was_there_before_is_not_the_one_that_was_asked_for(bench: Bench) -> None:
    _, made = bench.make_key("admin")

    assert bench.instances.public_key(HOME, "admin", since=made + timedelta(seconds=1)) is None


def test_what_can_not_be_asked_is_transient_and_only_the_console_is_silent(bench: Bench, ask: Ask) -> None:
    instance = bench.instances.boot(ask())
    bench.block(HOME)

    assert bench.instances.console(instance) == ()
    with pytest.raises(Transient):
        bench.instances.public_key(HOME, "packer_6912ab", since=NOW)
    with pytest.raises(Transient):
        bench.instances.state(instance)
    with pytest.raises(Transient):
        bench.instances.keep(instance, until=NOW)
    with pytest.raises(Transient):
        bench.instances.sweep(HOME, now=NOW + LIFE * 2)
    with pytest.raises(Transient):
        bench.instances.boot(ask())
    with pytest.raises(Transient):
        bench.instances.terminate(instance)
    assert bench.running() == {instance.id}
