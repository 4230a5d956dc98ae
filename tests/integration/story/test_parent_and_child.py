"""A child is built on its parent, and follows it when that is built anew; a change of its own is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]


@pytest.fixture(scope="module")
def built(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`base` and `web`, built. The tests of this module tell one story, each on what the one before left."""
    fleet = new_fleet(tmp_path_factory.mktemp("parent"), "pair")
    assert fleet.reconciler("reconcile").code == 0
    return fleet


def source(fleet: Checkout, image: str) -> str:
    """The AMI that an image's newest build was made on."""
    pin = fleet.lockfile(image)["builds"][0]["source"]
    return str(pin["artifacts"]["us-east-1"] if "artifacts" in pin else pin["ami"]["id"])


def test_the_child_sees_what_the_parents_provisioner_wrote(built: Checkout) -> None:
    assert "web found: laid by base" in built.log_of("web")
    assert source(built, "web") == built.recorded("base")["us-east-1"]


def test_the_plan_names_the_file_that_changed_and_only_that_image_is_rebuilt(built: Checkout) -> None:
    base = built.recorded("base")
    built.edit("desired/web/setup.sh", append="echo again\n")
    built.publish()

    planned = built.reconciler("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert planned.first == "1 of 2 images drifted: web (inputs-changed)"
    assert "  web  build  inputs-changed  desired/web/setup.sh" in planned.out.splitlines()
    assert "1 in sync." in planned.out

    assert built.reconciler("reconcile").code == 0
    assert built.recorded("base") == base
    assert len(built.lockfile("web")["builds"]) == 2
    assert built.reconciler("plan", "--detailed-exitcode").code == 0


def test_a_change_that_is_not_pushed_is_named_and_left_alone(built: Checkout) -> None:
    before = built.lockfiles()
    built.edit("desired/web/setup.sh", append="echo not yet pushed\n")
    built.commit("web: not yet pushed")

    ended = built.reconciler("reconcile")

    assert ended.code == 0
    assert ended.first == "2 images in sync: nothing to do."
    assert "not pushed to main, so not considered:" in ended.err
    assert "web: not yet pushed" in ended.err
    assert built.lockfiles() == before
    built.git("reset", "--quiet", "--hard", "origin/main")


def test_a_forced_image_is_rebuilt_though_nothing_changed_and_its_child_follows(built: Checkout) -> None:
    before = built.recorded("base")

    planned = built.reconciler("plan", "--force", "base")
    assert planned.first == "2 of 2 images drifted: base (forced), web (parent-rebuilt)"

    assert built.reconciler("reconcile", "--force", "base").code == 0
    assert built.recorded("base").items().isdisjoint(before.items())
    assert source(built, "web") == built.recorded("base")["us-east-1"]
