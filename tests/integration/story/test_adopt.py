"""Coming from plain Packer: an AMI that `packer build` made is adopted, and leaving is as easy."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

# As docs/templates.md proposes it.
TEMPLATE = """\
variable "source_ami" {
  type    = string
  default = ""
}
variable "image_name" {
  type    = string
  default = "web-{{timestamp}}"
}
variable "run_tags" {
  type    = map(string)
  default = {}
}
variable "image_tags" {
  type    = map(string)
  default = {}
}

source "amazon-ebs" "web" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ssh_username  = "admin"

  source_ami = var.source_ami
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }

  ami_name        = var.image_name
  run_tags        = var.run_tags
  run_volume_tags = var.run_tags
  tags            = var.image_tags
  snapshot_tags   = var.image_tags

  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "shell" {
    script = "${path.root}/setup.sh"
  }
}
"""


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    fleet = new_fleet(tmp_path_factory.mktemp("adopt"), "alone")
    fleet.write("desired/web/web.pkr.hcl", TEMPLATE)
    fleet.write("desired/web/setup.sh", "#!/bin/sh -e\nsudo cloud-init clean --logs\n")
    fleet.publish("Give the variables defaults")
    return fleet


@pytest.fixture(scope="module")
def by_hand(fleet: Checkout) -> str:
    """The AMI that plain Packer made."""
    packer = ["packer", "build", "-machine-readable", "desired/web"]
    done = subprocess.run(
        packer, cwd=fleet.path, env=dict(fleet.environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"us-east-1:(ami-[0-9a-f]+)", done.stdout)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def adopted(fleet: Checkout, by_hand: str) -> str:
    """What the command said."""
    ended = fleet.reconciler("adopt", "web", by_hand)
    assert ended.code == 0, ended.err
    return ended.out


def test_it_is_recorded_pushed_and_tagged(fleet: Checkout, cloud: Cloud, by_hand: str, adopted: str) -> None:
    build = fleet.lockfile("web")["builds"][0]
    assert " ".join(adopted.split()).startswith(
        f"web adopted {build['id']} not tested: taken as it was found us-east-1 {by_hand} Recorded in state/"
    )
    assert build["adopted"].keys() == {"at", "made"}
    assert "provenance" not in build
    assert fleet.lockfile("web")["channels"]["stable"] == build["id"]
    tags = cloud.tags("us-east-1", by_hand)
    assert (tags["reconciler:key"], tags["reconciler:phase"]) == (build["key"], "stable")
    assert fleet.git("log", "-1", "--format=%s", "origin/main") == f"web: adopt {build['id']} (as it was found)"


def test_every_answer_says_what_it_is(fleet: Checkout, adopted: str) -> None:
    def said(*arguments: str) -> str:
        return " ".join(fleet.reconciler(*arguments).out.split())

    assert "not tested: taken as it was found" in said("status")
    assert "adopted as it was" in said("history", "web")
    proof = said("verify", "web")
    assert "not proven what it was built from: it was taken as it was on" in proof
    assert "no provenance was written for it, as nobody here built it" in proof
    assert "not proven on what it was built; debian-12-amd64-20261101-1234 is what it is measured against" in proof
    assert "wrong" not in proof
    assert "region-missing" in said("plan")
    assert "build" not in fleet.reconciler("plan", "--json").json["summary"]


def test_to_adopt_it_again_is_no_error_and_commits_nothing(fleet: Checkout, by_hand: str, adopted: str) -> None:
    head = fleet.head()
    again = fleet.reconciler("adopt", "web", f"us-east-1:{by_hand}")
    assert (again.code, "adopted already" in again.out) == (0, True)
    assert fleet.head() == head


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([], "no AMI is named"),
        (["web-7"], "'web-7' is no AMI"),
        (["ami-0123456789abcdef0"], "there is no ami-0123456789abcdef0 in us-east-1, eu-west-1"),
    ],
)
def test_what_cannot_be_adopted_is_said_with_what_helps(
    fleet: Checkout, adopted: str, named: list[str], said: str
) -> None:
    refused = fleet.reconciler("adopt", "web", *named)
    assert refused.code == 1
    assert said in " ".join(refused.err.split())
    assert len(refused.err.strip().splitlines()) >= 2


def test_it_is_tested_when_somebody_asks_and_the_record_says_so(fleet: Checkout, by_hand: str, adopted: str) -> None:
    tested = fleet.reconciler("adopt", "web", by_hand, "--test")
    assert tested.code == 0, tested.err
    (build,) = fleet.lockfile("web")["builds"]
    assert build["smoke_test"]["status"] == "passed"
    assert (fleet.path / "state" / build["inventory"]["sbom"]).exists()
    proof = fleet.reconciler("verify", "web").out
    assert "wrong" not in proof, proof


def test_the_next_change_builds_with_the_reconciler(fleet: Checkout, adopted: str) -> None:
    fleet.edit("desired/web/setup.sh", append="true\n")
    fleet.publish()
    built = fleet.reconciler("reconcile")
    assert built.code == 0, built.err
    assert "adopted" not in fleet.lockfile("web")["builds"][0]
