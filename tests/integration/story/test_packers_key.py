"""What Packer leaves in an image by itself fails its smoke test here as on AWS: a rehearsal shows it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer]

LINE = "  ssh_clear_authorized_keys = true\n"


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`web`, whose template clears Packer's key, and `kept` and `untested`, whose templates do not."""
    fleet = new_fleet(tmp_path_factory.mktemp("packers-key"), "alone")
    template = (fleet.path / "desired/web/web.pkr.hcl").read_text()
    for name in ("kept", "untested"):
        shutil.copytree(fleet.path / "desired/web", fleet.path / "desired" / name)
        fleet.write(f"desired/{name}/web.pkr.hcl", template.replace(LINE, ""))
    fleet.edit("desired/untested/image.yaml", append="smoke_test: { boot: false }\n")
    fleet.edit("desired/reconciler.yaml", append="limits: { parallel_builds: 3 }\n")
    fleet.publish("Declare them")
    return fleet


@pytest.fixture(scope="module")
def reconciled(fleet: Checkout) -> Ended:
    return fleet.reconciler("reconcile")


def test_a_template_that_keeps_packers_key_fails_with_the_line_that_mends_it(
    fleet: Checkout, reconciled: Ended
) -> None:
    assert reconciled.code == 3
    (failed,) = fleet.lockfile("kept")["failure"]["smoke_test"]["failed"]
    assert failed["test"] == "once-over: only the key of this test may log in"
    assert re.fullmatch(
        r"2 authorized keys left in the image: /home/admin/\.ssh/authorized_keys \((packer_[\w-]+)\),"
        r" /root/\.ssh/authorized_keys \(\1\)"
        r" \(Packer removes its own with ssh_clear_authorized_keys = true\)",
        failed["what"],
    )


def test_a_template_that_clears_it_passes(fleet: Checkout, reconciled: Ended) -> None:
    assert fleet.lockfile("web")["builds"][0]["smoke_test"]["status"] == "passed"
    assert "failure" not in fleet.lockfile("web")


def test_what_is_not_booted_may_keep_it(fleet: Checkout, reconciled: Ended) -> None:
    assert "failure" not in fleet.lockfile("untested")
    assert fleet.lockfile("untested")["builds"]


def test_validate_says_so_before_anything_is_built(fleet: Checkout) -> None:
    told = " ".join(fleet.reconciler("validate").err.split())

    assert told.count("Packer's temporary key stays in the image") == 1
