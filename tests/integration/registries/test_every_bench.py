"""What a test asks of whatever boots artifacts, of each kind that boots, against the real thing.

That is moto's EC2, a container engine, qemu, and VMware's simulator of a vCenter. What EC2 alone can do is in
test_instances_contract.py.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from moto.ec2.models import ec2_backends

from reconciler.aws.clock import Clock
from reconciler.build.inventory.take import take_inventory
from reconciler.build.smoke.tester import SshTester
from reconciler.model.declaration import AwsSettings, Settings
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.lockfile import Artifact
from reconciler.plan.tags import at_birth, own
from reconciler.ports.bench import LIFE, BootRequest, EndsWithItsRun, Instance, Instances
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.ports.tester import TestRequest
from reconciler.registries import KINDS, dialect_of, open_bench, open_registry
from reconciler.registries.disk.bench import Machines
from reconciler.registries.disk.registry import DiskRegistry
from reconciler.registries.ec2.bench import Ec2Instances
from reconciler.registries.vsphere.bench import Clones
from reconciler.sandbox import handle
from tests import containers, disks
from tests.doubles.bench import MemoryInstances
from tests.vcenter import CREDENTIALS, Simulator

FLEET, OTHERS = "acme/images", "others/images"
BUILD = "20261122T101530Z-1a2b3c4"
OPENING = Opening(FLEET, Settings())
SUITE = """\
def test_somebody_is_in(host):
    assert host.check_output("echo reached") == "reached"
"""
DEBIAN = "136693071363"


class Bench(Protocol):
    """What boots artifacts of one kind, one of which is there, and what a test sees and does behind its back."""

    artifact: Artifact
    gone: str  # the id of an artifact that is not there
    user: str
    now: datetime

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances: ...
    def guests(self) -> AbstractContextManager[None]: ...  # who is in what runs
    def abandon(self, request: BootRequest) -> str: ...  # a run boots something, and is killed; its id
    def there(self) -> set[str]: ...  # the ids of what was made here and is still there, seen from outside
    def marks(self, instance: Instance) -> Mapping[str, str]: ...
    def stop(self, instance: Instance) -> None: ...  # behind the bench's back
    def breaking(self) -> AbstractContextManager[object]: ...  # what was begun does not get to run
    def lost(self) -> AbstractContextManager[object]: ...  # it can't be asked


class InMemory:
    gone, user = "ami-0123456789abcdef0", "admin"
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __init__(self) -> None:
        self._memory = {fleet: MemoryInstances(now=self.now) for fleet in (FLEET, OTHERS)}
        self.artifact = Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-1")
        for one in self._memory.values():
            one.missing.add(self.gone)

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        del cancelled
        return self._memory[fleet]

    def guests(self) -> AbstractContextManager[None]:
        return nullcontext()

    def abandon(self, request: BootRequest) -> str:
        return self.run().boot(request).id

    def there(self) -> set[str]:
        return {one.id for memory in self._memory.values() for one in memory.running}

    def marks(self, instance: Instance) -> Mapping[str, str]:
        del instance
        return self._memory[FLEET].requests[-1].tags

    def stop(self, instance: Instance) -> None:
        self._memory[FLEET].kill(instance)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        self._memory[FLEET].refused = Terminal("not allowed")
        yield
        self._memory[FLEET].refused = None

    @contextmanager
    def lost(self) -> Iterator[None]:
        self._memory[FLEET].unreadable[self.artifact.location] = "it does not answer"
        yield
        self._memory[FLEET].unreadable.clear()


class InEc2:
    gone, user = "ami-0123456789abcdef0", "admin"
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __init__(self) -> None:
        self._ec2 = boto3.client("ec2", region_name="us-east-1")
        made = self._ec2.register_image(Name="web-1")["ImageId"]
        self.artifact = Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id=made)
        self._backend = ec2_backends["123456789012"]["us-east-1"]
        ami: Any = self._backend.amis[made]
        ami.architecture, ami.ena_support = "x86_64", True  # moto drops both
        self._refusal: tuple[str, str] | None = None

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        del cancelled
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds

        clock = Clock(now=lambda: self.now, monotonic=lambda: passed[0], sleep=sleep)
        made = Ec2Instances(AwsSettings(), fleet=fleet, clock=clock, attempts=1)
        made._clients.ec2("us-east-1").meta.events.register("before-call.ec2", self._answer)
        return made

    def _answer(self, model: Any, **_: object) -> Any:
        method, code = self._refusal or ("", "")
        if method not in ("*", model.name):
            return None
        error = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 503}}
        return AWSResponse("", 503, HTTPHeaders(), None), error

    def guests(self) -> AbstractContextManager[None]:
        return nullcontext()

    def abandon(self, request: BootRequest) -> str:
        return self.run().boot(request).id

    def there(self) -> set[str]:
        return {one.id for one in self._backend.all_instances() if one.state == "running"}

    def marks(self, instance: Instance) -> Mapping[str, str]:
        (found,) = self._ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"]
        return {one["Key"]: one["Value"] for one in found["Tags"]}

    def stop(self, instance: Instance) -> None:
        self._ec2.terminate_instances(InstanceIds=[instance.id])

    def breaking(self) -> AbstractContextManager[object]:
        return self._refusing("RunInstances", "UnauthorizedOperation")

    def lost(self) -> AbstractContextManager[object]:
        return self._refusing("*", "RequestLimitExceeded")

    @contextmanager
    def _refusing(self, method: str, code: str) -> Iterator[None]:
        self._refusal = method, code
        yield
        self._refusal = None


class InEngine:
    gone, user = f"sha256:{'a' * 64}", "root"

    def __init__(self, location: str, nowhere: Path) -> None:
        self._nowhere = nowhere
        self.now = datetime.now(UTC)
        self._before = self._listed()
        self.artifact = self._stored(location, containers.base())

    def _stored(self, location: str, image: str) -> Artifact:
        made = Made("docker.web", "packer.post-processor.docker-import", image)
        (artifact,) = open_registry("oci", OPENING).store(location, [made], name="web-1", tags={})
        return artifact

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        return open_bench("oci", Opening(fleet, Settings(), cancelled))

    def guests(self) -> AbstractContextManager[None]:
        return nullcontext()

    def abandon(self, request: BootRequest) -> str:
        return self.run().boot(request).id

    def _listed(self) -> set[str]:
        return set(containers.docker("ps", "--all", "--quiet").split())

    def there(self) -> set[str]:
        return self._listed() - self._before

    def marks(self, instance: Instance) -> Mapping[str, str]:
        labels: dict[str, str] = json.loads(containers.docker("inspect", "-f", "{{json .Config.Labels}}", instance.id))
        return labels

    def stop(self, instance: Instance) -> None:
        containers.docker("kill", instance.id)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        whole = self.artifact
        self.artifact = self._stored(whole.location, containers.imported({"content": b"nothing to run"}))
        yield
        self.artifact = whole

    @contextmanager
    def lost(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", f"unix://{self._nowhere}/nobody")
            yield

    def close(self) -> None:
        for one in self.there():
            containers.docker("rm", "--force", one)


BOOT_AND_DIE = """\
import os, pickle, signal, sys
from pathlib import Path
from reconciler.registries.disk.bench import Machines
from reconciler.registries.disk.registry import DiskRegistry
opening, request = pickle.load(sys.stdin.buffer)
machines = Machines(DiskRegistry(opening), fleet=opening.fleet, on="tcg")
machines.boot(request)
os.kill(os.getpid(), signal.SIGKILL)
"""


class InQemu:
    gone, user = f"sha256:{'a' * 64}", "ada"

    def __init__(self, folder: Path, disk: Path) -> None:
        self.now = datetime.now(UTC)
        made = Made("qemu.web", "transcend.qemu", "web", (str(disk),))
        (self.artifact,) = open_registry("disk", OPENING).store(str(folder / "store"), [made], name="web-1", tags={})

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        opening = Opening(fleet, Settings(), cancelled)
        return Machines(DiskRegistry(opening), fleet=fleet, cancelled=cancelled, on="tcg")

    def guests(self) -> AbstractContextManager[None]:
        return nullcontext()

    def abandon(self, request: BootRequest) -> str:
        ended = subprocess.run(
            [sys.executable, "-c", BOOT_AND_DIE], input=pickle.dumps((OPENING, request)), check=False
        )  # fmt: skip
        assert ended.returncode == -signal.SIGKILL
        (left,) = self._folders()
        return left.name

    def _folders(self) -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob("rec-disk-*"))

    def there(self) -> set[str]:
        running = {pid for pid, layer in _machines() if Path(layer).parent in self._folders()}
        return running if len(running) == len(self._folders()) else {one.name for one in self._folders()}

    def marks(self, instance: Instance) -> Mapping[str, str]:
        (layer,) = (layer for pid, layer in _machines() if pid == instance.id)
        told: dict[str, str] = json.loads(Path(layer).with_name("owner.json").read_text())
        return told

    def stop(self, instance: Instance) -> None:
        os.kill(int(instance.id), signal.SIGKILL)
        os.waitid(os.P_PID, int(instance.id), os.WEXITED | os.WNOWAIT)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reconciler.registries.disk.bench._MEMORY", "1P")
            yield

    def lost(self) -> AbstractContextManager[object]:
        raise AssertionError("a machine is on this one, which is never lost")


def _machines() -> Iterator[tuple[str, str]]:
    """The process and the layer of every machine that runs here."""
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (one / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[0].rpartition("/")[2].startswith("qemu-system-"):
                layer = next(word for word in words if word.startswith("file="))
                yield one.name, layer.removeprefix("file=").partition(",")[0]


class InVCenter:
    gone, user = "00000000-0000-0000-0000-000000000000", "admin"

    def __init__(self, vcenter: Simulator) -> None:
        self._vcenter, self._home = vcenter, vcenter.folder("templates")
        self.now = datetime.now(UTC)
        vcenter.template("web-1", self._home)
        made, tags = Made("vsphere-clone.web", "jetbrains.vsphere", "web-1"), own(fleet=FLEET, image="web", build=BUILD)
        (self.artifact,) = open_registry("vsphere", OPENING).store(self._home, [made], name="web-1", tags=tags)

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        return Clones(fleet=fleet, environment=CREDENTIALS, cancelled=cancelled, every=0.05)

    def arrive(self, told: Mapping[str, str]) -> str:
        del told
        return "192.0.2.7"

    def guests(self) -> AbstractContextManager[None]:
        return self._vcenter.guests(self.arrive)

    def abandon(self, request: BootRequest) -> str:
        return self.run().boot(request).id

    def there(self) -> set[str]:
        def clones(content: Any) -> set[str]:
            folder = content.searchIndex.FindByInventoryPath(self._vcenter.at(self._home))
            return {str(one.config.instanceUuid) for one in folder.childEntity if one.name != "web-1"}

        return self._vcenter.ask(clones)

    def marks(self, instance: Instance) -> Mapping[str, str]:
        return self._vcenter.configuration(instance.id)

    def stop(self, instance: Instance) -> None:
        def stopped(content: Any) -> None:
            machine = content.searchIndex.FindByUuid(None, instance.id, True, True)
            self._vcenter.vcenter.wait(machine.PowerOffVM_Task())

        self._vcenter.ask(stopped)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        self._vcenter.fails("PowerOnVM_Task", "permission")
        yield

    @contextmanager
    def lost(self) -> Iterator[None]:
        self._vcenter.fails("Login", "down", times=100)  # to whoever is not signed in yet: a run that begins
        yield


IN_MEMORY = pytest.param("memory")
IN_EC2 = pytest.param("ec2")
IN_ENGINE = pytest.param("engine", marks=pytest.mark.containers)
IN_QEMU = pytest.param("qemu", marks=pytest.mark.disks)
IN_VCENTER = pytest.param("vcenter", marks=pytest.mark.vsphere)


def opened(request: pytest.FixtureRequest, folder: Path, undo: ExitStack) -> Bench:
    """A bench of the kind that a test is given, and what has to be there for it."""
    match request.param:
        case "ec2":
            request.getfixturevalue("moto")
            return InEc2()
        case "engine":
            request.getfixturevalue("engine")
            host = undo.enter_context(containers.registry(folder))
            made = InEngine(f"{host}/acme/web", folder)
            undo.callback(made.close)
            return made
        case "qemu":
            disks.refuse_without_qemu()
            request.getfixturevalue("monkeypatch").setattr(tempfile, "tempdir", str(folder))
            request.getfixturevalue("monkeypatch").setenv("TMPDIR", str(folder))
            disk = folder / "left.raw"
            disk.write_bytes(b"nothing to boot".ljust(1 << 20, b"\0"))
            return InQemu(folder, disk)
        case "vcenter":
            return InVCenter(request.getfixturevalue("vcenter"))
        case _:
            return InMemory()


@pytest.fixture(params=[IN_MEMORY, IN_EC2, IN_ENGINE, IN_QEMU, IN_VCENTER])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as undo:
        yield opened(request, tmp_path, undo)


@pytest.fixture
def instances(bench: Bench) -> Instances:
    return bench.run()


def asked(bench: Bench, folder: Path, *, key: str = "key", fleet: str = FLEET) -> BootRequest:
    return BootRequest(
        artifact=bench.artifact, name=f"web-{BUILD}", user=bench.user, instance_types=(), subnets=(),
        allow_from=("127.0.0.0/8",), tags=at_birth(fleet=fleet, image="web", build_id=BUILD, run_id="run-7"),
        timeout=30, private_key=folder / key,
    )  # fmt: skip


def test_every_kind_that_boots_is_asked_here() -> None:
    asked_here = {"ami": IN_EC2, "oci": IN_ENGINE, "disk": IN_QEMU, "vsphere": IN_VCENTER}

    assert {kind for kind in KINDS if dialect_of(kind).kind.boots} == asked_here.keys()


def test_what_was_booted_runs_where_its_artifact_is_for_whoever_has_its_key(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    assert (instance.location, instance.user) == (bench.artifact.location, bench.user)
    assert instances.state(instance) == "running"
    assert bench.there() == {instance.id}
    if instance.reached is None:
        assert instance.address
        assert stat.S_IMODE(instance.private_key.stat().st_mode) == 0o600
    else:
        assert instance.reached.command
        assert not instance.private_key.exists()
    instances.terminate(instance)


def test_what_is_made_says_from_its_first_moment_whose_it_is(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    assert {FLEET, "web", BUILD, "run-7"} <= set(bench.marks(instance).values())
    instances.terminate(instance)


def test_several_at_once_of_one_artifact_do_not_meet(bench: Bench, instances: Instances, tmp_path: Path) -> None:
    requests = [asked(bench, tmp_path, key=f"key-{number}") for number in range(3)]

    with bench.guests(), ThreadPoolExecutor() as pool:  # a machine may end with the thread that began it
        booted = list(pool.map(instances.boot, requests))
        instances.terminate(booted[0])

        ways_in = {(one.address, one.port) if one.port != 22 else one.id for one in booted}
        assert len(ways_in) == len(booted)
        assert bench.there() == {one.id for one in booted[1:]}
        assert [instances.state(one) for one in booted[1:]] == ["running", "running"]
        assert all(one.reached or one.private_key.exists() for one in booted[1:])
        for one in booted[1:]:
            instances.terminate(one)
    assert bench.there() == set()


def test_what_is_ended_is_gone_with_its_key_and_again_is_no_error(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    for _ in range(2):
        instances.terminate(instance)

    assert instances.state(instance) in ("terminated", "missing")
    assert not instance.private_key.exists()
    assert bench.there() == set()


def test_a_later_run_ends_what_an_earlier_one_began(bench: Bench, instances: Instances, tmp_path: Path) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    with suppress(EndsWithItsRun):
        instances.keep(instance, until=bench.now + timedelta(hours=1))
        bench.run().terminate(instance)
    instances.terminate(instance)

    assert bench.there() == set()


def test_what_was_never_there_does_not_run(bench: Bench, instances: Instances, tmp_path: Path) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))
    never = replace(instance, id="00000000-0000-0000-0000-00000000abcd", private_key=tmp_path / "nobodys")

    assert instances.state(never) in ("missing", "terminated")
    assert instances.console(never) == ()
    instances.terminate(instance)


def test_what_came_to_an_end_by_itself_is_told_from_what_runs(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    bench.stop(instance)

    assert instances.state(instance) in ("stopped", "terminated")
    instances.terminate(instance)
    assert bench.there() == set()


def test_an_artifact_that_vanished_is_said_in_words_and_nothing_stays(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    request = asked(bench, tmp_path)
    vanished = replace(request, artifact=bench.artifact.model_copy(update={"id": bench.gone}))

    with pytest.raises(ReconcilerError) as caught:
        instances.boot(vanished)

    assert bench.gone[:12] in caught.value.what
    assert bench.there() == set()
    assert not request.private_key.exists()


def test_what_breaks_on_the_way_leaves_nothing(bench: Bench, instances: Instances, tmp_path: Path) -> None:
    with bench.breaking():
        request = asked(bench, tmp_path)
        with pytest.raises(ReconcilerError):
            instances.boot(request)

    assert bench.there() == set()
    assert not request.private_key.exists()


def test_what_a_killed_run_left_is_swept_by_a_later_one(bench: Bench, tmp_path: Path) -> None:
    with bench.guests():
        left = bench.abandon(asked(bench, tmp_path))
    later = bench.run()

    assert list(bench.run(OTHERS).sweep(bench.artifact.location, now=bench.now + 2 * LIFE)) == []
    assert list(later.sweep(bench.artifact.location, now=bench.now + LIFE + timedelta(minutes=5))) == [left]

    assert bench.there() == set()
    assert list(later.sweep(bench.artifact.location, now=bench.now + 2 * LIFE)) == []


def test_what_a_run_may_still_use_is_never_swept(bench: Bench, instances: Instances, tmp_path: Path) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    for run in (instances, bench.run(), bench.run(OTHERS)):
        assert list(run.sweep(bench.artifact.location, now=bench.now + LIFE - timedelta(minutes=1))) == []

    assert instances.state(instance) == "running"
    instances.terminate(instance)


def test_what_somebody_keeps_stays_until_then_or_can_not_be_kept(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    until = bench.now.replace(microsecond=0) + timedelta(hours=10)
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    try:
        instances.keep(instance, until=until)
    except EndsWithItsRun:  # then nobody sweeps it as long as that lives
        assert list(bench.run().sweep(bench.artifact.location, now=until + timedelta(minutes=1))) == []
        assert instances.state(instance) == "running"
        instances.terminate(instance)
    else:
        assert list(bench.run().sweep(bench.artifact.location, now=until - timedelta(minutes=1))) == []
        assert list(bench.run().sweep(bench.artifact.location, now=until + timedelta(minutes=1))) == [instance.id]
    assert bench.there() == set()


def test_where_nothing_was_left_nothing_is_swept(bench: Bench, instances: Instances) -> None:
    assert list(instances.sweep(bench.artifact.location, now=bench.now + 2 * LIFE)) == []


def test_a_key_pair_that_is_not_there_has_no_public_half(bench: Bench, instances: Instances) -> None:
    assert instances.public_key(bench.artifact.location, "packer_6912ab", since=bench.now) is None


@pytest.mark.parametrize("bench", [IN_MEMORY, IN_EC2, IN_ENGINE, IN_VCENTER], indirect=True)
def test_what_can_not_be_asked_is_transient_and_only_the_console_is_silent(
    bench: Bench, instances: Instances, tmp_path: Path
) -> None:
    with bench.guests():
        instance = instances.boot(asked(bench, tmp_path))

    with bench.lost():
        lost = bench.run()
        assert lost.console(instance) == ()
        with pytest.raises(Transient):
            lost.state(instance)
        with pytest.raises(Transient):
            lost.keep(instance, until=bench.now)
        with pytest.raises(Transient):
            lost.sweep(instance.location, now=bench.now + LIFE * 2)
        with pytest.raises(Transient):
            lost.boot(asked(bench, tmp_path, key="another"))
        with pytest.raises(Transient):
            lost.terminate(instance)

    assert bench.there() == {instance.id}
    instances.terminate(instance)


@pytest.mark.parametrize("bench", [IN_ENGINE, IN_QEMU, IN_VCENTER], indirect=True)
def test_a_run_that_is_interrupted_boots_nothing_to_the_end(bench: Bench, tmp_path: Path) -> None:
    cancelled, request = threading.Event(), asked(bench, tmp_path)
    cancelled.set()

    with bench.guests(), suppress(Transient):  # or it ran at once
        bench.run(cancelled=cancelled).terminate(bench.run(cancelled=cancelled).boot(request))

    assert bench.there() == set()
    assert not request.private_key.exists()


# Whoever has what a boot returns gets in, and can run a suite there.


class Guests:
    """Who is in the clones of a vCenter that runs none: an instance of the sandbox, with the key that cloud-init told.

    A sandbox's EC2 is what they are started by.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._ec2 = boto3.client(
            "ec2", region_name="us-east-1", verify=environment["AWS_CA_BUNDLE"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={"https": environment["HTTPS_PROXY"]}),
        )  # fmt: skip

    def debian(self) -> str:
        return str(self._ec2.describe_images(Owners=[DEBIAN])["Images"][0]["ImageId"])

    def arrive(self, told: Mapping[str, str]) -> str:
        user = json.loads(base64.b64decode(told["guestinfo.userdata"]).partition(b"\n")[2])["users"][1]
        self._ec2.import_key_pair(KeyName="guest", PublicKeyMaterial=user["ssh_authorized_keys"][0].encode())
        begun = self._ec2.run_instances(ImageId=self.debian(), MinCount=1, MaxCount=1, KeyName="guest")["Instances"][0]
        (found,) = self._ec2.describe_instances(InstanceIds=[begun["InstanceId"]])["Reservations"][0]["Instances"]
        return str(found["PublicIpAddress"])


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The variables by which a sandbox of the test's own is reached."""
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    (tmp_path / "sandbox").mkdir()
    with handle.running(tmp_path / "sandbox") as running:
        yield running.environment


class InSandbox(InMemory):
    """Instances that are there to log in to, of an image of the sandbox's upstream."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.artifact = self.artifact.model_copy(update={"id": Guests(environment).debian()})

    def run(self, fleet: str = FLEET, cancelled: threading.Event | None = None) -> Instances:
        return open_bench("ami", Opening(fleet, Settings(), cancelled))


@pytest.fixture(
    params=[
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        IN_ENGINE,
        pytest.param("vcenter", marks=[pytest.mark.vsphere, pytest.mark.sandbox]),
    ]
)
def inhabited(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:  # fmt: skip
    """A bench whose artifacts have somebody in them; a disk that has is in test_disk_boots.py, as it takes minutes."""
    with ExitStack() as undo:
        match request.param:
            case "sandbox":
                environment = request.getfixturevalue("sandbox")
                for name, value in environment.items():
                    monkeypatch.setenv(name, value)
                yield InSandbox(environment)
            case "vcenter":
                made = InVCenter(request.getfixturevalue("vcenter"))
                monkeypatch.setattr(made, "arrive", Guests(request.getfixturevalue("sandbox")).arrive)
                yield made
            case _:
                yield opened(request, tmp_path, undo)


def test_what_was_booted_lets_in_who_has_its_key_and_a_suite_runs_there(inhabited: Bench, tmp_path: Path) -> None:
    instances, suite = inhabited.run(), tmp_path / "suite"
    suite.mkdir()
    (suite / "test_it.py").write_text(SUITE)

    with inhabited.guests():
        instance = instances.boot(asked(inhabited, tmp_path))
    tested = SshTester(take_inventory=take_inventory).test(
        TestRequest(
            image="web", build_id=BUILD, address=instance.address, port=instance.port, user=instance.user,
            private_key=instance.private_key, suite=suite, suite_name="smoke", timeout=600, folder=tmp_path / "work",
            log=tmp_path / "log", alive=lambda: instances.state(instance), reached=instance.reached,
        ),
        listener=lambda _: None,
        cancelled=threading.Event(),
    )  # fmt: skip
    console = instances.console(instance)
    instances.terminate(instance)

    assert tested.inventory is not None, tested.result.why
    assert "test_it.py" not in " ".join(one.what for one in tested.result.failed), tested.tail
    assert len(console) <= 20
    assert all(line.isprintable() for line in console)
