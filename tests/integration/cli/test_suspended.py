"""A suspended image of which nothing is recorded: it is shown, and nobody is asked about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.model.errors import DONE, PARTIAL
from tests.integration.cli.conftest import Fleet

TEMPLATE = """\
variable "source_image" { type = string }
source "docker" "note" {
  image  = var.source_image
  commit = true
}
build { sources = ["source.docker.note"] }
"""
NOWHERE = "127.0.0.1:9/acme/note"
DECLARED = f"source: {{oci: '127.0.0.1:9/theirs/base:1'}}\nlocations: ['{NOWHERE}']\n"
SUSPENDED = "suspend: {reason: no registry yet}\n"


# Who is asked and does not answer is asked again, for some seconds.
@pytest.mark.parametrize("suspended", [True, pytest.param(False, marks=pytest.mark.long)])
def test_of_one_that_is_suspended_from_the_beginning_no_registry_is_asked(fleet: Fleet, *, suspended: bool) -> None:
    declared = DECLARED + (SUSPENDED if suspended else "")
    fleet.commit({"desired/note/note.pkr.hcl": TEMPLATE, "desired/note/image.yaml": declared})

    ended = fleet.run("plan", "note")
    planned = json.loads(fleet.run("plan", "note", "--json").stdout)

    assert ended.returncode == (DONE if suspended else PARTIAL), ended.stdout + ended.stderr
    (image,) = planned["images"]
    assert (image["sync"], image["health"]) == (("drifted", "suspended") if suspended else ("unknown", "unknown"))
    assert ("127.0.0.1:9" in ended.stdout) == (not suspended)
    assert ("suspended: no registry yet" in " ".join(ended.stdout.split())) == suspended


@pytest.mark.long
def test_once_the_day_has_come_the_registry_is_asked_what_day_it_has(fleet: Fleet) -> None:
    until = DECLARED + "suspend: {reason: no registry yet, until: 2020-01-01}\n"
    fleet.commit({"desired/note/note.pkr.hcl": TEMPLATE, "desired/note/image.yaml": until})

    ended = fleet.run("plan", "note")
    (image,) = json.loads(fleet.run("plan", "note", "--json").stdout)["images"]

    assert (ended.returncode, image["health"]) == (DONE, "suspended")
    assert "can't be asked, so that the image is left alone still: 127.0.0.1:9" in " ".join(image["notes"])


def test_this_repositorys_container_image_waits_for_a_registry() -> None:
    declared = (Path(__file__).parents[3] / "desired/note/image.yaml").read_text()

    assert "suspend:" in declared
