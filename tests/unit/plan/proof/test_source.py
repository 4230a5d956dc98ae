"""What is proven of a source: never that a build stands on one that is not where it was built."""

from __future__ import annotations

import pytest

from reconciler.model.lockfile import Artifact, Build, PackerVersions
from reconciler.model.source import Pin
from reconciler.model.verification import Finding
from reconciler.plan.proof.evidence import Parent
from reconciler.plan.proof.verification import judge_source
from reconciler.registries.ec2.dialect import AMI

US, EU = "us-east-1", "eu-west-1"
UPSTREAM = AMI.pin(EU, "ami-0abc", name="debian-12")
PARENT = Pin(image="base", build="20261122T101530Z-1a2b3c4", key="sha256:1", artifacts={EU: "ami-0def"})


def a_build(source: Pin, *regions: str) -> Build:
    artifacts = tuple(
        Artifact(kind="ami", builder="amazon-ebs.web", location=one, id=f"ami-{number}")
        for number, one in enumerate(regions)
    )
    return Build(
        id="20261122T101530Z-1a2b3c4", key="sha256:2", components={"source": "sha256:3"}, commit="9c0d1e2",
        source=source, artifacts=artifacts, phase="stable", packer=PackerVersions(version="1.16.0"),
    )  # fmt: skip


def judged(build: Build, first: Build | None = None) -> Finding:
    (found,) = judge_source(build, Parent(), first=first, record_is="ours")
    return found


@pytest.mark.parametrize("source", [UPSTREAM, PARENT], ids=["upstream", "parent"])
def test_what_came_out_in_another_region_is_not_proven_to_stand_on_a_source_of_this_one(source: Pin) -> None:
    found = judged(a_build(source, US))
    assert found.outcome == "not proven"
    assert "it was recorded in us-east-1 alone, where that source is not" in found.what


def test_what_was_copied_on_is_judged_by_where_it_was_built() -> None:
    assert judged(a_build(UPSTREAM, EU, US)).outcome == "proven"
    assert judged(a_build(UPSTREAM, US), first=a_build(UPSTREAM, EU, US)).outcome == "proven"
