"""`reconciler rights`: what a fleet of several kinds has to be allowed, and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.integration.cli.conftest import Fleet, conforms

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_each_kind_of_the_fleet_is_told_with_what_it_needs_and_where(fleet: Fleet) -> None:
    for example in ("container-image", "disk", "vsphere-template"):
        shutil.copytree(EXAMPLES / example / "desired", fleet.root / "desired", dirs_exist_ok=True)
    fleet.commit({})

    ended = fleet.run("rights")
    answer = fleet.run("rights", "--json")

    assert (ended.returncode, ended.stderr, answer.returncode) == (0, "", 0)
    lines = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "ami, of 2 images: base, web",
        "disk, of 1 image: appliance",
        "oci, of 1 image: site",
        "vsphere, of 1 image: linux",
    ]
    assert "  on vsphere://vcenter.example.org/DC0/vm/templates" in lines
    told = " ".join(ended.stdout.split())  # lines are as wide as the terminal
    assert "reconciler iam-policy reconcile --account ID: to build, test, copy, promote and retire" in told
    document = json.loads(answer.stdout)
    conforms(document, "reconciler rights --json")
    names = {(one["kind"], right["on"]): right["names"] for one in document["kinds"] for right in one["rights"]}
    assert names["oci", "docker.io/library/debian"] == ["pull"]
    assert names["disk", "/srv/images"] == ["read", "write"]
    assert names["disk", "/srv/upstream/debian-12-genericcloud-amd64.qcow2"] == ["read"]
    assert names["vsphere", "vcenter.example.org: /DC0/vm/base/debian-12"] == ["System.View", "System.Read"]


def test_a_bucket_needs_the_actions_of_its_policy(fleet: Fleet) -> None:
    shutil.copytree(EXAMPLES / "disk" / "desired", fleet.root / "desired", dirs_exist_ok=True)
    place = "s3://acme-images/appliance"
    fleet.commit({"desired/appliance/image.yaml": f"locations: [{place}]\n"})

    _, disks = json.loads(fleet.run("rights", "--json").stdout)["kinds"]
    policy = fleet.run(
        "iam-policy", "reconcile", "--account", "123456789012", "--fleet", "acme/images", "--disks", place
    )

    said = {name for right in disks["rights"] if right["on"] == place for name in right["names"]}
    statements = json.loads(policy.stdout)["Statement"]
    listed = [one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements]
    assert said == {action for actions in listed for action in actions if action.startswith("s3:")}


def test_a_fleet_that_says_nothing_valid_is_refused(fleet: Fleet) -> None:
    fleet.commit({f"desired/{name}/image.yaml": "nothing: known\n" for name in ("base", "web")})

    ended = fleet.run("rights")

    assert ended.returncode == 1
    assert "no valid image says where its artifacts live" in ended.stderr
