"""Whatever a team rules and shares, and whatever hands do to AMIs between two runs, in EC2 (moto, and what we add).

The moves, and what has to hold after each, are those of `tests/integration/loop/life.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from moto.ec2.models import ec2_backends

from reconciler.model.declaration import AwsSettings
from reconciler.model.lockfile import Artifact
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.registry import Ec2Registry
from tests.integration.loop.life import PLAYED, REGIONS, Ami, Life, Place, files
from tests.integration.loop.world import FLEET, US, Controller, World

pytestmark = pytest.mark.long

ACCOUNT = "123456789012"
SOURCE = f'source: {{ami: {{name: "debian-12-*", owners: ["{ACCOUNT}"]}}}}\n'


@dataclass(frozen=True)
class InEc2:
    """The fleet's AMIs in two regions, and what people do there. Implements `Hands`."""

    world: World
    ec2: Mapping[str, Any] = field(default_factory=lambda: {one: boto3.client("ec2", one) for one in REGIONS})

    def source(self) -> str:
        return SOURCE

    def publish_newer(self) -> None:
        made = self.ec2[US].register_image(Name=f"debian-12-amd64-{self.world.clock().timestamp():.0f}")["ImageId"]
        ec2_backends[ACCOUNT][US].amis[made].creation_date = self.world.clock.moment

    def registry(self) -> Ec2Registry:
        return Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)

    def controller(self) -> Controller:
        made = self.world.controller()
        made.on_registry = lambda _memory: self.registry()
        made.builder.artifacts = self.leave
        return made

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        """What Packer leaves: an AMI with its snapshot and the tags that it was given."""
        made = self.ec2[US].register_image(Name=f"{request.image.name}-{request.build_id}")["ImageId"]
        ec2_backends[ACCOUNT][US].amis[made].creation_date = self.world.clock.moment
        found = self.registry().find(US, made)
        assert found is not None
        self.registry().tag(found, request.image_tags)
        return (found.as_artifact("amazon-ebs.image"),)

    def amis(self) -> Mapping[Place, Ami]:
        found: dict[Place, Ami] = {}
        for region, ec2 in self.ec2.items():
            for one in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
                tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
                if "reconciler:key" not in tags:
                    continue
                asked = ec2.describe_image_attribute(ImageId=one["ImageId"], Attribute="launchPermission")
                shared = frozenset(each["UserId"] for each in asked["LaunchPermissions"])
                found[region, one["ImageId"]] = Ami(
                    tags["reconciler:build"], tags["reconciler:image"], tags["reconciler:phase"], one["State"], shared,
                    bool(one.get("DeprecationTime")),
                )  # fmt: skip
        return found

    def tag(self, artifact: Artifact, tags: Mapping[str, str]) -> None:
        self.registry().tag(artifact, tags)

    def untag(self, artifact: Artifact, key: str) -> None:
        self.ec2[artifact.location].delete_tags(Resources=[artifact.id], Tags=[{"Key": key}])

    def share(self, artifact: Artifact, account: str) -> None:
        self._permit(artifact, Add=[{"UserId": account}])

    def unshare(self, artifact: Artifact, account: str) -> None:
        self._permit(artifact, Remove=[{"UserId": account}])

    def _permit(self, artifact: Artifact, **change: Any) -> None:
        self.ec2[artifact.location].modify_image_attribute(ImageId=artifact.id, LaunchPermission=change)

    def disable(self, artifact: Artifact) -> None:
        self.ec2[artifact.location].disable_image(ImageId=artifact.id)

    def enable(self, artifact: Artifact) -> None:
        self.ec2[artifact.location].enable_image(ImageId=artifact.id)
        self.ec2[artifact.location].disable_image_deprecation(ImageId=artifact.id)

    def deprecate(self, artifact: Artifact, at: datetime) -> None:
        self.ec2[artifact.location].enable_image_deprecation(ImageId=artifact.id, DeprecateAt=at)

    def deregister(self, artifact: Artifact) -> None:
        self.ec2[artifact.location].deregister_image(ImageId=artifact.id)

    def check(self) -> None:
        """Each AMI has its snapshot: none went before its AMI."""
        for ec2 in self.ec2.values():
            there = {one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
            images = ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
            blocks = [block["Ebs"] for one in images for block in one["BlockDeviceMappings"] if "Ebs" in block]
            assert {one["SnapshotId"] for one in blocks} <= there


def begin(server: str, root: Path) -> Life:
    """A game in an account of its own, whose Recycle Bin keeps what goes."""
    urlopen(Request(f"{server}/moto-api/reset", method="POST")).close()  # noqa: S310 - loopback, http
    for region in REGIONS:
        for kind in ("EC2_IMAGE", "EBS_SNAPSHOT"):
            boto3.client("rbin", region).create_rule(
                ResourceType=kind, RetentionPeriod={"RetentionPeriodValue": 365, "RetentionPeriodUnit": "DAYS"}
            )  # fmt: skip
    world = World.begin(root, files(SOURCE))
    world.clock.moment = datetime.now(UTC)
    hands = InEc2(world)
    hands.publish_newer()
    game = Life(world, hands)
    game.reconcile()
    game.somebody_changes_it("edge")  # so that there is something to fall back to
    return game


@pytest.fixture
def server(moto: str, own_home: None, monkeypatch: pytest.MonkeyPatch) -> str:
    # The registry's clock does not go on with the test's.
    monkeypatch.setattr(Ec2Registry, "server_time", lambda _self, _location: None)
    return moto


def test_what_is_ruled_and_shared_holds_whatever_hands_do(server: str, tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: begin(server, tmp_path / f"fleet-{next(numbers)}"),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=4, stateful_step_count=8,
            phases=(Phase.generate,),  # an example takes half a minute, and each says what it did
            suppress_health_check=list(HealthCheck), **PLAYED,
        ),
    )  # fmt: skip
