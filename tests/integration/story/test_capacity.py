"""EC2 has no room for the instance of a smoke test: the next type is tried, and a build that nobody tested waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from tests.integration.story.conftest import Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer, pytest.mark.long]

REGION = "us-east-1"


def fill(sandbox: Sandbox, *types: str) -> None:
    for one in types:
        sandbox.inject(
            action="RunInstances", code="InsufficientInstanceCapacity", times=100, where={"InstanceType": one}
        )  # fmt: skip


def test_what_found_no_room_is_kept_and_tested_by_the_next_run_on_a_type_that_there_is(
    new_fleet: NewFleet, tmp_path: Path, healthy: Sandbox, cloud: Cloud
) -> None:
    fleet = new_fleet(tmp_path, "alone")
    fleet.edit("desired/web/image.yaml", append="smoke_test: { instance_type: [t3.nano, t3.small] }\n")
    fleet.publish("Prefer the small")
    before = fleet.head()
    fill(healthy, "t3.nano", "t3.small")  # Packer takes a t3.micro

    ended = fleet.reconciler("reconcile", environment={"AWS_MAX_ATTEMPTS": "1"})

    assert ended.code == 3
    assert "EC2 has no room (t3.nano: InsufficientInstanceCapacity in " in ended.err
    assert "t3.small: InsufficientInstanceCapacity in " in ended.err
    assert fleet.head() == before, "that is no failure of the build"
    assert cloud.leftovers(REGION) == []

    healthy.heal()
    fill(healthy, "t3.nano")
    packer = tmp_path / "bin" / "packer"
    packer.parent.mkdir()
    packer.write_text("#!/bin/sh\nexit 1\n")
    packer.chmod(0o755)
    no_packer = {"PATH": f"{packer.parent}:{fleet.environment['PATH']}", "AWS_MAX_ATTEMPTS": "1"}

    ended = fleet.reconciler("reconcile", environment=no_packer)

    assert ended.code == 0, ended
    assert ended.first.split()[:2] == ["web", "adopted"]
    (build,) = fleet.lockfile("web")["builds"]
    assert build["smoke_test"]["status"] == "passed"
    assert build["packer"]["version"], "what is known of the build is not lost with its test"
    assert fleet.git("status", "--porcelain") == ""
    found = cloud.ec2(REGION).describe_instances(
        Filters=[
            {"Name": "tag:reconciler:fleet", "Values": [fleet.name]},
            {"Name": "tag:reconciler:purpose", "Values": ["smoke-test"]},
        ]
    )
    assert [one["InstanceType"] for each in found["Reservations"] for one in each["Instances"]] == ["t3.small"]
    assert cloud.leftovers(REGION) == []
