"""Machines follow what is stable, forth and back: by parameters, launch templates, Terraform, and groups in waves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.go_programs import aws_provider, terraform
from tests.integration.loop.test_terraform import CONSUMER, MODULE
from tests.integration.loop.test_terraform import Consumer as Terraform
from tests.integration.story.test_published import REGIONS, found

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True), pytest.mark.terraform]

US, EU = "us-east-1", "eu-west-1"
ROOT = Path(__file__).parents[3]

HOUR = 3600
READS_SSM = """\
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region = "us-east-1"
}
provider "aws" {
  alias  = "eu"
  region = "eu-west-1"
}
data "aws_ssm_parameter" "us" {
  name = "%(name)s"
}
data "aws_ssm_parameter" "eu" {
  provider = aws.eu
  name     = "%(name)s"
}
output "stable" {
  value = {
    "us-east-1" = nonsensitive(data.aws_ssm_parameter.us.value)
    "eu-west-1" = nonsensitive(data.aws_ssm_parameter.eu.value)
  }
}
"""
"""What a consumer writes whose machines are Terraform's, and who reads no lockfiles."""
OUR_PROVIDER = """\
provider_installation {
  dev_overrides {
    "hashicorp/aws" = "%s"
  }
  direct {}
}
"""


@dataclass(frozen=True)
class Consumers:
    """All that launches what is stable: a template and a group of two instances in each region, and Terraform.

    Of two projects of Terraform's one reads lockfiles, and the other one SSM, by HashiCorp's own provider.
    """

    cloud: Cloud
    fleet: Checkout
    terraform: Terraform | None
    reads_ssm: Terraform | None

    @property
    def name(self) -> str:
        return f"web-{self.fleet.name[-6:]}"

    def make(self) -> None:
        """A template of some other image, and a group on its first version; all of them the fleet's."""
        tag = {"Key": "reconciler:fleet", "Value": self.fleet.name}
        for region in REGIONS:
            images = self.cloud.client("ec2", region).describe_images(Owners=["136693071363"])["Images"]
            self.cloud.client("ec2", region).create_launch_template(
                LaunchTemplateName=self.name,
                LaunchTemplateData={"ImageId": images[0]["ImageId"], "InstanceType": "t3.micro"},
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": [tag]}],
            )
            self.scaling(region).create_auto_scaling_group(
                AutoScalingGroupName=self.name, MinSize=0, MaxSize=4, DesiredCapacity=2,
                LaunchTemplate={"LaunchTemplateName": self.name, "Version": "1"}, AvailabilityZones=[f"{region}a"],
                Tags=[{**tag, "ResourceId": self.name, "ResourceType": "auto-scaling-group"}],
            )  # fmt: skip

    def end(self) -> None:
        """Take the groups away: the sandbox is shared, and other tests look for what runs."""
        for region in REGIONS:
            self.scaling(region).delete_auto_scaling_group(AutoScalingGroupName=self.name, ForceDelete=True)

    def scaling(self, region: str) -> Any:
        return self.cloud.client("autoscaling", region)

    def refreshes(self, region: str) -> list[Any]:
        found: list[Any] = self.scaling(region).describe_instance_refreshes(AutoScalingGroupName=self.name)[
            "InstanceRefreshes"
        ]
        return found

    def under_way(self) -> list[str]:
        return [region for region in REGIONS if any("EndTime" not in one for one in self.refreshes(region))]

    def an_hour_later(self) -> None:
        """Refreshes go on to their end, and that is an hour ago."""
        while self.under_way():
            self.cloud.sandbox.lapse(HOUR)
        self.cloud.sandbox.lapse(HOUR)

    def all_follow(self) -> None:
        """Runs, each an hour after the one before, until every group is recorded to be there, and a plan agrees."""
        for _ in range(6):
            self.an_hour_later()
            assert (ended := self.fleet.reconciler("reconcile")).code == 0, ended
            if self.recorded() == {(self.fleet.lockfile("web")["channels"]["stable"], "done")}:
                break
        planned = self.fleet.reconciler("plan", "--json").json["images"][0]
        assert (planned["sync"], planned.get("notes")) == ("in-sync", None), planned

    def recorded(self) -> set[tuple[str, str]]:
        """The builds that groups were led to, and how far they are."""
        groups = (one for one in self.fleet.lockfile("web")["published"] if "auto_scaling_group" in one)
        return {(one["build"], one["course"]) for one in groups}

    def launched(self, region: str) -> set[str]:
        """The AMIs of the instances that a group has."""
        (group,) = self.scaling(region).describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])[
            "AutoScalingGroups"
        ]
        ids = [one["InstanceId"] for one in group["Instances"]]
        assert len(ids) == 2, group
        found = self.cloud.client("ec2", region).describe_instances(InstanceIds=ids)["Reservations"]
        return {one["ImageId"] for some in found for one in some["Instances"]}

    def numbered(self) -> dict[str, tuple[int, str]]:
        """The template's version that the lockfile names, and its AMI, by region."""
        recorded = {
            one["location"]: one["version"]
            for one in self.fleet.lockfile("web")["published"]
            if one.get("launch_template") == self.name
        }
        return {region: (number, self._image(region, number)) for region, number in recorded.items()}

    def _image(self, region: str, number: int) -> str:
        (version,) = self.cloud.client("ec2", region).describe_launch_template_versions(
            LaunchTemplateName=self.name, Versions=[str(number)]
        )["LaunchTemplateVersions"]
        return str(version["LaunchTemplateData"]["ImageId"])

    def assert_run(self, amis: dict[str, str], *, number: int) -> None:
        """Whoever looks finds these AMIs, by whatever way, and the groups run them."""
        parameter = found(self.cloud, f"/images/{self.fleet.name}/stable")
        assert {region: value for region, (value, _) in parameter.items()} == amis
        assert self.numbered() == {region: (number, ami) for region, ami in amis.items()}
        assert {region: self.launched(region) for region in REGIONS} == {region: {amis[region]} for region in REGIONS}
        if self.terraform is not None:
            self.terraform.pull()
            self.terraform.plan()
            assert self.terraform.apply()["stable"]["web"] == amis
        if self.reads_ssm is not None:
            self.reads_ssm.plan()
            assert self.reads_ssm.apply()["stable"] == amis


@pytest.fixture
def terraform_if_there() -> Path | None:
    """Terraform, where it is or can be built; without it the story is the same but for that consumer."""
    try:
        return terraform()
    except pytest.skip.Exception:
        return None


@pytest.fixture
def consumers(
    new_fleet: NewFleet, cloud: Cloud, tmp_path: Path, terraform_if_there: Path | None
) -> Iterator[Consumers]:
    fleet = new_fleet(tmp_path, "alone")
    project = reads_ssm = None
    if terraform_if_there is not None:
        reads_ssm = Terraform(tmp_path / "reads-ssm", terraform_if_there, _for_the_sandbox(cloud, tmp_path / "rc"))
        reads_ssm.folder.mkdir()
        reads_ssm.folder.joinpath("main.tf").write_text(READS_SSM % {"name": f"/images/{fleet.name}/stable"})
        project = Terraform(tmp_path / "consumer", terraform_if_there)
        project.folder.mkdir()
        fleet.git("clone", "--quiet", fleet.git("remote", "get-url", "origin"), str(project.folder / "images"))
        project.folder.joinpath("main.tf").write_text(CONSUMER % MODULE)
        project.run("init", "-input=false")
    made = Consumers(cloud, fleet, project, reads_ssm)
    made.make()
    yield made
    made.end()


def _for_the_sandbox(cloud: Cloud, settings: Path) -> dict[str, str]:
    """What has Terraform run the provider that is built here, and reach the sandbox as everybody does."""
    settings.write_text(OUR_PROVIDER % aws_provider().parent)
    return {**cloud.sandbox.environment, "TF_CLI_CONFIG_FILE": str(settings)}


def test_machines_follow_what_is_stable_and_come_back_when_it_is_revoked(consumers: Consumers, cloud: Cloud) -> None:
    fleet, name = consumers.fleet, consumers.name
    fleet.edit(
        "desired/web/image.yaml",
        append="smoke_test: {boot: false}\nretain: {builds: 1, deprecated: 0s, disabled: 0s}\n"
        f'publish:\n  ssm: "/images/{fleet.name}/{{channel}}"\n  launch_templates: [{name}]\n'
        f"  auto_scaling_groups: [{name}]\n  waves: [{{regions: [{US}], wait: 1h}}, {{regions: [{EU}]}}]\n",
    )
    fleet.publish("Publish web")

    built = fleet.reconciler("reconcile")
    assert (built.code, consumers.under_way()) == (0, [US]), built
    planned = fleet.reconciler("plan")
    assert f"{EU} group {name}: waits for wave 1: {US} group {name}" in planned.err
    first = fleet.recorded("web")
    consumers.all_follow()
    consumers.assert_run(first, number=2)
    doctor = " ".join(fleet.reconciler("doctor").out.split())
    assert "publish: 4 of 4 parameters are there, 2 of 2 launch templates are there, 2 of 2 groups are there" in doctor

    fleet.write("desired/web/setup.sh", "#!/bin/sh -e\ntouch /var/tmp/second\n")
    fleet.publish("Change web")
    assert (built := fleet.reconciler("reconcile")).code == 0, built
    consumers.all_follow()
    second = fleet.recorded("web")
    consumers.assert_run(second, number=3)
    assert not set(first.values()) & set(second.values())

    bad = fleet.lockfile("web")["builds"][0]["id"]
    revoked = f"revoke: [{{build: {bad}, reason: CVE-2026-0001%s}}]\n"
    declared = (fleet.path / "desired/web/image.yaml").read_text()
    fleet.write("desired/web/image.yaml", declared + revoked % "")
    fleet.publish("Revoke the second")
    refused = fleet.reconciler("plan")
    assert (refused.code, refused.first) == (1, "1 of 1 image invalid: web")
    said = " ".join(refused.out.split())
    for region in REGIONS:
        uses = f"group {name}, by version 3 of {name} in {region} uses {second[region]}: "
        assert f"{uses}it is this fleet's, and is refreshed to what `stable` falls back to" in said, refused
    consumers.assert_run(second, number=3)

    fleet.write("desired/web/image.yaml", declared + revoked % ", even_if_in_use: true")
    fleet.publish("Revoke the second all the same")
    assert (away := fleet.reconciler("reconcile")).code == 0, away
    assert consumers.under_way() == [*REGIONS], "a way back has no waves"
    consumers.all_follow()
    consumers.assert_run(first, number=2)

    collected = fleet.reconciler("gc", "--apply", "--json")
    assert collected.code == 0, collected
    judged = {one["id"]: (one["goes"], one["code"]) for one in collected.json["artifacts"]}
    assert judged == {
        **dict.fromkeys(first.values(), (False, "channel")),
        **dict.fromkeys(second.values(), (False, "newest")),
    }
    assert {region: state_of(cloud, region, ami) for region, ami in second.items()} == dict.fromkeys(second, "disabled")
    consumers.assert_run(first, number=2)
    assert fleet.reconciler("reconcile").first == "1 image in sync: nothing to do."

    # Once it is mended, and a third build is stable, the second is what it would fall back to, and nobody needs the
    # first any more.
    oldest = fleet.lockfile("web")["builds"][-1]
    snapshots = {one["location"]: one["snapshots"] for one in oldest["artifacts"]}
    fleet.write("desired/web/image.yaml", declared)
    fleet.write("desired/web/setup.sh", "#!/bin/sh -e\ntouch /var/tmp/third\n")
    fleet.publish("Change web, and take the revocation away")
    assert (built := fleet.reconciler("reconcile")).code == 0, built
    consumers.all_follow()
    third = fleet.recorded("web")
    consumers.assert_run(third, number=4)
    young = fleet.reconciler("gc")
    assert young.first.startswith("0 of 6 artifacts may go"), young

    for step in ("deprecate", "disable", "retire"):
        taken = later(fleet, 2 * 24 * HOUR, "gc", "--apply", "--json")
        assert {(one["id"], one["step"]) for one in taken["took"]} == {(ami, step) for ami in first.values()}, taken
    for region, ami in first.items():
        assert images_of(cloud, region, [ami]) == []
        assert len(images_of(cloud, region, [second[region], third[region]])) == 2
        assert snapshots[region]
        named: Any = [{"Name": "snapshot-id", "Values": snapshots[region]}]
        assert cloud.ec2(region).describe_snapshots(OwnerIds=["self"], Filters=named)["Snapshots"] == []
        versions = cloud.client("ec2", region).describe_launch_template_versions(LaunchTemplateName=name)
        assert sorted(one["VersionNumber"] for one in versions["LaunchTemplateVersions"]) == [1, 3, 4]
    recorded = fleet.lockfile("web")
    assert "leaving" not in recorded
    assert oldest["id"] not in json.dumps(recorded)
    log = fleet.git("log", "--format=%s%n%b", "--", "state/web.lock.json")
    for step, was in (("deprecate", "superseded"), ("disable", "deprecated since"), ("retire", "disabled since")):
        assert f"web: {step}" in log
        assert f"{oldest['id']} {was}" in log
    # Git remembers what is gone: of the AMI's id, by the verb that asks for it, and in the image's history.
    for words in (("which", first[US]), ("history", "web")):
        told = fleet.reconciler(*words)
        assert (told.code, oldest["id"] in told.out) == (0, True), told
    consumers.assert_run(third, number=4)
    assert fleet.reconciler("reconcile").first == "1 image in sync: nothing to do."


def later(fleet: Checkout, seconds: int, *arguments: str) -> Any:
    """What the command answers so much later."""
    words = [sys.executable, "-m", "tests.later", str(seconds), *arguments]
    seen = {**fleet.environment, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=fleet.path, env=seen, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended
    return json.loads(ended.stdout)


def images_of(cloud: Cloud, region: str, amis: list[str]) -> list[str]:
    named: Any = [{"Name": "image-id", "Values": amis}]
    found = cloud.ec2(region).describe_images(Owners=["self"], Filters=named, IncludeDisabled=True)["Images"]
    return [one["ImageId"] for one in found]


def state_of(cloud: Cloud, region: str, ami: str) -> str:
    (image,) = cloud.ec2(region).describe_images(ImageIds=[ami], IncludeDisabled=True)["Images"]
    return image["State"]
