"""Disks in other formats, from the declaration to the end: made once, copied, recorded, proven, mended, retired."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.command import Command
from tests.integration.story.conftest import Checkout, _clone
from tests.needs import lacking

pytestmark = [pytest.mark.packer(once=True), pytest.mark.disks]

TEMPLATE = """\
source "file" "appliance" {
  source = "${path.root}/disk.raw"
  target = "appliance.raw"
}

build {
  sources = ["source.file.appliance"]
}
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def fleet(packer_on_path: str | None, command: Command, tmp_path: Path, store: Path) -> Checkout:
    """A disk that is kept in two folders, and as a VMDK."""
    assert packer_on_path, "mark the test `packer`"
    if shutil.which("qemu-img") is None:
        lacking("no disk can be converted here: apt-get install qemu-utils")
    store.mkdir()
    checkout = _clone(tmp_path, "empty", {}, command)
    checkout.write("desired/appliance/appliance.pkr.hcl", TEMPLATE)
    (checkout.path / "desired/appliance/disk.raw").write_bytes(os.urandom(65536) + bytes(131072))
    declare(checkout, store, "vmdk")
    checkout.publish("Declare the images")
    checkout.git("remote", "set-head", "origin", "main")
    return checkout


def declare(checkout: Checkout, store: Path, *formats: str, more: str = "") -> None:
    said = f"formats: [{', '.join(formats)}]\n" if formats else ""
    checkout.write("desired/appliance/image.yaml", f"locations: [{store}/one, {store}/two]\n{said}{more}")


def artifacts(checkout: Checkout) -> list[dict[str, Any]]:
    checkout.git("pull", "--quiet", "origin", "main")
    return list(checkout.lockfile("appliance")["builds"][0]["artifacts"])


def judged(artifact: dict[str, Any], conversion: dict[str, Any]) -> None:
    """Whether qemu-img finds in a file what is recorded of it, and the same content as in its disk."""
    disk, file = (Path(artifact["location"], one["id"]) for one in (artifact, conversion))
    assert conversion["id"] == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert conversion["size"] == file.stat().st_size
    said = json.loads(
        subprocess.run(["qemu-img", "info", "--output=json", file], check=True, capture_output=True).stdout
    )
    assert said["format"] == conversion["format"]
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", conversion["format"], disk, file], check=True)


def test_a_disk_is_recorded_in_every_format_beside_what_packer_left(fleet: Checkout, store: Path) -> None:
    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended.err
    one, two = artifacts(fleet)
    assert [each["format"] for each in one["conversions"]] == ["vmdk"]
    assert (one["format"], one["size"]) == (two["format"], two["size"]) == ("raw", 65536 + 131072)
    assert one["conversions"] == two["conversions"], "no two VMDKs are alike, but copies are"
    for each in (one, two):
        judged(each, each["conversions"][0])
    named = fleet.reconciler("artifact", "appliance", str(store / "two"), "--format", "vmdk").out
    assert named.strip() == two["conversions"][0]["id"]
    assert "is not recorded as raw" in fleet.reconciler("artifact", "appliance", "--format", "raw").err
    asked = fleet.reconciler("which", named.strip())
    assert f"is vmdk of {one['id']}: appliance" in " ".join(asked.out.split())
    assert f"as vmdk {named.strip()}" in " ".join(fleet.reconciler("show", named.strip()).out.split())
    before = fleet.head()
    assert fleet.reconciler("reconcile").code == 0
    assert fleet.git("rev-parse", "origin/main") == before
    verified = fleet.reconciler("verify", "appliance", "stable", "--online")
    assert verified.code == 0, verified.out
    assert "(and as vmdk)" in " ".join(verified.out.split())


def test_a_format_that_comes_later_is_made_of_what_is_there_and_stays_when_it_goes(
    fleet: Checkout, store: Path
) -> None:
    assert fleet.reconciler("reconcile").code == 0
    artifacts(fleet)
    build = fleet.lockfile("appliance")["channels"]["stable"]
    declare(fleet, store, "vmdk", "qcow2")
    fleet.publish("Have a qcow2 as well")

    planned = fleet.reconciler("plan")
    ended = fleet.reconciler("reconcile")

    assert "convert" in planned.out
    assert "format-missing" in planned.out
    assert ended.code == 0, ended.err
    assert "to qcow2 in" in " ".join(ended.out.split())
    for each in artifacts(fleet):
        assert [one["format"] for one in each["conversions"]] == ["qcow2", "vmdk"]
        for conversion in each["conversions"]:
            judged(each, conversion)
    assert [one["id"] for one in fleet.lockfile("appliance")["builds"]] == [build], "nothing was built"
    verified = fleet.reconciler("verify", "appliance", "stable", "--online")
    assert verified.code == 0, verified.out
    declare(fleet, store)
    fleet.publish("Have none")
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def test_a_conversion_that_is_lost_is_copied_and_is_not_proven_before(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    one, _ = artifacts(fleet)
    lost = Path(one["location"], one["conversions"][0]["id"])
    lost.unlink()

    verified = fleet.reconciler("verify", "appliance", "stable", "--online")
    planned = fleet.reconciler("plan")
    mended = fleet.reconciler("reconcile")

    assert verified.code != 0
    assert "is not there as vmdk" in " ".join(verified.out.split()) or "is not what it is called" in verified.out
    assert "format-missing" in planned.out
    assert mended.code == 0, mended.err
    again, _ = artifacts(fleet)
    assert again["conversions"] == one["conversions"]
    judged(again, again["conversions"][0])


def test_where_there_is_no_room_for_a_conversion_its_build_is_recorded_and_the_next_run_makes_it(
    fleet: Checkout, store: Path
) -> None:
    # Given a folder with room for the disk, and for no other
    if os.geteuid() != 0:
        lacking("only root mounts a small file system")
    full = store / "one"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220k", "tmpfs", str(full)], check=True)
    try:
        # When it is built
        ended = fleet.reconciler("reconcile")

        # Then there is one error, and the disk is what is stable
        told = " ".join((ended.out + ended.err).split())
        assert ended.code == 3
        assert f"no vmdk in {full}: there is no room for it in {full}: No space left on device" in told
        assert "make room there: the next run converts it, and builds nothing anew" in told
        one, two = artifacts(fleet)
        assert "conversions" not in one
        judged(two, two["conversions"][0])
        build = fleet.lockfile("appliance")["channels"]["stable"]
        assert "format-missing" in fleet.reconciler("plan").out

        # And once there is room, it is copied from where it was made
        subprocess.run(["mount", "-o", "remount,size=4m", str(full)], check=True)
        assert fleet.reconciler("reconcile").code == 0
        one, two = artifacts(fleet)
        assert one["conversions"] == two["conversions"]
        assert [each["id"] for each in fleet.lockfile("appliance")["builds"]] == [build]
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_what_was_converted_and_could_not_be_recorded_is_found_again(fleet: Checkout, store: Path) -> None:
    # Given a run whose push is refused, when all is made
    hook = Path(fleet.git("remote", "get-url", "origin").strip(), "hooks/pre-receive")
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert fleet.reconciler("reconcile").code != 0
    made = {one.name for one in (store / "one").glob("sha256:*")}
    assert len(made) == 4, "a disk and a VMDK, each with its marks"

    # When the next one can push
    hook.unlink()
    ended = fleet.reconciler("reconcile")

    # Then it adopts the disk, and takes the VMDK that is there: another would be another file
    assert ended.code == 0, ended.err
    assert {one.name for one in (store / "one").glob("sha256:*")} == made
    for each in artifacts(fleet):
        (conversion,) = each["conversions"]
        assert conversion["id"] in made
        judged(each, conversion)


def test_conversions_go_with_their_disk(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    assert len(list((store / "one").glob("sha256:*"))) == 4, "two files, each with its marks"
    fleet.write("desired/appliance/image.yaml", f"locations: [{store}/one]\nformats: [vmdk]\n")
    fleet.publish("Keep it in one place")

    ended = fleet.reconciler("reconcile", "--prune")

    assert ended.code == 0, ended.err
    assert len(list((store / "one").glob("sha256:*"))) == 4
    assert list((store / "two").glob("sha256:*")) == []


def test_without_qemu_img_only_the_image_that_needs_it_stops_and_doctor_says_so(
    fleet: Checkout, store: Path, tmp_path: Path
) -> None:
    fleet.write("desired/plain/plain.pkr.hcl", TEMPLATE.replace("appliance", "plain"))
    (fleet.path / "desired/plain/disk.raw").write_bytes(os.urandom(4096))
    fleet.write("desired/plain/image.yaml", f"locations: [{store}/one]\n")
    fleet.publish("Have one without formats")
    bare = tmp_path / "bare"
    bare.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            if program.name not in ("qemu-img", "packer") and not (bare / program.name).is_symlink():
                (bare / program.name).symlink_to(program)
    packer = shutil.which("packer", path=fleet.environment["PATH"])
    assert packer is not None
    (bare / "packer").symlink_to(packer)
    without = {"PATH": str(bare)}

    ended = fleet.reconciler("reconcile", environment=without)
    doctor = fleet.reconciler("doctor", environment=without)

    assert ended.code == 3
    assert "qemu-img is not on this machine, and `formats` needs it" in " ".join((ended.out + ended.err).split())
    fleet.git("pull", "--quiet", "origin", "main")
    assert "conversions" not in json.dumps(fleet.lockfile("plain"))
    assert not (fleet.path / "state/appliance.lock.json").exists()
    assert "qemu-img not on PATH" in " ".join(doctor.out.split())
