"""The scheduled refresh: it moves channels when upstream brought something, and else says that nothing had to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox
from tests.integration.story.debs import installing

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef

    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGION = "us-east-1"
SAME = "debian-12-amd64-20261115-0900"
NEWER = "debian-12-amd64-20261118-0900"


@pytest.fixture(scope="module")
def built(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`base`, and `web` on it, built. The tests of this module tell one story, each on what the one before left."""
    fleet = new_fleet(tmp_path_factory.mktemp("refresh"), "pair")
    assert fleet.reconciler("reconcile").code == 0
    return fleet


def source(fleet: Checkout, image: str) -> str:
    """The AMI that an image's newest build was made on."""
    pin = fleet.lockfile(image)["builds"][0]["source"]
    return str(pin["artifacts"][REGION] if "artifacts" in pin else pin["ami"]["id"])


def channels(fleet: Checkout) -> dict[str, dict[str, str]]:
    return {image: fleet.lockfile(image)["channels"] for image in ("base", "web")}


def ours(fleet: Checkout, cloud: Cloud) -> set[str]:
    """The fleet's AMIs in the region where it is built."""
    own: FilterTypeDef = {"Name": "tag:reconciler:fleet", "Values": [fleet.name]}
    found = cloud.ec2(REGION).describe_images(Owners=["self"], Filters=[own])["Images"]
    return {image["ImageId"] for image in found}


def test_a_newer_upstream_that_holds_nothing_new_leaves_the_channels_alone(
    built: Checkout, sandbox: Sandbox, cloud: Cloud
) -> None:
    before, amis, head = channels(built), ours(built, cloud), built.head()
    newer = sandbox.publish(SAME)[REGION]
    assert built.reconciler("plan", "--detailed-exitcode").code == 0, "a lockfile is a lock"

    ended = built.reconciler("reconcile", "--refresh")

    assert ended.code == 0, ended
    assert [line.split()[:2] for line in ended.out.splitlines()[:1]] == [["base", "unchanged"]]
    assert (channels(built), ours(built, cloud)) == (before, amis), "what was built in vain is retired"
    kept = before["base"]["stable"]
    assert built.git("log", "--format=%s", f"{head}..") == f"base: {kept} verified current (source-changed)"
    verified = built.lockfile("base")["builds"][0]["verified"]
    assert verified["source"]["ami"]["id"] == newer
    tag = built.git("for-each-ref", "--format=%(contents)", f"refs/tags/image/base/{verified['build']}")
    assert "status: unchanged" in tag
    assert cloud.leftovers(REGION) == []


def test_the_next_refresh_builds_nothing_and_commits_nothing(built: Checkout, sandbox: Sandbox) -> None:
    head = built.head()
    sandbox.forget_calls()

    ended = built.reconciler("reconcile", "--refresh")

    assert (ended.code, ended.first) == (0, "2 images in sync: nothing to do.")
    assert built.head() == head
    assert "RunInstances" not in {action for _, action, _ in sandbox.calls()}


def test_a_newer_upstream_with_a_newer_package_moves_them(built: Checkout, sandbox: Sandbox) -> None:
    before, old = channels(built), source(built, "base")
    base, web = built.recorded("base"), built.recorded("web")
    newer = sandbox.publish(NEWER, run=installing({"lamp": "1.0-1"}))[REGION]

    planned = built.reconciler("plan", "--refresh", "--detailed-exitcode")
    assert planned.code == 2
    assert planned.first == "2 of 2 images drifted: base (source-changed), web (parent-rebuilt)"
    assert {old, newer, NEWER} <= set(planned.out.replace("→", " ").split())
    assert "waits for base" in planned.out
    assert built.reconciler("plan", "--detailed-exitcode").code == 0, "a lockfile is a lock"

    ended = built.reconciler("reconcile", "--refresh")

    assert ended.code == 0, ended
    assert source(built, "base") == newer
    for image, amis in (("base", base), ("web", web)):
        build = built.lockfile(image)["builds"][0]["id"]
        assert channels(built)[image] == {"candidate": build, "stable": build}
        assert build != before[image]["stable"]
        assert built.recorded(image).items().isdisjoint(amis.items())
        assert built.reconciler("diff", image).first.startswith(f"{image}: +lamp 1.0-1 (")
        (body,) = built.git("log", "--format=%b%x00", "--grep", f"^{image}: build {build}").split("\0")[:-1]
        assert "added lamp 1.0-1" in body.splitlines()
    assert source(built, "web") == built.recorded("base")[REGION]
    assert built.reconciler("plan", "--refresh", "--detailed-exitcode").code == 0
