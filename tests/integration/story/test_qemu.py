"""A disk from a pull request to stable: real Packer and its qemu builder, a real kernel, and the bench that boots it.

The builder is of Packer 1.9 and older: later ones have it from a plugin that no mirror of Go's modules has.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from reconciler.build.packer.versions import PLUGINS_APART
from reconciler.registries import machine_of
from tests import disks
from tests.command import Command
from tests.integration.story.conftest import Checkout, _clone

pytestmark = [pytest.mark.packer(before=PLUGINS_APART), pytest.mark.disks, pytest.mark.long]

SETUP = """\
#!/bin/sh -eu
echo "version 2" | sudo tee /etc/appliance
echo "runs in $(systemd-detect-virt)"
"""
SUITE = """\
def test_it_was_provisioned_by_packer(host):
    assert host.file("/etc/appliance").content_string.startswith("version ")


def test_it_runs_a_kernel_of_its_own(host):
    assert "cloud" in host.check_output("uname -r")
"""
SEEN_INSIDE = {"kvm": "kvm", "tcg": "qemu"}
"""What systemd calls a machine that runs on either."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A Debian of the tests' own, as a publisher has it."""
    disks.refuse_without_qemu()
    disk = tmp_path / "debian.raw"
    subprocess.run(["cp", "--sparse=always", disks.debian(), disk], check=True)
    return disk


@pytest.fixture
def fleet(packer_on_path: str | None, command: Command, tmp_path: Path, upstream: Path, store: Path) -> Checkout:
    """`appliance`, which is built on that Debian in a machine of qemu's. Nothing is built yet."""
    assert packer_on_path, "mark the test `packer`"
    store.mkdir()
    checkout = _clone(tmp_path, "qemu", {}, command)
    declared = (
        f"locations: [{store}]\nsource: {{disk: {{url: {upstream}}}}}\nrefresh: {{keep_if_unchanged: false}}\n"
        "smoke_test: {suite: smoke/, timeout: 15m}\n"
    )
    checkout.write("desired/appliance/image.yaml", declared)
    checkout.write("desired/appliance/smoke/test_appliance.py", SUITE)
    checkout.publish("Say where it is kept")
    checkout.git("fetch", "--quiet", "origin")
    return checkout


def there(store: Path) -> dict[str, dict[str, str]]:
    """The marks of every disk, by its id; each file is what its name says."""
    found = {}
    for file in store.glob("sha256:*.json"):
        with file.with_suffix("").open("rb") as disk:
            assert file.stem == f"sha256:{hashlib.file_digest(disk, 'sha256').hexdigest()}"
        found[file.stem] = json.loads(file.read_text())["tags"]
    return found


def moved(disk: Path) -> None:
    """Have a publisher's disk be another: the number that stands in its boot sector beside the code."""
    with disk.open("r+b") as file:
        file.seek(440)
        file.write(os.urandom(4))


def test_a_pull_requests_disk_is_booted_promoted_and_adopted_and_a_newer_source_builds_another(
    fleet: Checkout, store: Path, upstream: Path
) -> None:
    # Given a pull request, whose disk Packer provisions over SSH
    fleet.git("switch", "--quiet", "--create", "newer")
    fleet.write("desired/appliance/setup.sh", SETUP)
    fleet.publish("Update the appliance")
    preview = fleet.reconciler("reconcile", "--preview", "--pull-request", "7")
    assert preview.code == 0, preview.err + preview.out
    (built,) = there(store)

    # When it is merged
    fleet.merge("newer")
    merged = fleet.reconciler("reconcile")

    # Then that very disk is stable: it was booted, looked over, tested by its suite and seen from inside, once
    assert merged.code == 0, merged.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert list(there(store)) == [built]
    assert there(store)[built]["reconciler:phase"] == "stable"
    (build,) = fleet.lockfile("appliance")["builds"]
    assert (build["phase"], build["smoke_test"]["status"]) == ("stable", "passed")
    (artifact,) = build["artifacts"]
    assert (artifact["id"], artifact["format"]) == (built, "qcow2")
    assert artifact["size"] == (store / built).stat().st_size
    assert "cloud" in build["inventory"]["kernel"]
    assert build["inventory"]["packages"] > 100
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    verified = fleet.reconciler("verify", "appliance", "stable", "--online")
    assert verified.code == 0, verified.out
    assert "built and tested on " + accelerator() in " ".join(fleet.reconciler("doctor").out.split())
    assert f"runs in {SEEN_INSIDE[accelerator()]}" in fleet.log_of("appliance")

    # And once its source is another, a refresh builds another, which no other run does. It is not booted once more
    declared = (fleet.path / "desired/appliance/image.yaml").read_text()
    fleet.write("desired/appliance/image.yaml", declared.replace("suite: smoke/, timeout: 15m", "boot: false"))
    fleet.publish("Boot no other")
    moved(upstream)
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    refreshed = fleet.reconciler("reconcile", "--refresh")
    assert refreshed.code == 0, refreshed.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest, older = fleet.lockfile("appliance")["builds"]
    assert [one["code"] for one in newest["reasons"]] == ["source-changed"]
    assert newest["source"]["disk"]["id"] != older["source"]["disk"]["id"]
    assert (newest["phase"], set(there(store))) == ("stable", {built, newest["artifacts"][0]["id"]})


def accelerator() -> str:
    """What qemu runs on here."""
    machine = machine_of("disk")
    assert machine is not None
    return machine.best()
