"""Instances of the sandbox, and how a test asks for one of them to be tested."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from reconciler.build.smoke.exchange import Shell
from reconciler.build.smoke.tester import SshTester
from reconciler.model.events import Event
from reconciler.model.inventory import Inventory
from reconciler.ports.tester import Tested, TestRequest
from reconciler.sandbox.handle import Sandbox
from tests.doubles.tester import NOTHING_INSIDE

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

BUILD_ID = "20261122T101530Z-1a2b3c4"


@dataclass(frozen=True)
class Instance:
    """A running instance with a key to it."""

    ec2: EC2Client
    id: str
    address: str
    key: Path

    def do(self, script: str) -> str:
        """Run a script as root; return what it prints."""
        options = ("-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
        known = ("-o", "UserKnownHostsFile=/dev/null")
        return subprocess.run(
            ["ssh", *options, *known, "-i", self.key, f"root@{self.address}", "sh -eu"],
            input=script,
            text=True,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout

    def mounted_read_only(self) -> None:
        """Have nobody write to its root file system. Its own root may mount nothing, so the host's does."""
        mark = f"{3600 + int.from_bytes(os.urandom(2), 'big')}.25"
        self.do(f"sleep {mark} >/dev/null 2>&1 </dev/null &")
        of_it = f"sleep\0{mark}\0".encode()
        found = [one for one in Path("/proc").glob("[0-9]*") if _command_of(one) == of_it]
        (process,) = found
        inside = ["nsenter", "--target", process.name, "--mount", f"--root={process}/root", "--"]
        subprocess.run([*inside, "mount", "-o", "remount,ro", "/"], check=True)

    def state(self) -> str:
        found = self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]
        return found["State"]["Name"]

    def terminate(self) -> None:
        self.ec2.terminate_instances(InstanceIds=[self.id])


def _command_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def start(sandbox: Sandbox, folder: Path) -> Instance:
    exported = sandbox.environment
    ec2 = boto3.client(
        "ec2",
        region_name="us-east-1",
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
        verify=exported["AWS_CA_BUNDLE"],
        config=Config(proxies={"https": exported["HTTPS_PROXY"]}),
    )
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    name = f"smoke-{os.urandom(4).hex()}"
    key = folder / name
    key.touch(mode=0o600)
    key.write_text(ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"])
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, KeyName=name)["Instances"][0]["InstanceId"]
    found = ec2.describe_instances(InstanceIds=[made])["Reservations"][0]["Instances"][0]
    return Instance(ec2, made, found["PublicIpAddress"], key)


Start = Callable[[], Instance]


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A suite in `desired/web/smoke` of an export."""
    suite = folder / "export" / "desired" / "web" / "smoke"
    suite.mkdir(parents=True)
    for name, text in files.items():
        path = suite / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return suite


def take_nothing(shell: Shell) -> Inventory:
    """An inventory that asks one thing."""
    assert shell.run("cat", input=b"what is there", timeout=30).stdout == b"what is there"
    return NOTHING_INSIDE


@dataclass
class Examination:
    """One test of an instance, as the controller would ask for it."""

    folder: Path
    take_inventory: Callable[[Shell], Inventory] = take_nothing
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Callable[[], float] = time.monotonic
    cancelled: threading.Event = field(default_factory=threading.Event)
    events: list[Event] = field(default_factory=list)
    on_event: Callable[[Event], None] = lambda _: None

    def of(self, instance: Instance, **asked: Any) -> Tested:
        return self.at(
            instance.address, **{"user": "admin", "private_key": instance.key, "alive": instance.state, **asked}
        )

    def at(self, address: str, *, suite: Path | None = None, timeout: float = 300, **asked: Any) -> Tested:
        def listen(event: Event) -> None:
            self.events.append(event)
            self.on_event(event)

        asked.setdefault("alive", lambda: "running")
        request = TestRequest(
            image="web",
            build_id=BUILD_ID,
            address=address,
            suite=suite,
            suite_name=str(suite)[str(suite).index("desired/") :] if suite else "",
            timeout=timeout,
            folder=self.folder / "test",
            log=self.folder / "logs" / "web.smoke.log",
            **asked,
        )
        tester = SshTester(self.take_inventory, environment=self.environment, clock=self.clock)
        return tester.test(request, listener=listen, cancelled=self.cancelled)
