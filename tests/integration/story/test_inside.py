"""A pull request changes what is inside an image: everybody reads what, and the merge boots nothing again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from reconciler.cli.test import TestAnswer
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.sandbox.handle import Sandbox
from tests.integration.pull_request.hub import GitHub, serving
from tests.integration.story.debs import provisioner

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

REGION = "us-east-1"
ON_GITHUB = "announce: { github: {} }\n"
WITHOUT_AWS = {"HTTPS_PROXY": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@dataclass(frozen=True)
class Pull:
    """A pull request that was previewed, and then merged. `starts` counts the instances that the merge's run began."""

    head: str
    comment: str
    build: dict[str, Any]
    merged: Ended
    starts: int
    subject: str
    body: str


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serving() as hub:
        yield hub


@pytest.fixture(scope="module")
def built(new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory, github: GitHub) -> Checkout:
    """`web`, with two packages of its own, built on main."""
    fleet = new_fleet(tmp_path_factory.mktemp("inside"), "alone")
    told = {"RECONCILER_GITHUB_TOKEN": "a-token", "GITHUB_API_URL": github.url, "NO_PROXY": "127.0.0.1"}
    fleet = replace(fleet, environment={**fleet.environment, **told})
    github.repository = fleet.name
    fleet.edit("desired/reconciler.yaml", append=ON_GITHUB)
    fleet.write("desired/web/setup.sh", provisioner({"lamp": "1.0-1", "moss": "2.3"}))
    fleet.publish("Furnish web")
    ended = fleet.reconciler("reconcile")
    assert ended.code == 0, ended
    return fleet


def pull_request(fleet: Checkout, github: GitHub, sandbox: Sandbox, *, setup: str, number: int) -> Pull:
    """Preview a branch that changes the provisioner, squash it into main, and reconcile."""
    fleet.git("switch", "--quiet", "--create", f"change-{number}")
    fleet.write("desired/web/setup.sh", setup)
    fleet.publish("Change web")
    head = fleet.head()
    github.comments.clear()
    previewed = fleet.reconciler("reconcile", "--preview", "--json", "--pull-request", str(number))
    assert previewed.code == 0, previewed
    (comment,) = github.comments

    fleet.git("switch", "--quiet", "main")
    fleet.git("merge", "--quiet", "--squash", f"change-{number}")
    fleet.publish(f"Change web (#{number})")
    sandbox.forget_calls()
    merged = fleet.reconciler("reconcile")
    starts = sum(count for (_, action, _), count in sandbox.calls().items() if action == "RunInstances")
    return Pull(
        head=head,
        comment=comment["body"],
        build=previewed.json["results"][0]["build"],
        merged=merged,
        starts=starts,
        subject=fleet.git("log", "-1", "--format=%s"),
        body=fleet.git("log", "-1", "--format=%b"),
    )


@pytest.fixture(scope="module")
def installed(built: Checkout, github: GitHub, sandbox: Sandbox) -> Pull:
    """A pull request that installs one package and upgrades another."""
    setup = provisioner({"lamp": "1.2-1", "moss": "2.3", "fern": "0.9-4"})
    return pull_request(built, github, sandbox, setup=setup, number=7)


@pytest.fixture(scope="module")
def removed(built: Checkout, installed: Pull, github: GitHub, sandbox: Sandbox) -> Pull:
    """And another, which removes one."""
    setup = provisioner({"lamp": "1.2-1", "fern": "0.9-4"})
    return pull_request(built, github, sandbox, setup=setup, number=8)


def test_the_comment_names_each_package_with_its_versions(installed: Pull, removed: Pull) -> None:
    (row,) = [line for line in installed.comment.splitlines() if line.startswith("| **web** |")]
    *_, test, difference = (cell.strip() for cell in row.strip("|").split("|"))
    assert " passed" in test
    assert difference == "lamp 1.0-1 → 1.2-1, +fern 0.9-4"
    rows = installed.comment.splitlines()
    assert "| added | `fern` |  | `0.9-4` |" in rows
    assert "| upgraded | `lamp` | `1.0-1` | `1.2-1` |" in rows
    assert " | -moss 2.3 |" in removed.comment


def test_the_merge_boots_nothing_and_promotes_the_very_ami_that_was_tested(
    built: Checkout, cloud: Cloud, installed: Pull
) -> None:
    assert installed.merged.code == 0, installed.merged
    assert installed.starts == 0
    recorded = next(one for one in built.lockfile("web")["builds"] if one["id"] == installed.build["id"])
    tested = installed.build["artifacts"][0]["id"]
    amis = {one["location"]: one["id"] for one in recorded["artifacts"]}
    assert amis[REGION] == tested
    assert sorted(amis) == ["eu-west-1", REGION]
    shown = installed.build["smoke_test"]
    recorded_test, shown_test = (SmokeTestResult.model_validate(one) for one in (recorded["smoke_test"], shown))
    assert recorded_test == shown_test
    assert recorded["smoke_test"]["status"] == "passed"
    for region, ami in amis.items():
        assert cloud.tags(region, ami)["reconciler:smoke"] == "passed"


def test_the_state_commit_and_the_annotated_tag_say_what_changed(built: Checkout, installed: Pull) -> None:
    build = installed.build["id"]
    assert installed.subject == f"web: adopt {build} (inputs-changed, preview-merged)"
    tag = built.git("for-each-ref", "--format=%(contents)", f"refs/tags/image/web/{build}")
    for text in (installed.body, tag):
        lines = text.splitlines()
        assert "lamp 1.0-1 → 1.2-1" in lines
        assert "added fern 0.9-4" in lines
        passed = f"Smoke test: {installed.build['smoke_test']['tests']} passed"
        assert [line for line in lines if line.startswith(passed)]


def test_diff_names_them_from_the_clone_alone(built: Checkout, installed: Pull, removed: Pull) -> None:
    ids = [one["id"] for one in built.lockfile("web")["builds"]]
    assert ids[:2] == [removed.build["id"], installed.build["id"]]

    newest = built.reconciler("diff", "web", environment=WITHOUT_AWS)
    assert newest.first.startswith("web: -moss 2.3 (")
    assert ["package", "removed", "moss", "2.3"] in [line.split() for line in newest.out.splitlines()]

    one = built.reconciler("diff", "web", installed.build["id"], environment=WITHOUT_AWS)
    assert "lamp 1.0-1 → 1.2-1, +fern 0.9-4" in " ".join(one.out.split())
    both = built.reconciler("diff", "web", ids[2], ids[0], "--json", environment=WITHOUT_AWS)
    packages = both.json["difference"]["packages"]
    assert {one["name"]: (one.get("old"), one.get("new")) for one in packages} == {
        "fern": (None, "0.9-4"),
        "lamp": ("1.0-1", "1.2-1"),
        "moss": ("2.3", None),
    }


def test_the_sbom_in_state_is_cyclonedx_and_has_each_package_at_its_version(
    built: Checkout, installed: Pull, removed: Pull
) -> None:
    for build in built.lockfile("web")["builds"]:
        content = (built.path / "state" / build["inventory"]["sbom"]).read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(content) is None
        components = {one["name"]: one["version"] for one in json.loads(content)["components"]}
        expected = {"fern": "0.9-4", "lamp": "1.2-1", "moss": "2.3"}
        if build["id"] == removed.build["id"]:
            del expected["moss"]
        elif build["id"] != installed.build["id"]:
            expected = {"lamp": "1.0-1", "moss": "2.3"}
        assert {name: components[name] for name in ("fern", "lamp", "moss") if name in components} == expected
        packages = [one for one in json.loads(content)["components"] if one["type"] == "library"]
        assert build["inventory"]["packages"] == len(packages)


def test_the_provenance_in_state_is_of_these_amis(built: Checkout, installed: Pull, removed: Pull) -> None:
    for build in built.lockfile("web")["builds"]:
        envelope = (built.path / "state" / build["provenance"]).read_text()
        statement = json.loads(envelope)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
        subjects = " ".join(one["name"] + one.get("uri", "") for one in statement["subject"])
        assert all(artifact["id"] in subjects for artifact in build["artifacts"])
        sbom = (built.path / "state" / build["inventory"]["sbom"]).read_bytes()
        assert hashlib.sha256(sbom).hexdigest() in envelope


def test_verify_and_history_need_no_aws(built: Checkout, installed: Pull, removed: Pull) -> None:
    for build in (installed.build["id"], removed.build["id"]):
        proof = built.reconciler("verify", "web", build, environment=WITHOUT_AWS)
        assert proof.code == 0, proof
        assert proof.first == f"{build} of web"
        assert "WRONG" not in proof.out

    history = built.reconciler("history", "web", "--json", environment=WITHOUT_AWS).json
    assert [one["id"] for one in history["builds"]][:2] == [removed.build["id"], installed.build["id"]]
    assert [one.get("pull_request") for one in history["builds"]] == [8, 7, None]
    assert built.reconciler("history", "web", environment=WITHOUT_AWS).first.startswith("web: 3 builds since ")


def test_nothing_is_left_to_do_and_nothing_runs(built: Checkout, cloud: Cloud, removed: Pull) -> None:
    head = built.head()
    assert built.reconciler("reconcile").first == "1 image in sync: nothing to do."
    assert built.head() == head
    assert cloud.leftovers(REGION) == []


SUITE = "def test_it_has_it(host):\n    assert host.package({package!r}).is_installed\n"


@pytest.mark.parametrize(("package", "code", "status"), [("lamp", 0, "passed"), ("moss", 3, "failed")])
@pytest.mark.usefixtures("removed")
def test_what_is_recorded_is_tested_by_the_suite_as_it_is_now(
    built: Checkout, cloud: Cloud, package: str, code: int, status: str
) -> None:
    # Given another suite than the one of the record, in a commit that nobody pushed
    before = built.git("rev-parse", "origin/main")
    build = built.lockfile("web")["channels"]["stable"]
    built.git("switch", "--quiet", "--create", f"test-{status}")
    built.edit("desired/web/image.yaml", append="smoke_test: { suite: smoke/ }\n")
    built.write("desired/web/smoke/test_web.py", SUITE.format(package=package))
    built.git("add", ".")
    built.git("commit", "--quiet", "--message", "Ask for a package")

    # When somebody tests what is there by it
    ended = built.reconciler("test", "web", "--json")
    head = built.head()
    built.git("switch", "--quiet", "main")

    # Then it says so, and nothing is built, recorded or left
    answer = TestAnswer.model_validate_json(ended.out)
    assert ended.code == answer.exit_code == code, ended
    assert (answer.build, answer.head, answer.smoke_test.status) == (build, head, status)
    assert built.git("rev-parse", "origin/main") == before
    assert cloud.leftovers(REGION) == []


def test_nothing_that_this_machine_has_or_gets_shows_in_an_image_an_inventory_or_a_difference(
    new_fleet: NewFleet, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given an image from before this machine got a package, a user, a key and files
    fleet = new_fleet(tmp_path, "alone")
    assert fleet.reconciler("reconcile").code == 0
    planted: dict[str, Path] = request.getfixturevalue("planted")

    # When another is built, whose provisioner fails if it sees any of that
    looked = f"for path in {' '.join(map(str, planted.values()))}; do if sudo test -e $path; then exit 1; fi; done\n"
    # A package that no newer source has which another test published in this sandbox
    fleet.write("desired/web/setup.sh", provisioner({"ivy": "1.0-1"}) + looked)
    fleet.publish("Furnish web")
    ended = fleet.reconciler("reconcile")

    # Then what is recorded of both has what is inside, and nothing else
    assert ended.code == 0, ended
    compared = fleet.reconciler("diff", "web", "--json").json["difference"]
    assert [one["name"] for one in compared["packages"]] == ["ivy"]
    recorded = {file.name: file.read_text() for file in (fleet.path / "state").rglob("*.json")}
    assert {"ivy", "sudo", "admin"} <= set(re.findall(r"\w+", "".join(recorded.values())))
    assert not [name for name, text in {**recorded, "the difference": str(compared)}.items() if "planted" in text]
