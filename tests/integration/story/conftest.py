"""A person at a shell: a clone with a bare origin, the `reconciler` command, and AWS as the sandbox has it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.command import Command

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef

FLEETS = Path(__file__).parent / "fleets"
WIDTH = 80
_FOR_MACHINES = frozenset({"--json", "--markdown", "completion"})


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def first(self) -> str:
        """The first line of the answer."""
        return self.out.partition("\n")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Checkout:
    """A clone in which a person works. `environment` is all that its commands see; `name` is the fleet's."""

    path: Path
    name: str
    environment: Mapping[str, str]
    command: Command

    def reconciler(
        self, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Ended:
        """Run the command to its end. Whatever it says has to be fit for a person who reads it in a pipe."""
        ended = self.command.run(
            *arguments, cwd=cwd or self.path, environment={**self.environment, **(environment or {})}
        )
        out, err = ended.stdout, ended.stderr
        said = f"$ reconciler {' '.join(arguments)}\n{out}\n{err}"
        assert "Traceback" not in out + err, said
        assert "unexpected" not in err, said
        assert "\x1b" not in out + err, said
        assert not [line for line in out.splitlines() if line != line.rstrip()], said
        if _FOR_MACHINES.isdisjoint(arguments):
            # A word that is longer, such as the path of a folder, stands alone in its line.
            assert not [line for line in out.splitlines() if len(line) > WIDTH and " " in line.strip()], said
        return Ended(ended.returncode, out, err)

    def begin(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.path,
            env={**self.environment, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def git(self, *arguments: str) -> str:
        """Run git, which has to succeed."""
        ended = subprocess.run(
            ["git", *arguments], cwd=self.path, env=dict(self.environment), capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr.decode()
        return ended.stdout.decode(errors="surrogateescape").strip()

    def write(self, path: str, content: str | bytes) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def edit(self, path: str, *, append: str) -> None:
        self.write(path, (self.path / path).read_text() + append)

    def commit(self, message: str = "Change something") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def publish(self, message: str = "Change something") -> None:
        """Commit everything and push it."""
        self.commit(message)
        self.git("push", "--quiet", "origin", "HEAD")

    def merge(self, branch: str) -> None:
        """Merge a branch as a git host does it, which then removes it there; the checkout is on main from then on."""
        self.git("switch", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "--message", f"Merge {branch}", branch)
        self.git("push", "--quiet", "origin", "main")
        self.git("push", "--quiet", "--delete", "origin", branch)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def lockfile(self, image: str) -> Any:
        return json.loads((self.path / "state" / f"{image}.lock.json").read_text())

    def lockfiles(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted((self.path / "state").glob("*.lock.json"))}

    def recorded(self, image: str) -> dict[str, str]:
        """The newest build's AMI in each region."""
        return {one["location"]: one["id"] for one in self.lockfile(image)["builds"][0]["artifacts"]}

    def log_of(self, image: str) -> str:
        """The newest kept log of an image's builds."""
        logs = (self.path / ".reconciler" / "logs").glob(f"{image}-*.log")
        return max(log for log in logs if not log.name.endswith(".smoke.log")).read_text()


@dataclass(frozen=True)
class Cloud:
    """AWS, seen without the reconciler."""

    sandbox: Sandbox

    def ec2(self, region: str) -> EC2Client:
        client: EC2Client = self.client("ec2", region)
        return client

    def client(self, service: str, region: str) -> Any:
        """One of boto3's, for any service that the sandbox has."""
        exported = self.sandbox.environment
        make: Any = boto3.client
        return make(
            service,
            region_name=region,
            aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
            verify=exported["AWS_CA_BUNDLE"],
            config=Config(proxies={"https": exported["HTTPS_PROXY"]}),
        )

    def complete(self, region: str, *, fleet: str, key: str) -> list[str]:
        """Every AMI of a fleet that is complete under a key."""
        of_fleet: FilterTypeDef = {"Name": "tag:reconciler:fleet", "Values": [fleet]}
        with_key: FilterTypeDef = {"Name": "tag:reconciler:key", "Values": [key]}
        found = self.ec2(region).describe_images(Owners=["self"], Filters=[of_fleet, with_key])
        return [image["ImageId"] for image in found["Images"]]

    def tags(self, region: str, image_id: str) -> dict[str, str]:
        """The tags of one AMI; fails when there is none such."""
        (image,) = self.ec2(region).describe_images(ImageIds=[image_id])["Images"]
        return {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])}

    def leftovers(self, region: str) -> list[str]:
        """Instances that run, and key pairs and security groups that Packer made."""
        ec2 = self.ec2(region)
        alive: FilterTypeDef = {
            "Name": "instance-state-name",
            "Values": ["pending", "running", "shutting-down", "stopping", "stopped"],
        }
        instances = ec2.describe_instances(Filters=[alive])["Reservations"]
        groups = ec2.describe_security_groups()["SecurityGroups"]
        return [
            *(one["InstanceId"] for reservation in instances for one in reservation["Instances"]),
            *(pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]),
            *(group["GroupName"] for group in groups if group["GroupName"] != "default"),
        ]

    def clear(self, region: str) -> None:
        """Remove what a killed Packer left. The sandbox is shared, and other tests look whether anything is left."""
        ec2 = self.ec2(region)
        for left in self.leftovers(region):
            if left.startswith("i-"):
                ec2.terminate_instances(InstanceIds=[left])
        for pair in ec2.describe_key_pairs()["KeyPairs"]:
            ec2.delete_key_pair(KeyName=pair["KeyName"])
        for group in ec2.describe_security_groups()["SecurityGroups"]:
            if group["GroupName"] != "default":
                ec2.delete_security_group(GroupId=group["GroupId"])


NewFleet = Callable[[Path, str], Checkout]


@pytest.fixture(scope="session")
def sandbox(packer_on_path: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for each Packer: what is built in it, and shared, is that Packer's."""
    assert packer_on_path, "mark the test `packer`"
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="session")
def cloud(sandbox: Sandbox) -> Cloud:
    return Cloud(sandbox)


@pytest.fixture
def healthy(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The sandbox with no fault pending; faults do not outlive the test."""
    sandbox.heal()
    yield sandbox
    sandbox.heal()


@pytest.fixture(scope="session")
def new_fleet(sandbox: Sandbox, command: Command) -> NewFleet:
    """Make a clone below a folder, with an origin, that holds one of the fleets in `fleets/` (or `empty`), pushed."""

    def make(folder: Path, fleet: str) -> Checkout:
        return _clone(folder, fleet, sandbox.environment, command)

    return make


@pytest.fixture
def pair(new_fleet: NewFleet, tmp_path: Path) -> Checkout:
    """`base`, and `web` on it, in two regions. Nothing is built yet."""
    return new_fleet(tmp_path, "pair")


def _clone(folder: Path, fleet: str, environment: Mapping[str, str], command: Command) -> Checkout:
    # Artifacts of different tests live in one sandbox: the fleet's name, from the origin's, tells them apart.
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower())
    name = f"{name}-{os.urandom(3).hex()}"
    origin, home = folder / f"{name}.git", folder / "home"
    home.mkdir()
    ours = ("GIT_", "AWS_", "PYTEST_", "XDG_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    checkout = Checkout(
        folder / "clone",
        name,
        {**inherited, **environment, "HOME": str(home), "COLUMNS": str(WIDTH), "GIT_CONFIG_GLOBAL": str(home / "git")},
        command,
    )
    (home / "git").write_text("[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n")
    if fleet == "empty":
        checkout.path.mkdir()
    else:
        shutil.copytree(FLEETS / fleet, checkout.path)
    checkout.git("init", "--quiet")
    checkout.git("init", "--quiet", "--bare", str(origin))
    checkout.git("remote", "add", "origin", str(origin))
    if fleet != "empty":
        checkout.publish("Declare the images")
        checkout.git("remote", "set-head", "origin", "main")
    return checkout
