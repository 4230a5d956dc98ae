"""What does not pass its smoke test stays out of every channel, and people read why where they look for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.pull_request.hub import GitHub, serving

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGION = "us-east-1"
SUITE = """\
def test_the_lamp_is_lit(host):
    assert host.file("/etc/lamp").content_string == "lit\\n", "the lamp is out"
"""
LIT = "#!/bin/sh -e\necho lit | sudo tee /etc/lamp\n"
OUT = "#!/bin/sh -e\necho out | sudo tee /etc/lamp\n"
ASSERTION = "desired/web/smoke/test_lamp.py::test_the_lamp_is_lit: the lamp is out"


@dataclass(frozen=True)
class Pull:
    """A pull request's job that ended, and what it showed."""

    ended: Ended
    comment: str
    status: tuple[str, str]


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serving() as hub:
        yield hub


@pytest.fixture(scope="module")
def built(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory, github: GitHub) -> Checkout:
    """`web` with a suite that passes, in both channels."""
    fleet = new_fleet(tmp_path_factory.mktemp("rejected"), "alone")
    told = {"RECONCILER_GITHUB_TOKEN": "a-token", "GITHUB_API_URL": github.url, "NO_PROXY": "127.0.0.1"}
    fleet = replace(fleet, environment={**fleet.environment, **told})
    github.repository = fleet.name
    fleet.edit("desired/reconciler.yaml", append="announce: { github: {} }\n")
    fleet.edit("desired/web/image.yaml", append="smoke_test: { suite: smoke/ }\n")
    fleet.write("desired/web/smoke/test_lamp.py", SUITE)
    fleet.write("desired/web/setup.sh", LIT)
    fleet.publish("Light web")
    ended = fleet.reconciler("reconcile")
    assert ended.code == 0, ended
    return fleet


@pytest.fixture(scope="module")
def previewed(built: Checkout, github: GitHub) -> Pull:
    """A pull request whose build does not pass."""
    built.git("switch", "--quiet", "--create", "darken")
    built.write("desired/web/setup.sh", OUT)
    built.publish("Put the lamp out")
    ended = built.reconciler("reconcile", "--preview", "--pull-request", "7")
    (comment,) = github.comments
    return Pull(ended, comment["body"], github.latest()["reconciler/web"])


@pytest.fixture(scope="module")
def merged(built: Checkout, previewed: Pull) -> Ended:
    """Somebody merges it all the same, and main is reconciled."""
    built.git("switch", "--quiet", "main")
    built.git("merge", "--quiet", "--ff-only", "darken")
    built.git("push", "--quiet", "origin", "main")
    return built.reconciler("reconcile")


def good(fleet: Checkout) -> str:
    """The build that passed."""
    return str(fleet.lockfile("web")["builds"][0]["id"])


def amis(fleet: Checkout, cloud: Cloud) -> dict[str, list[str]]:
    """The ids of the fleet's AMIs in the region of the builds, by phase."""
    found: dict[str, list[str]] = {}
    for image in cloud.ec2(REGION).describe_images(Owners=["self"])["Images"]:
        tags = {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])}
        if tags.get("reconciler:fleet") == fleet.name:
            found.setdefault(f"{tags['reconciler:phase']}, {tags['reconciler:smoke']}", []).append(image["ImageId"])
    return found


def test_a_pull_request_shows_the_assertion_and_its_ami_is_rejected(
    built: Checkout, previewed: Pull, cloud: Cloud
) -> None:
    assert previewed.ended.code == 3
    (row,) = [line for line in previewed.comment.splitlines() if line.startswith("| **web** |")]
    assert "| rejected | failed<br>" in row
    assert ASSERTION in row
    assert previewed.status == ("failure", f"smoke test failed: {ASSERTION}")
    assert f"smoke test failed: {ASSERTION}" in previewed.ended.err
    assert "E   AssertionError: the lamp is out" in previewed.comment, "the last lines of the test"
    built.git("fetch", "--quiet", "origin")
    assert built.git("diff", "--name-only", "origin/main", "--", "state") == ""
    assert [len(ids) for ids in amis(built, cloud).values()] == [1, 1]
    assert "rejected, failed" in amis(built, cloud)


def test_on_main_nothing_moves_and_the_failure_is_recorded(built: Checkout, merged: Ended, cloud: Cloud) -> None:
    assert merged.code == 3, merged
    lock = built.lockfile("web")
    assert lock["channels"] == {"candidate": good(built), "stable": good(built)}
    assert len(lock["builds"]) == 1
    assert lock["builds"][0]["smoke_test"]["status"] == "passed"
    (failed,) = lock["failure"]["smoke_test"]["failed"]
    assert f"{failed['test']}: {failed['what']}" == ASSERTION
    assert built.git("log", "-1", "--format=%s") == f"web: build {lock['failure']['build']} failed"
    tag = built.git("for-each-ref", "--format=%(contents)", f"refs/tags/image/web/{lock['failure']['build']}")
    assert "status: failed" in tag
    assert ASSERTION in tag
    found = amis(built, cloud)
    assert len(found["stable, passed"]) == 1
    assert lock["failure"]["artifacts"][0]["id"] in found["rejected, failed"]
    assert cloud.leftovers(REGION) == []


def test_status_says_what_did_not_pass_without_aws(built: Checkout, merged: Ended) -> None:
    without_aws = {"HTTPS_PROXY": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    (row,) = built.reconciler("status", "--json", environment=without_aws).json["images"]
    assert (row["stable"], row["health"]) == (good(built), "degraded")
    assert row["why"].endswith(f"failed, attempt 1: smoke test failed: {ASSERTION}")
    shown = built.reconciler("status", environment=without_aws).out
    assert "the lamp is out" in " ".join(shown.split())


def test_it_rests_and_a_second_run_records_nothing(built: Checkout, merged: Ended) -> None:
    head = built.head()
    again = built.reconciler("reconcile")
    assert again.code == 3
    assert built.head() == head
    assert "next try not before" in " ".join(built.reconciler("plan").out.split())


def test_fixed_it_passes_and_moves_the_channels(built: Checkout, merged: Ended) -> None:
    before = good(built)
    built.write("desired/web/setup.sh", f"{LIT}# relit\n")
    built.publish("Light the lamp again")
    ended = built.reconciler("reconcile")
    assert ended.code == 0, ended
    lock = built.lockfile("web")
    assert "failure" not in lock
    assert lock["channels"] == {"candidate": good(built), "stable": good(built)}
    assert good(built) != before
    assert built.reconciler("plan", "--detailed-exitcode").code == 0
