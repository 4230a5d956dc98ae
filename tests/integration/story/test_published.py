"""What is stable is found in SSM by whoever looks there: after a build, a hand's change, and the line's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.story.conftest import Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGIONS = ("eu-west-1", "us-east-1")


def found(cloud: Cloud, name: str) -> dict[str, tuple[str, str]]:
    """What SSM has under a name, by region: the value and its data type."""
    answers = {region: cloud.client("ssm", region).get_parameters(Names=[name])["Parameters"] for region in REGIONS}
    return {region: (one["Value"], one["DataType"]) for region, some in answers.items() for one in some}


def test_consumers_find_what_is_stable_until_the_line_is_taken_away(
    new_fleet: NewFleet, cloud: Cloud, tmp_path: Path
) -> None:
    fleet = new_fleet(tmp_path, "alone")
    name = f"/images/{fleet.name}/stable"
    fleet.edit("desired/web/image.yaml", append=f'publish: {{ssm: "/images/{fleet.name}/{{channel}}"}}\n')
    fleet.publish("Publish web")

    built = fleet.reconciler("reconcile")
    assert built.code == 0, built
    stable = fleet.recorded("web")
    assert found(cloud, name) == {region: (stable[region], "aws:ec2:image") for region in REGIONS}
    assert f"us-east-1 {name}" in built.out + built.err
    assert "in sync" in fleet.reconciler("plan").first
    assert "publish: 4 of 4 parameters are there" in fleet.reconciler("doctor").out

    other = fleet.lockfile("web")["source"]["pinned"]["ami"]["id"]
    cloud.client("ssm", "us-east-1").put_parameter(Name=name, Value=other, DataType="aws:ec2:image", Overwrite=True)
    for _ in range(2):
        found(cloud, name)
    planned = fleet.reconciler("plan")
    assert planned.first == "1 of 1 image drifted: web (publication-changed)"
    head = fleet.head()
    healed = fleet.reconciler("reconcile")
    assert (healed.code, fleet.head()) == (0, head), healed
    assert found(cloud, name)["us-east-1"] == (stable["us-east-1"], "aws:ec2:image")

    fleet.write("desired/web/image.yaml", (fleet.path / "desired/web/image.yaml").read_text().partition("publish:")[0])
    fleet.publish("Publish web no more")
    ended = fleet.reconciler("reconcile")
    assert (ended.code, found(cloud, name)) == (0, {}), ended
    assert "published" not in fleet.lockfile("web")
