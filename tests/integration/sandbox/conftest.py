"""One sandbox for a module of tests, and the few hands that reach into it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef

DEBIAN = "136693071363"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running
        running_log = (running.directory / handle.LOG).read_text()
    assert "Traceback" not in running_log, running_log


@pytest.fixture
def healthy(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox with no fault pending and no call counted; faults do not outlive the test."""
    sandbox.heal()
    sandbox.forget_calls()
    yield sandbox
    sandbox.heal()


def check_answer(checked: set[str], parsed: Any, model: Any, **_: Any) -> None:
    """Hold an answer to what botocore's model says of it, and remember that the operation was: for `after-call`."""
    answer = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
    checked.add(model.name)
    if model.output_shape is not None:
        assert not (unknown := answer.keys() - model.output_shape.members.keys()), unknown
        ParamValidator().validate(answer, model.output_shape)
        assert answer, f"{model.name} answers nothing that botocore knows"


def client(sandbox: Sandbox, region: str = "us-east-1") -> EC2Client:
    """EC2 through the HTTPS proxy, each call tried once."""
    exported = sandbox.environment
    return boto3.client(
        "ec2",
        region_name=region,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
        verify=exported["AWS_CA_BUNDLE"],
        config=Config(
            retries={"total_max_attempts": 1, "mode": "standard"}, proxies={"https": exported["HTTPS_PROXY"]}
        ),
    )


def upstream(ec2: EC2Client) -> str:
    """The newest image of Debian 12."""
    named: FilterTypeDef = {"Name": "name", "Values": ["debian-12-amd64-*"]}
    found = ec2.describe_images(Owners=[DEBIAN], Filters=[named])["Images"]
    return max(found, key=lambda image: image["CreationDate"])["ImageId"]


@dataclass(frozen=True)
class Instance:
    """A running instance with a key to it."""

    ec2: EC2Client
    id: str
    address: str
    key: Path

    def ssh_options(self) -> list[str]:
        return [
            *("-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
        ]

    def run(
        self, command: str, *, user: str = "admin", given: bytes = b"", options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh", *self.ssh_options(), *options, f"{user}@{self.address}", command],
            input=given,
            capture_output=True,
            check=False,
        )

    def says(self, command: str, *, user: str = "admin") -> str:
        done = self.run(command, user=user)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


def start(sandbox: Sandbox, folder: Path, *, image: str | None = None, region: str = "us-east-1") -> Instance:
    """Start an instance with a key pair of its own."""
    ec2 = client(sandbox, region)
    name = f"{folder.name}-{os.urandom(4).hex()}"
    key = folder / name
    key.write_text(ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"])
    key.chmod(0o600)
    reservation = ec2.run_instances(ImageId=image or upstream(ec2), MinCount=1, MaxCount=1, KeyName=name)
    instance_id = reservation["Instances"][0]["InstanceId"]
    return Instance(ec2=ec2, id=instance_id, address=address_of(ec2, instance_id), key=key)


def address_of(ec2: EC2Client, instance_id: str) -> str:
    found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return found["PublicIpAddress"]


# What tests ask for. The functions above come as fixtures: test modules can't import each other (importlib mode).
Client = Callable[[str], "EC2Client"]
Start = Callable[..., Instance]


@pytest.fixture
def region(sandbox: Sandbox) -> Client:
    """EC2 in a region: `region("eu-west-1").describe_images()`."""
    return lambda name: client(sandbox, name)


@pytest.fixture
def ec2(sandbox: Sandbox) -> EC2Client:
    return client(sandbox)


@pytest.fixture
def debian(ec2: EC2Client) -> str:
    return upstream(ec2)


@pytest.fixture
def launched(sandbox: Sandbox, tmp_path: Path) -> Iterator[Start]:
    """Start instances that end with the test."""
    started: list[Instance] = []

    def one_more(*, image: str | None = None, region: str = "us-east-1") -> Instance:
        started.append(start(sandbox, tmp_path, image=image, region=region))
        return started[-1]

    yield one_more
    for instance in started:
        instance.ec2.terminate_instances(InstanceIds=[instance.id])


@pytest.fixture
def instance(launched: Start) -> Instance:
    return launched()
