"""What Packer leaves in an image by itself is a finding, here as on AWS, and nobody else's key passes for it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer]

LINE = "  ssh_clear_authorized_keys = true\n"
TIDY = "#!/bin/sh -e\nsudo cloud-init clean --logs\n"
# A provisioner that gives a key of its own the very comment that Packer's has, once beside it and once in its place.
BESIDE = f"""{TIDY}\
comment=$(sed -n 's/.* //p' "$HOME/.ssh/authorized_keys")
ssh-keygen -q -t ed25519 -N "" -C "$comment" -f /tmp/mine
cat /tmp/mine.pub >> "$HOME/.ssh/authorized_keys"
"""
INSTEAD = BESIDE.replace(">>", ">")
LEFT = "Packer's temporary key stays in /home/admin/.ssh/authorized_keys, /root/.ssh/authorized_keys"


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`web`, whose template clears Packer's key, and others whose templates do not."""
    fleet = new_fleet(tmp_path_factory.mktemp("packers-key"), "alone")
    fleet.write("desired/web/setup.sh", TIDY)
    template = (fleet.path / "desired/web/web.pkr.hcl").read_text()
    for name in ("kept", "child", "strict", "beside", "instead", "untested"):
        shutil.copytree(fleet.path / "desired/web", fleet.path / "desired" / name)
        fleet.write(f"desired/{name}/web.pkr.hcl", template.replace(LINE, ""))
    fleet.write("desired/child/image.yaml", "source: { image: kept }\n")
    fleet.edit("desired/strict/image.yaml", append="smoke_test: { hygiene: fail }\n")
    fleet.edit("desired/untested/image.yaml", append="smoke_test: { boot: false }\n")
    fleet.write("desired/beside/setup.sh", BESIDE)
    fleet.write("desired/instead/setup.sh", INSTEAD)
    fleet.edit("desired/reconciler.yaml", append="limits: { parallel_builds: 3 }\n")
    fleet.publish("Declare them")
    return fleet


@pytest.fixture(scope="module")
def reconciled(fleet: Checkout) -> Ended:
    return fleet.reconciler("reconcile")


def smoke_test(fleet: Checkout, image: str) -> Any:
    return fleet.lockfile(image)["builds"][0]["smoke_test"]


def why(fleet: Checkout, image: str) -> str:
    (failed,) = fleet.lockfile(image)["failure"]["smoke_test"]["failed"]
    return str(failed["what"])


def test_a_template_that_keeps_packers_key_passes_with_a_finding(fleet: Checkout, reconciled: Ended) -> None:
    found = smoke_test(fleet, "kept")
    assert found["status"] == "passed"
    (finding,) = found["findings"]
    assert (finding["code"], finding["text"]) == ("packer-key", LEFT)
    assert re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", *finding["keys"])
    row = reconciled.out.replace("\n  ", " ")
    assert re.search(r"kept +built .* passed, 1 finding", row)
    assert "add `ssh_clear_authorized_keys = true` to the source in the template" in " ".join(row.split())


def test_a_child_may_hold_its_parents_too(fleet: Checkout, reconciled: Ended) -> None:
    (of_parent,), (of_child,) = smoke_test(fleet, "kept")["findings"], smoke_test(fleet, "child")["findings"]
    assert set(of_parent["keys"]) < set(of_child["keys"])
    assert len(of_child["keys"]) == 2


def test_where_hygiene_is_asked_for_it_fails_with_the_line_that_helps(fleet: Checkout, reconciled: Ended) -> None:
    assert reconciled.code == 3
    assert why(fleet, "strict").startswith(f"{LEFT} (add `ssh_clear_authorized_keys = true`")


@pytest.mark.parametrize("image", ["beside", "instead"])
def test_another_key_with_the_same_comment_is_refused(fleet: Checkout, reconciled: Ended, image: str) -> None:
    assert re.fullmatch(
        r"1 authorized key left in the image: /home/admin/\.ssh/authorized_keys \(packer_[\w-]+\) \(that name is"
        r" Packer's, but it is not the key that EC2 made for this build\)",
        why(fleet, image),
    )


def test_a_template_that_clears_it_has_no_finding(fleet: Checkout, reconciled: Ended) -> None:
    assert smoke_test(fleet, "web").keys() == {"status", "tests", "seconds", "suite"}
    assert "failure" not in fleet.lockfile("web")


def test_what_is_not_booted_may_keep_it(fleet: Checkout, reconciled: Ended) -> None:
    assert "failure" not in fleet.lockfile("untested")
    assert fleet.lockfile("untested")["builds"]


def test_what_was_found_is_told_wherever_the_image_is(fleet: Checkout, reconciled: Ended) -> None:
    assert f"finding: {LEFT}" in " ".join(fleet.reconciler("status").out.split())
    assert "1 finding: packer-key" in " ".join(fleet.reconciler("history", "kept").out.split())
    assert "kept (packer-key)" in " ".join(fleet.reconciler("plan", "--offline").out.split())
    assert f"Finding: {LEFT}." in fleet.git("log", "-1", "--format=%b", "--", "state/kept.lock.json")
    assert "passed, 1 finding" in " ".join(fleet.reconciler("verify", "kept").out.split())
    standing = {one["image"]: one for one in fleet.reconciler("status", "--json").json["images"]}
    assert [one["code"] for one in standing["kept"]["findings"]] == ["packer-key"]
    assert standing["web"]["findings"] == []


def test_validate_says_so_before_anything_is_built(fleet: Checkout) -> None:
    told = " ".join(fleet.reconciler("validate").err.split())

    assert told.count("a finding of its smoke test, which stops nothing") == 1
    assert told.count("then the smoke test fails, as smoke_test.hygiene says") == 1
