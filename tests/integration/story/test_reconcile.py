"""Reconcile builds what is declared, once; then it does nothing; then it fixes what was broken, at the least cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

IMAGES = {
    "pair": ["base", "web"],
    # Templates that know nothing of this tool: an HCL folder, JSON with user variables, one run from the root.
    "existing": ["golden", "legacy", "site"],
}


@pytest.fixture(scope="module", params=sorted(IMAGES))
def built(request: pytest.FixtureRequest, new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A fleet after its first `reconcile`."""
    fleet = new_fleet(tmp_path_factory.mktemp(request.param), request.param)
    ended = fleet.reconciler("reconcile")
    assert ended.code == 0, ended
    return fleet


@pytest.fixture
def images(request: pytest.FixtureRequest, built: Checkout) -> list[str]:
    return IMAGES[request.node.callspec.params["built"]]


@pytest.fixture
def without_packer(tmp_path: Path, built: Checkout) -> dict[str, str]:
    """An environment in which `packer` is a program that fails and tells that it ran."""
    impostor = tmp_path / "bin" / "packer"
    impostor.parent.mkdir()
    impostor.write_text(f"#!/bin/sh\ntouch {tmp_path}/packer-ran\nexit 1\n")
    impostor.chmod(0o755)
    return {"PATH": f"{impostor.parent}:{built.environment['PATH']}"}


def test_every_recorded_ami_exists_in_its_region_and_carries_its_key(
    built: Checkout, images: list[str], cloud: Cloud
) -> None:
    for image in images:
        build = built.lockfile(image)["builds"][0]
        assert [one["location"] for one in build["artifacts"]] == ["eu-west-1", "us-east-1"]
        for artifact in build["artifacts"]:
            tags = cloud.tags(artifact["location"], artifact["id"])
            assert tags["reconciler:key"] == build["key"]
            assert tags["reconciler:build"] == build["id"]
            assert tags["reconciler:image"] == image


def test_each_image_was_recorded_and_pushed_by_itself(built: Checkout, images: list[str]) -> None:
    origin = built.git("ls-remote", "origin", "main").split()[0]
    assert built.head() == origin
    assert built.git("status", "--porcelain") == ""
    subjects = built.git("log", "--format=%s").splitlines()
    tags = built.git("ls-remote", "--tags", "origin").splitlines()
    for image in images:
        build_id = built.lockfile(image)["builds"][0]["id"]
        assert subjects.count(f"{image}: build {build_id} (new)") == 1
        assert any(tag.endswith(f"refs/tags/image/{image}/{build_id}^{{}}") for tag in tags), "an annotated tag"


def test_a_second_run_builds_nothing_and_commits_nothing(
    built: Checkout, images: list[str], without_packer: dict[str, str]
) -> None:
    head, lockfiles = built.head(), built.lockfiles()

    again = built.reconciler("reconcile", environment=without_packer)

    assert again.code == 0
    assert again.first == f"{len(images)} images in sync: nothing to do."
    assert (built.head(), built.lockfiles()) == (head, lockfiles)
    assert built.git("ls-remote", "origin", "main").split()[0] == head


def test_a_deleted_ami_is_copied_back_from_the_other_region_without_packer(
    built: Checkout, images: list[str], cloud: Cloud, without_packer: dict[str, str], tmp_path: Path
) -> None:
    image = images[0]
    before = built.recorded(image)
    cloud.ec2("eu-west-1").deregister_image(ImageId=before["eu-west-1"])

    planned = built.reconciler("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert planned.first == f"1 of {len(images)} images drifted: {image} (region-missing)"
    assert f"eu-west-1 {before['eu-west-1']}" in planned.out

    ended = built.reconciler("reconcile", environment=without_packer)

    assert ended.code == 0, ended
    assert not (tmp_path / "packer-ran").exists()
    after = built.recorded(image)
    assert after["us-east-1"] == before["us-east-1"]
    assert after["eu-west-1"] != before["eu-west-1"]
    key = built.lockfile(image)["builds"][0]["key"]
    assert cloud.tags("eu-west-1", after["eu-west-1"])["reconciler:key"] == key
    assert cloud.complete("eu-west-1", fleet=built.name, key=key) == [after["eu-west-1"]]
    assert built.reconciler("plan", "--detailed-exitcode").code == 0


def test_an_ami_that_is_gone_everywhere_is_built_again(built: Checkout, images: list[str], cloud: Cloud) -> None:
    image = images[-1]
    for region, ami in built.recorded(image).items():
        cloud.ec2(region).deregister_image(ImageId=ami)

    ended = built.reconciler("reconcile")

    assert ended.code == 0, ended
    assert built.lockfile(image)["builds"][0]["reasons"][0]["code"] == "artifact-missing"
    for region, ami in built.recorded(image).items():
        assert cloud.tags(region, ami)["reconciler:build"] == built.lockfile(image)["builds"][0]["id"]
    assert built.reconciler("plan", "--detailed-exitcode").code == 0
