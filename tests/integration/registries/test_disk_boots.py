"""A disk boots: with a kernel, a systemd and a cloud-init of its own, in qemu, and is judged from inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.build.inventory.take import take_inventory
from reconciler.build.smoke.tester import SshTester
from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, UserError
from reconciler.model.lockfile import Artifact
from reconciler.ports.bench import BootRequest, Instance, Instances
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.ports.tester import Tested, TestRequest
from reconciler.registries import open_bench, open_registry
from reconciler.registries.disk import accelerator
from reconciler.registries.disk.folder import Folders
from tests import disks

pytestmark = [pytest.mark.disks, pytest.mark.long]

PROBE = Path(accelerator.__file__).with_name("probe.S")
OPENING = Opening("acme/images", Settings())
SUITE = """\
def test_systemd_is_the_first_process(host):
    assert host.process.get(pid=1).comm == "systemd"


def test_the_kernel_is_its_own(host):
    assert "cloud" in host.check_output("uname -r")
"""


def test_what_is_tried_before_kvm_is_taken_is_what_its_source_says_and_runs_under_emulation(tmp_path: Path) -> None:
    disks.refuse_without_qemu()
    qemu = shutil.which(accelerator.QEMU)
    assert qemu is not None
    assert accelerator._runs(qemu, accelerator.EMULATION)
    assert accelerator.MACHINE.best() in (accelerator.KVM, accelerator.EMULATION)
    if shutil.which("as") is None or shutil.which("ld") is None:
        pytest.skip("there is no assembler here")
    made, sector = tmp_path / "probe.o", tmp_path / "sector"
    subprocess.run(["as", "--64", "-o", made, PROBE], check=True)
    subprocess.run(
        ["ld", "-m", "elf_x86_64", "-e", "0x7c00", "-Ttext", "0x7c00", "--oformat", "binary", "-o", sector, made],
        check=True,
    )
    assert sector.read_bytes() == accelerator._PROBE.ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Debian, in a folder of disks."""
    disks.refuse_without_qemu()
    folder = tmp_path_factory.mktemp("disks")
    (artifact,) = open_registry("disk", OPENING).store(
        str(folder / "store"),
        [Made("qemu.web", "transcend.qemu", "web", (str(disks.debian()),))],
        name="web-1",
        tags={},
    )
    return artifact


def laid(disk: Path, store: Path) -> Artifact:
    """What somebody lays there who may write there, and no build leaves."""
    folders = Folders(fleet=OPENING.fleet, largest=OPENING.settings.limits.largest_file)
    kept = folders.keep(disk, str(store), name="web-1", tags={})
    return Artifact(kind="disk", builder="qemu.web", location=str(store), id=kept, name="web-1")


def asked(artifact: Artifact, folder: Path) -> BootRequest:
    return BootRequest(
        artifact=artifact, name="web-1", user="ada", instance_types=(), subnets=(), allow_from=("0.0.0.0/0",),
        tags={}, timeout=300, private_key=folder / "key",
    )  # fmt: skip


def examined(bench: Instances, instance: Instance, folder: Path, *, suite: str = SUITE) -> Tested:
    (folder / "test_it.py").write_text(suite)
    return SshTester(take_inventory=take_inventory).test(
        TestRequest(
            image="web", build_id="20261122T101530Z-1a2b3c4", address=instance.address, port=instance.port,
            user=instance.user, private_key=instance.private_key, suite=folder / "test_it.py",
            suite_name="smoke/test_it.py", timeout=600, folder=folder / "work", log=folder / "log",
            alive=lambda: bench.state(instance),
        ),
        listener=lambda _: None,
        cancelled=threading.Event(),
    )  # fmt: skip


@pytest.fixture
def bench() -> Instances:
    return open_bench("disk", OPENING)


@pytest.fixture
def booted(bench: Instances, stored: Artifact, tmp_path: Path) -> Iterator[Instance]:
    instance = bench.boot(asked(stored, tmp_path))
    yield instance
    bench.terminate(instance)


def test_the_once_over_the_suite_and_the_inventory_are_of_a_real_machine(
    bench: Instances, booted: Instance, tmp_path: Path
) -> None:
    found = examined(bench, booted, tmp_path)

    assert found.result.failed == ()
    assert found.result.status == "passed", found.result.why
    assert found.inventory is not None
    assert "cloud" in found.inventory.kernel
    assert "openssh-server" in {package.name for package in found.inventory.packages or ()}
    assert bench.state(booted) == "running"
    assert any("cloud-init" in line.lower() for line in bench.console(booted))
    bench.terminate(booted)
    assert bench.state(booted) == "missing"
    assert not (tmp_path / "key").exists()


def test_a_unit_that_fails_on_the_disk_is_found(stored: Artifact, bench: Instances, tmp_path: Path) -> None:
    """The unit is planted in a layer above, as a build would have left it."""
    layer = tmp_path / "store" / stored.id
    layer.parent.mkdir()
    planted = tmp_path / "planted.raw"
    subprocess.run(["cp", "--sparse=always", Path(stored.location, stored.id), planted], check=True)
    _plant(planted, tmp_path)
    (artifact,) = open_registry("disk", OPENING).store(
        str(tmp_path / "store"), [Made("qemu.web", "transcend.qemu", "web", (str(planted),))], name="web-2", tags={}
    )
    instance = bench.boot(asked(artifact, tmp_path))
    try:
        found = examined(bench, instance, tmp_path)
    finally:
        bench.terminate(instance)

    assert found.result.status == "failed"
    assert any("planted.service" in one.what for one in found.result.failed), found.result.failed


def _plant(disk: Path, folder: Path) -> None:
    """Write a unit that fails, and its link, into the file system of a disk, as `debugfs` does without mounting it."""
    unit = folder / "planted.service"
    unit.write_text("[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    root, offset = folder / "root.ext4", 65
    subprocess.run(
        ["dd", f"if={disk}", f"of={root}", "bs=1M", f"skip={offset}", "conv=sparse", "status=none"], check=True
    )
    commands = (
        f"write {unit} /etc/systemd/system/planted.service\n"
        "symlink /etc/systemd/system/multi-user.target.wants/planted.service /etc/systemd/system/planted.service\n"
    )
    subprocess.run(
        ["/sbin/debugfs", "-w", "-f", "-", str(root)], input=commands, text=True, check=True, capture_output=True
    )
    subprocess.run(
        ["dd", f"if={root}", f"of={disk}", "bs=1M", f"seek={offset}", "conv=notrunc,sparse", "status=none"], check=True
    )


VMDK = """\
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW 8 FLAT "{file}" 0
ddb.adapterType = "ide"
"""


def test_a_disk_that_describes_files_of_this_machine_shows_none_of_them(bench: Instances, tmp_path: Path) -> None:
    # Given what a guest can write at the beginning of its disk, or who may write to the folder: lines that name a file
    disks.refuse_without_qemu()
    secret, disk = tmp_path / "secret", tmp_path / "left.raw"
    secret.write_text("only for this machine\n" * 256)
    disk.write_text(VMDK.format(file=secret))
    artifact = laid(disk, tmp_path / "store")

    # When it is booted
    instance = bench.boot(asked(artifact, tmp_path))
    try:
        layer, seen = bench._running[instance.id].folder.path / "layer.qcow2", tmp_path / "seen"  # type: ignore[attr-defined]  # Machines
        told = json.loads(subprocess.check_output(["qemu-img", "info", "-U", "--output=json", str(layer)]))
        shutil.copy(layer, tmp_path / "copy")
    finally:
        bench.terminate(instance)
    disk_there, form = Path(artifact.location, artifact.id), told["backing-filename-format"]
    subprocess.run(["qemu-img", "rebase", "-u", "-b", disk_there, "-F", form, tmp_path / "copy"], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", tmp_path / "copy", seen], check=True)

    # Then what the machine sees is its disk, and nothing else
    assert seen.read_bytes().startswith(b"# Disk DescriptorFile")
    assert b"only for this machine" not in seen.read_bytes()


def test_a_disk_whose_data_is_in_another_file_is_not_booted(bench: Instances, tmp_path: Path) -> None:
    disks.refuse_without_qemu()
    disk = tmp_path / "left.qcow2"
    told = f"data_file={tmp_path / 'elsewhere'}"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", told, str(disk), "1M"], check=True)
    artifact = laid(disk, tmp_path / "store")
    with pytest.raises(UserError, match="stands on another file"):
        bench.boot(asked(artifact, tmp_path))


def test_a_disk_that_is_another_by_now_is_not_booted(bench: Instances, tmp_path: Path) -> None:
    # Given a disk in whose place somebody put another, of its size and time
    disk = tmp_path / "left.raw"
    disk.write_bytes(b"1" * 4096)
    (artifact,) = open_registry("disk", OPENING).store(
        str(tmp_path / "store"), [Made("qemu.web", "transcend.qemu", "web", (str(disk),))], name="web-1", tags={}
    )
    kept = Path(artifact.location, artifact.id)
    was = kept.stat()
    kept.write_bytes(b"2" * 4096)
    os.utime(kept, ns=(was.st_atime_ns, was.st_mtime_ns))

    with pytest.raises(Terminal, match="is not what it is called"):
        bench.boot(asked(artifact, tmp_path))


def test_a_disk_that_stands_on_another_file_is_not_booted(bench: Instances, tmp_path: Path) -> None:
    disks.refuse_without_qemu()
    secret, disk = tmp_path / "secret", tmp_path / "left.qcow2"
    secret.write_bytes(b"\0" * 1024)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(disk)], check=True
    )  # fmt: skip
    artifact = laid(disk, tmp_path / "store")
    with pytest.raises(UserError, match="stands on another file"):
        bench.boot(asked(artifact, tmp_path))
