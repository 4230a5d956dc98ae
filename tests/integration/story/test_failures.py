"""What fails is told, recorded and bounded: other images go on, and no secret gets out."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer]

BROKEN_SETUP = """#!/bin/sh
echo "installing nginx-fulll"
echo "token: ${API_TOKEN}"
echo "key: ${CLOUD_KEY}"
echo "E: Unable to locate package nginx-fulll" >&2
exit 100
"""
SECRETIVE = """
variable "api_token" {
  type      = string
  sensitive = true
}

variable "cloud_key" {
  type    = string
  default = env("AWS_SECRET_ACCESS_KEY")
}
"""


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    """Secrets in the environment of a run: a sensitive variable's value, and AWS's own key."""
    return {
        "PKR_VAR_api_token": f"tok-{secrets.token_hex(12)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
    }


@pytest.fixture(scope="module")
def fleet(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """`base` fails in its provisioner, printing secrets; `web` is built on it; `alone` on nobody."""
    fleet = new_fleet(tmp_path_factory.mktemp("failing"), "pair")
    template = (fleet.path / "desired/base/base.pkr.hcl").read_text()
    fleet.write("desired/alone/alone.pkr.hcl", template)
    fleet.write("desired/alone/setup.sh", "#!/bin/sh\ntrue\n")
    provisioner = '    environment_vars = ["API_TOKEN=${var.api_token}", "CLOUD_KEY=${var.cloud_key}"]\n'
    broken = template.replace("    script =", provisioner + "    script =")
    fleet.write("desired/base/base.pkr.hcl", SECRETIVE + broken)
    fleet.write("desired/base/setup.sh", BROKEN_SETUP)
    fleet.write("desired/alone/image.yaml", (fleet.path / "desired/base/image.yaml").read_text())
    fleet.publish("Break base")
    return fleet


@pytest.fixture(scope="module")
def failed(fleet: Checkout, planted: dict[str, str]) -> Ended:
    """The run in which `base` fails."""
    return fleet.reconciler("reconcile", environment=planted)


def without_times(text: str) -> str:
    return re.sub(r"(?m)^\d\d:\d\d:\d\d ", "", text)


def test_a_failing_provisioner_is_told_with_its_script_its_last_lines_and_what_comes_next(
    fleet: Checkout, failed: Ended
) -> None:
    failure = fleet.lockfile("base")["failure"]
    told = [line for line in without_times(failed.err).splitlines() if line.startswith("base:")]
    start = next(place for place, line in enumerate(told) if "build failed" in line)
    end = next(place for place, line in enumerate(told) if "nothing was changed" in line)
    assert re.fullmatch(r'base: build failed in provisioner "shell" \(desired/base/setup\.sh\), 0:\d\d in', told[start])
    assert told[start + 1] == "base:   last lines of the build:"
    # Packer reads a script's stdout and stderr from two pipes: their order is chance.
    assert set(told[start + 2 : end]) >= {
        "base:     installing nginx-fulll",
        "base:     token: <redacted>",
        "base:     key: <redacted>",
        "base:     E: Unable to locate package nginx-fulll",
    }
    again = f"next try not before {failure['retry_after']}, or at once when desired/base/ changes"
    assert told[end : end + 2] == ["base:   nothing was changed", f"base:   {again}, or with `--force base`"]
    assert told[end + 2].endswith(f".reconciler/logs/base-{failure['build']}.log")


def test_other_images_go_on_and_children_are_skipped(fleet: Checkout, failed: Ended) -> None:
    assert failed.code == 3
    rows = [line.split()[:2] for line in failed.out.splitlines() if not line.startswith((" ", "Recorded"))]
    assert rows == [["alone", "built"], ["base", "failed"], ["web", "skipped"]]
    assert "web: skipped: its parent base failed" in without_times(failed.err)
    assert sorted(fleet.lockfiles()) == ["alone.lock.json", "base.lock.json"]


def test_a_failure_is_recorded_and_left_alone_until_something_changes(
    fleet: Checkout, failed: Ended, planted: dict[str, str]
) -> None:
    failure = fleet.lockfile("base")["failure"]
    assert failure["attempts"] == 1
    tag = fleet.git("for-each-ref", "--format=%(contents)", f"refs/tags/image/base/{failure['build']}")
    assert "status: failed" in tag

    head = fleet.head()
    again = fleet.reconciler("reconcile", environment=planted)
    assert fleet.head() == head, again
    assert len(list((fleet.path / ".reconciler" / "logs").glob("base-*"))) == 1
    assert "next try not before" in fleet.reconciler("plan").out.replace("\n", " ")


def test_planted_secrets_are_in_no_file_no_object_no_tag_and_no_output(
    fleet: Checkout, failed: Ended, planted: dict[str, str], cloud: Cloud
) -> None:
    assert "token: <redacted>" in fleet.log_of("base"), "it was printed"
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=fleet.path, capture_output=True, check=True
    ).stdout
    files = {str(path): path.read_bytes() for path in fleet.path.rglob("*") if path.is_file()}
    tags = [str(image.get("Tags")) for image in cloud.ec2("us-east-1").describe_images(Owners=["self"])["Images"]]
    places = {"output": (failed.out + failed.err).encode(), "git": objects, "tags": str(tags).encode(), **files}
    found = [
        (name, place) for name, secret in planted.items() for place, what in places.items() if secret.encode() in what
    ]
    assert found == []


def test_fixed_the_fleet_converges(fleet: Checkout, failed: Ended, planted: dict[str, str]) -> None:
    fleet.write("desired/base/setup.sh", "#!/bin/sh\necho laid by base | sudo tee /etc/foundation\n")
    fleet.publish("Fix base")

    ended = fleet.reconciler("reconcile", environment=planted)

    assert ended.code == 0, ended
    assert "failure" not in fleet.lockfile("base")
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def test_a_program_that_is_not_here_is_told_before_anything_is_started_and_is_no_failure(
    new_fleet: NewFleet, cloud: Cloud, tmp_path: Path
) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.write("desired/web/site.yml", "- hosts: all\n")
    template = fleet.path / "desired/web/web.pkr.hcl"
    ansible = '  provisioner "ansible" {\n    playbook_file = "${path.root}/site.yml"\n'
    galaxy = '    command = "no-such-playbook"\n  }\n'
    template.write_text(template.read_text().replace("  provisioner", f"{ansible}{galaxy}  provisioner", 1))
    fleet.publish("Provision web with Ansible")

    checked = fleet.reconciler("doctor")
    ended = fleet.reconciler("reconcile")

    assert checked.code == 1
    assert "trouble  programs: no-such-playbook not on PATH, and templates need it" in checked.out
    assert ended.code == 3
    assert 'no-such-playbook is not on this machine, and provisioner "ansible" needs it' in ended.err
    assert sorted(fleet.lockfiles()) == ["base.lock.json"], "base is built, and nothing is recorded of web"
    assert fleet.git("tag", "--list", "image/web/*") == ""
    assert fleet.reconciler("plan").first.startswith("1 of 2 images drifted: web (new)")


def test_a_copy_that_fails_leaves_the_other_regions_recorded_and_is_made_by_the_next_run(
    new_fleet: NewFleet, healthy: Sandbox, tmp_path: Path
) -> None:
    fleet = new_fleet(tmp_path, "pair")
    fleet.git("rm", "-r", "--quiet", "desired/web")
    fleet.edit("desired/base/image.yaml", append="regions: [us-east-1, eu-west-1, us-west-2]\n")
    fleet.publish("base alone, in three regions")
    healthy.inject(action="CopyImage", region="eu-west-1", code="ResourceLimitExceeded")

    ended = fleet.reconciler("reconcile")

    assert ended.code == 3
    assert "base: no copy in eu-west-1: " in ended.err
    assert "ResourceLimitExceeded" in ended.err
    first = fleet.recorded("base")
    assert sorted(first) == ["us-east-1", "us-west-2"]
    assert fleet.reconciler("plan").first == "1 of 1 image drifted: base (region-missing)"

    assert fleet.reconciler("reconcile").code == 0
    assert fleet.recorded("base").items() > first.items()
    assert sorted(fleet.recorded("base")) == ["eu-west-1", "us-east-1", "us-west-2"]
    assert len(fleet.lockfile("base")["builds"]) == 1


def test_a_region_that_cannot_be_read_is_unknown_and_nothing_is_done_about_it(
    fleet: Checkout, failed: Ended, healthy: Sandbox
) -> None:
    # AWS_MAX_ATTEMPTS: eight tries with growing pauses are not what is told here.
    healthy.inject(action="DescribeImages", region="eu-west-1", code="RequestLimitExceeded", times=1000)
    before = fleet.head()

    planned = fleet.reconciler("plan", environment={"AWS_MAX_ATTEMPTS": "2"})
    assert planned.code == 3
    assert "unknown" in planned.first
    assert "eu-west-1: RequestLimitExceeded after" in planned.out.replace("\n", " ")

    healthy.heal()
    healthy.inject(action="DescribeImages", region="eu-west-1", code="UnauthorizedOperation", times=1000)
    ended = fleet.reconciler("reconcile")
    assert ended.code == 3
    assert fleet.head() == before


def test_what_a_later_packer_may_know_is_said_at_the_terminal(
    new_fleet: NewFleet, tmp_path: Path, packer_on_path: str
) -> None:
    fleet = new_fleet(tmp_path, "pair")
    template = (fleet.path / "desired/base/base.pkr.hcl").read_text()
    fleet.write("desired/base/base.pkr.hcl", template.replace("  region ", "  not_known_yet = true\n  region ", 1))
    fleet.publish("Ask for what is to come")

    ended = fleet.reconciler("reconcile", "base")

    told = " ".join(line.removeprefix("base:").strip() for line in without_times(ended.err).splitlines())
    assert "not_known_yet" in told
    later = f"is {packer_on_path}: if a later one knows that, 1.16.0 or later, in this shell: `eval "
    assert (later in told) == ("and then the next run tries it at once" in told) == (packer_on_path[:4] != "1.16")
    failure = fleet.lockfile("base")["failure"]
    assert (failure["attempts"], ended.code) == (1, 3)
    assert failure.get("refused_by", []) == ([] if packer_on_path[:4] == "1.16" else [packer_on_path])
