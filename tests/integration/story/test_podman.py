"""Podman as the engine, in docker's place for Packer as well, from a pull request to stable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import containers
from tests.command import Command
from tests.integration.story.conftest import Checkout, _clone
from tests.needs import refuse_without_plugin

pytestmark = [pytest.mark.packer(once=True), pytest.mark.containers, pytest.mark.long]

TEMPLATE = """\
variable "source_image" { type = string }

source "docker" "web" {
  image       = var.source_image
  commit      = true
  run_command = ["-d", "-i", "-t", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
  changes     = ["ENTRYPOINT [\\"cat\\", \\"/content\\"]", "CMD []"]
}

build {
  sources = ["source.docker.web"]
  provisioner "shell" {
    script = "${path.root}/setup.sh"
  }
}
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry on loopback, and podman, which takes it without TLS."""
    containers.refuse_without_podman()
    (tmp_path / "registry").mkdir()
    with containers.registry(tmp_path / "registry") as host, containers.podman(insecure=host) as reached:
        for name, value in reached.items():
            monkeypatch.setenv(name, value)
        yield host


def test_an_image_is_built_tested_and_adopted_by_podman(
    registry: str, packer_on_path: str, tmp_path: Path, command: Command
) -> None:
    # Given an image on one of somebody else's, and a pull request that changes it
    refuse_without_plugin("docker", packer_on_path)
    containers.docker("tag", containers.base(), f"{registry}/theirs/base:1")
    containers.docker("push", "--quiet", f"{registry}/theirs/base:1")
    fleet = declared(_clone(tmp_path, "empty", {}, command), registry)
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    fleet.git("switch", "--quiet", "--create", "newer")
    fleet.write("desired/web/setup.sh", "echo version 2 > /content\n")
    fleet.publish("Change web")

    # When it is built for it, and it is merged
    preview = fleet.reconciler("reconcile", "--preview", "--pull-request", "7")
    fleet.merge("newer")
    merged = fleet.reconciler("reconcile")

    # Then that very image is stable, and was tested in a container of podman's
    assert (preview.code, merged.code) == (0, 0), preview.err + merged.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest, _ = fleet.lockfile("web")["builds"]
    assert (newest["phase"], newest["smoke_test"]["status"]) == ("stable", "passed")
    assert "findings" not in newest["smoke_test"]
    assert newest["inventory"]["os"] == "Debian 12"
    assert newest["id"] in preview.out + preview.err
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    assert containers.docker("ps", "--all", "--quiet") == ""


def declared(checkout: Checkout, registry: str) -> Checkout:
    """The image `web`, pushed to the origin."""
    checkout.write("desired/web/web.pkr.hcl", TEMPLATE)
    checkout.write("desired/web/setup.sh", "echo version 1 > /content\n")
    source = f"source: {{oci: '{registry}/theirs/base:1'}}\nlocations: ['{registry}/acme/web']\n"
    checkout.write("desired/web/image.yaml", source)
    checkout.publish("Declare web")
    checkout.git("remote", "set-head", "origin", "main")
    return checkout
