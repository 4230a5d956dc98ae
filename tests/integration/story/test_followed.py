"""Machines follow what is stable, forth and back: by parameters, launch templates, Terraform, and groups in waves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.go_programs import terraform
from tests.integration.loop.test_terraform import CONSUMER, MODULE
from tests.integration.loop.test_terraform import Consumer as Terraform
from tests.integration.story.test_published import REGIONS, found

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True), pytest.mark.terraform]

US, EU = "us-east-1", "eu-west-1"

HOUR = 3600


@dataclass(frozen=True)
class Consumers:
    """All that launches what is stable: a template and a group of two instances in each region, and Terraform."""

    cloud: Cloud
    fleet: Checkout
    terraform: Terraform | None

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
    project = None
    if terraform_if_there is not None:
        project = Terraform(tmp_path / "consumer", terraform_if_there)
        project.folder.mkdir()
        fleet.git("clone", "--quiet", fleet.git("remote", "get-url", "origin"), str(project.folder / "images"))
        project.folder.joinpath("main.tf").write_text(CONSUMER % MODULE)
        project.run("init", "-input=false")
    made = Consumers(cloud, fleet, project)
    made.make()
    yield made
    made.end()


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


def state_of(cloud: Cloud, region: str, ami: str) -> str:
    (image,) = cloud.ec2(region).describe_images(ImageIds=[ami], IncludeDisabled=True)["Images"]
    return image["State"]
