"""From pull request to stable, through the installed command: real git, the real Packer, and AWS as the sandbox has it.

A fleet that declares nothing; a branch that brings base, and web on it; a preview, a merge, two verdicts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from tests.integration.announce.conftest import Receiver
from tests.integration.pull_request.hub import GitHub, serving
from tests.integration.pull_request.pulls import MERGES, Merge
from tests.integration.story.conftest import FLEETS

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Cloud, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer]

SECRET = "whsec_bm90IGd1ZXNzZWQgYnkgYW55Ym9keSBoZXJl"
REGION = "us-east-1"
BRANCH = "feature/images"
SETTINGS = """\
defaults:
  regions: [us-east-1, eu-west-1]
aws: {{ visibility_grace: 0s }}
announce:
  webhook: {{ url: "{webhook}/hook" }}
  github: {{}}
"""


@dataclass(frozen=True)
class Scene:
    """The clone, and everybody whom its jobs talk to."""

    fleet: Checkout
    packer_runs: Path
    receiver: Receiver
    github: GitHub

    def job(self, *arguments: str, **environment: str) -> str:
        """Run `reconciler` as a CI job does, in this environment; return what it said."""
        ended = self.fleet.reconciler(*arguments, environment=environment)
        assert ended.code == 0, ended
        return ended.out + ended.err

    def builds(self) -> list[str]:
        """The templates that `packer build` was run on, in order."""
        runs = self.packer_runs.read_text().splitlines() if self.packer_runs.exists() else []
        return [run for run in runs if run.split()[0] == "build"]

    def announced(self) -> list[dict[str, Any]]:
        """What the webhook received, each verified as its receiver would."""
        for request in self.receiver.received:
            told = standardwebhooks.Webhook(SECRET).verify(request.body, dict(request.headers))
            assert request.headers["webhook-id"] == told["id"]
        return [json.loads(request.body) for request in self.receiver.received]

    def events(self) -> list[tuple[str, str]]:
        return [(what["image"], what["event"]) for what in self.announced()]

    def merge(self, how: Merge) -> None:
        """Merge the branch into main and delete it, as GitHub's three buttons do."""
        git = self.fleet.git
        git("switch", "--quiet", "main")
        match how:
            case "merge commit":
                git("merge", "--quiet", "--no-ff", "--message", "Merge #7", BRANCH)
            case "squash":
                git("merge", "--quiet", "--squash", BRANCH)
                git("commit", "--quiet", "--message", "Bring images (#7)")
            case "rebase":
                git("commit", "--quiet", "--allow-empty", "--message", "Somebody else's")
                git("cherry-pick", f"main..{BRANCH}")
        git("push", "--quiet", "origin", "main")
        git("push", "--quiet", "origin", "--delete", BRANCH)
        git("branch", "--quiet", "--delete", "--force", BRANCH)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def scene(new_fleet: NewFleet, tmp_path: Path, receiver: Receiver, github: GitHub) -> Scene:
    """main declares no image; the branch is pushed, and its job is about to run."""
    fleet = new_fleet(tmp_path, "empty")
    runs, wrapper = tmp_path / "packer-runs", tmp_path / "bin" / "packer"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {runs}\nexec {shutil.which("packer")} "$@"\n')
    wrapper.chmod(0o755)
    fleet = replace(
        fleet,
        environment={
            **fleet.environment,
            "PATH": f"{wrapper.parent}:{fleet.environment['PATH']}",
            "RECONCILER_WEBHOOK_SECRET": SECRET,
            "RECONCILER_GITHUB_TOKEN": "a-token",
            "GITHUB_API_URL": github.url,
            "NO_PROXY": "127.0.0.1",
        },
    )
    github.repository = fleet.name
    fleet.write("desired/reconciler.yaml", SETTINGS.format(webhook=receiver.url))
    fleet.publish("Begin")
    fleet.git("remote", "set-head", "origin", "main")
    fleet.git("switch", "--quiet", "--create", BRANCH)
    for image in ("base", "web"):
        shutil.copytree(FLEETS / "pair" / "desired" / image, fleet.path / "desired" / image)
    fleet.edit("desired/base/image.yaml", append="validation: { required: true }\n")
    fleet.edit("desired/web/image.yaml", append="validation: { required: true }\n")
    fleet.publish("Bring base and web")
    return Scene(fleet, runs, receiver, github)


def in_tag(fleet: Checkout, tag: str) -> dict[str, Any]:
    """The record in an annotated tag's message."""
    message = fleet.git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")
    return dict(json.loads(message[message.index("\n{") : message.rindex("\n}") + 2]))


@pytest.mark.packer(dealt=("how", MERGES))
def test_from_pull_request_to_stable(scene: Scene, cloud: Cloud, how: Merge) -> None:
    fleet, main = scene.fleet, scene.fleet.git("rev-parse", "main")
    head = fleet.head()

    # Given a preview of the pull request,
    scene.job("reconcile", "--preview", "--pull-request", "7")
    assert len(scene.builds()) == 2
    assert fleet.git("ls-remote", "--heads", "origin").split()[::2] == [head, main], "nobody's branch moved"
    tags = {tag.split("/")[1]: tag for tag in fleet.git("tag", "--list", "image/*").splitlines()}
    previews = {image: in_tag(fleet, tag) for image, tag in tags.items()}
    amis = {image: record["artifacts"][0]["id"] for image, record in previews.items()}
    for image, tag in tags.items():
        assert fleet.git("rev-parse", f"{tag}^{{commit}}") == head
        assert "status: built" in fleet.git("tag", "-n99", "--list", tag)
        carried = cloud.tags(REGION, amis[image])
        assert (carried["reconciler:phase"], carried["reconciler:branch"]) == ("preliminary", BRANCH)
        assert carried["reconciler:pull-request"] == "7"
    assert {context: state for context, (state, _) in scene.github.latest().items()} == {
        "reconciler/base": "success",
        "reconciler/web": "success",
    }
    (comment,) = scene.github.comments
    assert not (fleet.path / "state").exists()
    assert comment["body"].startswith("<!-- reconciler -->\n### reconciler: 2 images will change · 0 unchanged")
    assert "```mermaid" in comment["body"]
    assert all(record["id"] in comment["body"] for record in previews.values())
    assert previews["base"]["source"]["ami"]["id"] in comment["body"]
    assert f"`on base {previews['base']['id']}`" in comment["body"]
    assert scene.events() == []

    # when another job previews the same commit, then nothing is built or posted,
    posted = len(scene.github.statuses)
    scene.job("reconcile", "--preview", "--pull-request", "7")
    assert (len(scene.builds()), len(scene.github.statuses), len(scene.github.comments)) == (2, posted, 1)

    # and when it is merged, main takes base as its candidate; web waits for base to be stable.
    scene.merge(how)
    assert "base (new, preview-merged)" in scene.job("plan")
    scene.job("reconcile")
    build = fleet.lockfile("base")["builds"][0]
    assert fleet.recorded("base")[REGION] == amis["base"]
    assert (build["id"], build["phase"], build["commit"]) == (previews["base"]["id"], "candidate", head)
    assert fleet.git("log", "-1", "--format=%s") == f"base: adopt {build['id']} (new, preview-merged)"
    assert scene.events() == [("base", "candidate")]
    announced = {one["location"]: one["id"] for one in scene.announced()[0]["artifacts"]}
    assert announced == fleet.recorded("base")
    assert "awaiting-verdict" in scene.job("status")

    # When the validation repository tags what the notification named, with no more than boto3, base becomes stable,
    verdict = {"verdict": "passed", "verdict-by": "acme/validation", "verdict-evidence": "https://ci.example.org/7"}
    cloud.ec2(REGION).create_tags(
        Resources=[announced[REGION]],
        Tags=[{"Key": f"reconciler:{name}", "Value": value} for name, value in verdict.items()],
    )
    assert "verdict-pending-record" in scene.job("plan")
    scene.job("reconcile")
    assert fleet.lockfile("base")["channels"]["stable"] == build["id"]
    assert "by: acme/validation" in fleet.git("tag", "-n99", "--list", f"verdict/base/{build['id']}")
    # and web, whose key that is now, becomes the candidate that was built on the pull request.
    web = fleet.lockfile("web")["builds"][0]
    assert (web["id"], fleet.recorded("web")[REGION]) == (previews["web"]["id"], amis["web"])
    subjects = fleet.git("log", "--format=%s").splitlines()
    assert f"base: {build['id']} passed validation (verdict-pending-record)" in subjects
    assert subjects[0] == f"web: adopt {web['id']} (new, preview-merged)"
    assert scene.events()[1:] == [("base", "stable"), ("web", "candidate")]

    # The other way to vote is the command; and then nothing is left to do, by anybody.
    proof = ("--evidence", "https://ci.example.org/8", "--by", "ada")
    assert amis["web"] in scene.job("verdict", "web", web["id"], "pass", *proof)
    scene.job("reconcile")
    recorded = fleet.lockfile("web")
    assert recorded["channels"] == {"candidate": web["id"], "stable": web["id"]}
    assert recorded["builds"][0]["verdict"] == {"by": "ada", "evidence": "https://ci.example.org/8", "status": "passed"}
    assert {cloud.tags(region, ami)["reconciler:phase"] for region, ami in fleet.recorded("web").items()} == {"stable"}
    assert scene.events()[3:] == [("web", "stable")]
    at = fleet.git("ls-remote", "origin")
    assert "2 images in sync: nothing to do." in scene.job("reconcile")
    assert (fleet.git("ls-remote", "origin"), len(scene.builds()), len(scene.events())) == (at, 2, 4)


@pytest.mark.packer(once=True)
def test_a_fork_is_planned_offline_and_nothing_of_it_is_run(scene: Scene) -> None:
    """Whatever credentials the job has: what a stranger wrote is not run, nor are its plugins installed."""
    said = scene.job("reconcile", "--preview", "--pull-request", "7", CIRCLE_PR_REPONAME="images")
    assert "This is a fork's pull request: planned from desired/ and state/ alone, and nothing was built." in said
    assert not scene.packer_runs.exists()
    assert "nothing was built" in scene.github.comments[0]["body"]
    assert scene.fleet.git("tag", "--list") == ""


@pytest.mark.packer(once=True)
def test_without_credentials_it_is_planned_offline_and_that_is_said(scene: Scene, tmp_path: Path) -> None:
    empty = tmp_path / "no-credentials"
    empty.touch()
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(empty), "AWS_CONFIG_FILE": str(empty)}
    said = scene.job("reconcile", "--preview", **none, **files, AWS_EC2_METADATA_DISABLED="true")
    assert "There are no credentials here" in said
    assert not scene.packer_runs.exists()


@pytest.mark.packer(once=True)
def test_what_github_refuses_is_said_and_undoes_nothing(scene: Scene) -> None:
    scene.github.refuses = {"/statuses/": 403}
    said = scene.job("reconcile", "base", "--preview", "--pull-request", "7")
    assert "the statuses are not posted: GitHub, setting the status of base" in said
    assert "statuses: write" in said
    assert len(scene.github.comments) == 1, "a token that may comment does"
    assert len(scene.fleet.git("tag", "--list", "image/base/*").splitlines()) == 1


@pytest.mark.packer(once=True)
def test_a_vote_counts_though_the_ami_of_one_region_is_gone(scene: Scene, cloud: Cloud, tmp_path: Path) -> None:
    scene.merge("squash")
    scene.job("reconcile", "base")
    build, lost = scene.fleet.lockfile("base")["builds"][0]["id"], scene.fleet.recorded("base")["eu-west-1"]
    notification = tmp_path / "notification.json"
    notification.write_bytes(scene.receiver.received[0].body)
    cloud.ec2("eu-west-1").deregister_image(ImageId=lost)

    vote = ("verdict", "base", build, "pass", "--evidence", "https://ci.example.org/9")
    ended = scene.fleet.reconciler(*vote, "--announcement", str(notification), cwd=tmp_path)  # needs no clone
    assert ended.code == 3
    assert f"not voted: {lost} in eu-west-1 is gone" in ended.err
    scene.job("reconcile", "base")
    assert scene.fleet.lockfile("base")["channels"]["stable"] == build
    assert scene.fleet.recorded("base")["eu-west-1"] != lost, "and it is restored in the same run"
    assert scene.events() == [("base", "candidate"), ("base", "stable")]
    assert len(scene.builds()) == 1
