"""Templates in a vCenter, VMware's simulator: cloned by the real Packer, marked, copied, and adopted after a merge."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.model.observation import Seen
from reconciler.registries.vsphere.registry import VSphereRegistry
from tests.command import Command
from tests.integration.story.conftest import Checkout, Cloud, _clone
from tests.needs import refuse_without_plugin
from tests.vcenter import CREDENTIALS, Simulator, simulator

DEBIAN = "136693071363"
SUITE = """\
def test_it_is_what_packer_made(host):
    assert host.file("/etc/made-by").content_string == "made by packer\\n"
"""

pytestmark = [pytest.mark.vsphere, pytest.mark.packer, pytest.mark.long]


@pytest.fixture
def vcenter(packer_on_path: str) -> Iterator[Simulator]:
    refuse_without_plugin("vsphere", packer_on_path)
    with simulator() as one:
        one.folder("base")
        one.template("debian-12", f"vsphere://{one.host}/DC0/vm/base")
        yield one


@pytest.fixture
def fleet(vcenter: Simulator, tmp_path: Path, command: Command) -> Checkout:
    """`linux` is cloned from a template upstream, and has a copy; `web` is cloned from `linux`."""
    checkout = _clone(tmp_path, "templates", CREDENTIALS, command)
    places = [vcenter.folder("templates"), vcenter.folder("office")]
    for image, source in {"linux": "vsphere: base/debian-12", "web": "image: linux"}.items():
        where = f"locations: {places if image == 'linux' else places[:1]}\nsource: {{{source}}}\n"
        given = f'packer: {{variables: {{vcenter: "{vcenter.host}"}}}}\n'
        checkout.write(f"desired/{image}/image.yaml", where + given)
    checkout.publish("Say where they are kept")
    checkout.git("fetch", "--quiet", "origin")
    return checkout


def templates(vcenter: Simulator, fleet: Checkout, folder: str) -> dict[str, Seen]:
    """The fleet's templates in a folder, by id."""
    registry = VSphereRegistry(fleet=fleet.name, environment=CREDENTIALS)
    seen = registry.observe([f"vsphere://{vcenter.host}/DC0/vm/{folder}"])
    assert not seen.unreadable
    return {one.id: one for one in seen.artifacts}


def test_templates_are_built_and_marked_and_copied_and_then_nothing_is_left_to_do(
    fleet: Checkout, vcenter: Simulator
) -> None:
    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    there, copied = (templates(vcenter, fleet, folder) for folder in ("templates", "office"))
    assert sorted(str(one.own("image")) for one in there.values()) == ["linux", "web"]
    assert {one.own("phase") for one in (*there.values(), *copied.values())} == {"stable"}
    assert set(fleet.recorded("linux").values()) == {
        one.id for one in (*there.values(), *copied.values()) if one.own("image") == "linux"
    }
    pinned = fleet.lockfile("linux")["builds"][0]["source"]["vsphere"]
    assert (pinned["folder"], pinned["name"]) == (f"vsphere://{vcenter.host}/DC0/vm/base", "debian-12")
    assert fleet.lockfile("web")["builds"][0]["source"]["artifacts"] == fleet.recorded("linux")
    before = fleet.head()
    again = fleet.reconciler("reconcile")
    assert (again.code, fleet.git("rev-parse", "origin/main")) == (0, before)
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    verified = fleet.reconciler("verify", "linux", "stable", "--online")
    assert verified.code == 0, verified.out


@pytest.mark.packer(once=True)
def test_a_template_that_somebody_made_is_adopted_by_its_uuid(fleet: Checkout, vcenter: Simulator) -> None:
    place = f"vsphere://{vcenter.host}/DC0/vm/templates"
    vcenter.template("golden", place)
    (made,) = VSphereRegistry(fleet=fleet.name, environment=CREDENTIALS).named(place, "golden")

    ended = fleet.reconciler("adopt", "linux", made.id)

    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.recorded("linux") == {place: made.id}
    assert templates(vcenter, fleet, "templates")[made.id].own("phase") == "stable"


def test_a_source_that_was_changed_is_built_on_once_it_is_resolved_anew(fleet: Checkout, vcenter: Simulator) -> None:
    assert fleet.reconciler("reconcile").code == 0
    vcenter.annotate(f"vsphere://{vcenter.host}/DC0/vm/base/debian-12", "patched")

    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    refused = fleet.reconciler("reconcile", "--force", "linux")
    refreshed = fleet.reconciler("reconcile", "--refresh")

    assert "was changed since" in " ".join((refused.out + refused.err).split())
    assert refreshed.code == 0, refreshed.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert len({one["source"]["vsphere"]["id"] for one in fleet.lockfile("linux")["builds"]}) == 2
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def test_what_a_pull_request_built_is_what_its_merge_promotes(fleet: Checkout, vcenter: Simulator) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    fleet.git("switch", "--quiet", "--create", "newer")
    fleet.edit("desired/web/web.pkr.hcl", append="# newer\n")
    fleet.publish("Change what web is built by")

    preview = fleet.reconciler("reconcile", "--preview", "--pull-request", "7")
    built = set(templates(vcenter, fleet, "templates"))
    fleet.merge("newer")
    merged = fleet.reconciler("reconcile")

    assert (preview.code, merged.code) == (0, 0), preview.err + merged.err
    fleet.git("pull", "--quiet", "origin", "main")
    there = templates(vcenter, fleet, "templates")
    assert set(there) == built, "nothing was built a second time"
    (newest,) = fleet.recorded("web").values()
    assert there[newest].own("phase") == "stable"


def test_a_vcenter_that_is_lost_is_unknown_and_nothing_is_built_for_it(fleet: Checkout, vcenter: Simulator) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    before = fleet.head()

    lost = {"VSPHERE_PASSWORD": "a-wrong-password"}
    planned, ended = (fleet.reconciler(verb, environment=lost) for verb in ("plan", "reconcile"))

    assert "the credentials are not accepted" in " ".join((planned.out + planned.err).split())
    assert "a-wrong-password" not in planned.out + planned.err + ended.out + ended.err
    assert (ended.code, fleet.git("rev-parse", "origin/main")) == (3, before)


@pytest.mark.packer(once=True)
def test_what_packer_imports_to_a_content_library_is_recorded_and_then_nothing_is_left_to_do(
    vcenter: Simulator, tmp_path: Path, command: Command
) -> None:
    # Given an image whose machine is destroyed once it is imported
    home, office = vcenter.library("golden"), vcenter.library("office")
    vcenter.folder("templates")
    fleet = _clone(tmp_path, "library", CREDENTIALS, command)
    given = f'packer: {{variables: {{vcenter: "{vcenter.host}"}}}}\n'
    source = "source: {vsphere: base/debian-12}\n"
    fleet.write("desired/linux/image.yaml", f"locations: [{home}, {office}]\n{source}{given}")
    fleet.publish("Say where it is kept")
    fleet.git("fetch", "--quiet", "origin")

    ended = fleet.reconciler("reconcile")

    # Then its items are what is recorded, in each library
    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    seen = VSphereRegistry(fleet=fleet.name, environment=CREDENTIALS).observe([home, office])
    assert fleet.recorded("linux") == {one.location: one.id for one in seen.artifacts}
    assert {one.own("phase") for one in seen.artifacts} == {"stable"}
    assert len(seen.artifacts) == 2
    assert not templates(vcenter, fleet, "templates")
    before = fleet.head()
    again = fleet.reconciler("reconcile")
    assert (again.code, fleet.git("rev-parse", "origin/main")) == (0, before)
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    verified = fleet.reconciler("verify", "linux", "stable", "--online")
    assert verified.code == 0, verified.out


class Guests:
    """Who is in the machines of a vCenter that runs none: an instance of the sandbox for each, which cloud-init told.

    What Packer made there is what the clones of its template have on their disks.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self._ec2 = cloud.client("ec2", "us-east-1")
        self._key = f"guest-{os.urandom(3).hex()}"
        self.key = folder / "builder"
        self.key.touch(mode=0o600)
        self.key.write_text(self._ec2.create_key_pair(KeyName=self._key, KeyType="ed25519")["KeyMaterial"])
        self._disk = self._ec2.describe_images(Owners=[DEBIAN])["Images"][0]["ImageId"]
        self._made = ""
        self.told: list[Mapping[str, str]] = []

    def arrive(self, told: Mapping[str, str]) -> str:
        """Start one: Packer's own, or that of a clone, and return its address."""
        if "guestinfo.userdata" not in told:
            self._made, address = self._start(self._disk, self._key)
            return address
        self.told.append(told)
        made = self._ec2.create_image(InstanceId=self._made, Name=f"disk-{os.urandom(3).hex()}")["ImageId"]
        self._ec2.get_waiter("image_available").wait(ImageIds=[made], WaiterConfig={"Delay": 1})
        user = json.loads(base64.b64decode(told["guestinfo.userdata"]).partition(b"\n")[2])["users"][1]
        key = f"guest-{os.urandom(3).hex()}"
        self._ec2.import_key_pair(KeyName=key, PublicKeyMaterial=user["ssh_authorized_keys"][0].encode())
        return self._start(made, key)[1]

    def _start(self, image: str, key: str) -> tuple[str, str]:
        begun = self._ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, KeyName=key)["Instances"][0]
        (found,) = self._ec2.describe_instances(InstanceIds=[begun["InstanceId"]])["Reservations"][0]["Instances"]
        return found["InstanceId"], found["PublicIpAddress"]


@pytest.mark.packer(once=True)
@pytest.mark.sandbox
def test_a_template_is_tested_as_a_clone_that_shares_its_disks(
    vcenter: Simulator, cloud: Cloud, tmp_path: Path, command: Command
) -> None:
    # Given an image that Packer provisions over SSH, and what stands for the guests of its machines
    guests, home = Guests(cloud, tmp_path), vcenter.folder("templates")
    fleet = _clone(tmp_path, "guests", CREDENTIALS, command)
    given = f'packer: {{variables: {{vcenter: "{vcenter.host}", key: "{guests.key}"}}}}\n'
    source = "source: {vsphere: base/debian-12}\nsmoke_test: {suite: smoke/}\n"
    fleet.write("desired/linux/smoke/test_linux.py", SUITE)
    fleet.write("desired/linux/image.yaml", f"locations: [{home}]\n{source}{given}")
    fleet.publish("Say where it is kept")
    fleet.git("fetch", "--quiet", "origin")

    with vcenter.guests(guests.arrive, of=""):
        ended = fleet.reconciler("reconcile")

    # Then it was booted, tested, and seen from inside; and no clone is left
    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    (build,) = fleet.lockfile("linux")["builds"]
    assert build["smoke_test"]["status"] == "passed"
    assert build["smoke_test"]["tests"] > 1
    assert build["inventory"]["packages"] > 100
    assert build["phase"] == "stable"
    assert [one.name for one in templates(vcenter, fleet, "templates").values()] == [f"linux-{build['id']}"]
    shown = fleet.reconciler("show", build["id"])
    assert "passed" in shown.out
