"""Builds of AMIs go away in EC2 (moto) as `gc` takes them: deprecated, disabled, deregistered with their snapshots."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.ec2.models import ec2_backends

from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.registry import Ec2Registry
from tests.integration.loop.test_rulings import held
from tests.integration.loop.world import FLEET, US, Controller, World, image_files

pytestmark = pytest.mark.long

ACCOUNT = "123456789012"
SETTINGS = f"fleet: {FLEET}\ndefaults:\n  regions: [{US}]\n  retain: {{builds: 1}}\n"


@dataclass
class Account:
    """An account in EC2, in which a fleet of one image is built."""

    world: World
    source: str
    ec2: Any = field(default_factory=lambda: boto3.client("ec2", region_name=US))

    def controller(self) -> Controller:
        """A controller that asks EC2."""
        made = self.world.controller()
        made.on_registry = lambda _memory: Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)
        made.builder.artifacts = self.leave
        return made

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        """What Packer leaves: an AMI with its snapshot and the tags that it was given."""
        name = f"{request.image.name}-{request.build_id}"
        made = self.ec2.register_image(Name=name)["ImageId"]
        ec2_backends[ACCOUNT][US].amis[made].creation_date = self.world.clock.moment
        registry = Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)
        found = registry.find(US, made)
        assert found is not None
        registry.tag(found, request.image_tags)
        return (found.as_artifact("amazon-ebs.image"),)

    def build(self, setup: str) -> Artifact:
        """Build the image once more."""
        self.world.commit({"desired/web/setup.sh": f"{setup}\n"})
        (done,) = self.controller().reconcile().results
        assert done.why == ""
        self.world.clock.advance(days=2)
        return self.world.lock("web").builds[0].artifacts[0]

    def image(self, artifact: Artifact) -> dict[str, Any] | None:
        """An AMI as EC2 describes it; None where there is none any more."""
        filters = [{"Name": "image-id", "Values": [artifact.id]}]
        found = self.ec2.describe_images(Owners=["self"], Filters=filters, IncludeDisabled=True)["Images"]
        return found[0] if found else None

    def snapshots(self) -> set[str]:
        """All snapshots of the account."""
        return {one["SnapshotId"] for one in self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}


@pytest.fixture
def account(moto: str, own_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Three builds of an image, the oldest of which no lockfile has any more."""
    source = boto3.client("ec2", region_name=US).register_image(Name="debian")["ImageId"]
    declared = f"source: {{ami: {{id: {source}}}}}\n"
    world = World.begin(tmp_path / "world", {"desired/reconciler.yaml": SETTINGS, **image_files("web", declared)})
    world.clock.moment = datetime.now(UTC)
    # The registry's clock does not go on with the test's.
    monkeypatch.setattr(Ec2Registry, "server_time", lambda _self, _location: None)
    return Account(world, source)


def test_an_ami_goes_in_three_steps_with_its_snapshot(account: Account) -> None:
    first, *_ = [account.build(f"echo {number}") for number in range(3)]
    kept = account.snapshots() - set(first.parts)
    judged = account.controller().collect(apply=False)
    assert [one.id for one in judged.going] == [first.id]

    account.controller().collect()
    found = account.image(first)
    assert found is not None
    assert (found["State"], bool(found.get("DeprecationTime"))) == ("available", True)
    account.world.clock.advance(days=15)
    account.controller().collect()
    found = account.image(first)
    assert found is not None
    assert found["State"] == "disabled"
    account.world.clock.advance(days=15)
    done = account.controller().collect()
    assert (done.failed, [one.step for one in done.took], done.restorable) == ({}, ["retire"], {US: 0})
    assert account.image(first) is None
    assert account.snapshots() == kept
    assert account.world.lock("web").leaving == ()


def keeps(days: int, *kinds: str) -> None:
    """Have the account's Recycle Bin keep what is removed of this fleet."""
    tags = [{"ResourceTagKey": "reconciler:fleet", "ResourceTagValue": FLEET}]
    period = {"RetentionPeriodValue": days, "RetentionPeriodUnit": "DAYS"}
    for kind in kinds:
        boto3.client("rbin", region_name=US).create_rule(
            ResourceType=kind, RetentionPeriod=period, ResourceTags=tags
        )  # fmt: skip


def test_what_was_removed_comes_back_from_the_recycle_bin(account: Account) -> None:
    keeps(30, "EC2_IMAGE", "EBS_SNAPSHOT")
    first, *_ = [account.build(f"echo {number}") for number in range(3)]
    for _ in range(3):
        done = account.controller().collect()
        account.world.clock.advance(days=15)
    assert (done.restorable, account.image(first)) == ({US: 30}, None)
    (listed,) = account.controller().restore().restorable
    assert (listed.image, listed.id) == ("web", first.id)

    told = account.controller().restore(first.id)
    assert (told.is_back, [one.outcome for one in told.artifacts]) == (True, ["restored"])
    found = account.image(first)
    assert found is not None
    assert (found["State"], found.get("DeprecationTime")) == ("available", None)
    assert set(first.parts) <= account.snapshots()
    (back,) = [one for one in account.world.lock("web").builds if one.id == told.build]
    assert [one.id for one in back.artifacts] == [first.id]
    assert account.controller().restore(first.id).commit is None


def test_what_has_no_snapshot_any_more_stays_in_the_bin(account: Account) -> None:
    keeps(30, "EC2_IMAGE")
    first, *_ = [account.build(f"echo {number}") for number in range(3)]
    for _ in range(3):
        account.controller().collect()
        account.world.clock.advance(days=15)
    with pytest.raises(UserError, match="can be brought back") as refused:
        account.controller().restore(first.id)
    assert "its snapshot" in refused.value.hint[0]
    assert account.image(first) is None


def test_a_hold_brings_it_back(account: Account) -> None:
    first, *_ = [account.build(f"echo {number}") for number in range(3)]
    for _ in range(2):
        account.controller().collect()
        account.world.clock.advance(days=15)
    (entry,) = account.world.lock("web").leaving
    declared = held(entry.build.id, declaration=f"source: {{ami: {{id: {account.source}}}}}\n")
    account.world.commit({"desired/web/image.yaml": declared})
    assert account.controller().reconcile().exit_code == 0
    found = account.image(first)
    assert found is not None
    assert (found["State"], found.get("DeprecationTime")) == ("available", None)
    assert account.world.lock("web").channels.stable == entry.build.id


@pytest.mark.parametrize("where", ["template", "instance"])
def test_what_is_in_use_stays(account: Account, where: str) -> None:
    first, *_ = [account.build(f"echo {number}") for number in range(3)]
    if where == "template":
        account.ec2.create_launch_template(LaunchTemplateName="old", LaunchTemplateData={"ImageId": first.id})
        template = {"LaunchTemplateName": "old", "LaunchTemplateData": {"ImageId": account.source}}
        account.ec2.create_launch_template_version(**template)
    else:
        made = account.ec2.run_instances(ImageId=first.id, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        account.ec2.stop_instances(InstanceIds=[made])
    judged = account.controller().collect()
    assert {one.id: one.code for one in judged.artifacts}[first.id] == "used"
    assert judged.took == ()


def test_what_is_nobody_s_is_listed_and_never_touched(account: Account) -> None:
    account.build("echo one")
    made = account.ec2.run_instances(ImageId=account.source, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    by_hand = account.ec2.create_image(InstanceId=made, Name="by hand")["ImageId"]
    volume = account.ec2.create_volume(Size=1, AvailabilityZone=f"{US}a")["VolumeId"]
    text = "Created by CreateImage(i-0123456789abcdef0) for ami-0123456789abcdef0 from vol-0123456789abcdef0"
    orphan = account.ec2.create_snapshot(VolumeId=volume, Description=text)["SnapshotId"]
    before = account.snapshots()
    found = Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1).unmanaged(US)
    assert found is not None
    assert {(one.kind, one.id) for one in found} >= {("ami", by_hand), ("ami", account.source), ("snapshot", orphan)}
    assert not {one.id for one in found} & {one.id for one in account.world.lock("web").builds[0].artifacts}
    account.controller().collect()
    assert account.snapshots() == before
