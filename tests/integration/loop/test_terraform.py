"""`examples/terraform` on lockfiles that runs recorded: what it gives changes by a commit, and by nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.go_programs import terraform
from tests.integration.loop.test_channels import build, standing
from tests.integration.loop.test_rulings import held, revoked
from tests.integration.loop.world import EU, ON_DEBIAN, US, World, git

MODULE = Path(__file__).parents[3] / "examples/terraform"
CONSUMER = """\
module "images" {
  source = "%s"
  state  = "${path.module}/images/state"
}
output "stable" { value = module.images.stable }
output "candidate" { value = module.images.candidate }
output "builds" { value = module.images.builds }
"""

pytestmark = pytest.mark.terraform


@dataclass(frozen=True)
class Consumer:
    """A Terraform configuration beside a clone of the fleet's repository, which it pulls when it likes."""

    folder: Path
    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> str:
        environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", **self.environment}
        command = [str(self.program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pull(self) -> None:
        git(self.folder / "images", "pull", "--quiet", "--ff-only", "origin", "main")

    def plan(self) -> dict[str, tuple[Any, Any]]:
        """What a plan would change of the outputs: before and after, by output."""
        self.run("plan", "-input=false", "-out=plan")
        changes = json.loads(self.run("show", "-json", "plan")).get("output_changes", {})
        return {
            name: (one["before"], one["after"]) for name, one in changes.items() if one["actions"] != ["no-op"]
        }  # fmt: skip

    def apply(self) -> dict[str, Any]:
        """Apply what was planned last, and return the outputs."""
        self.run("apply", "-input=false", "plan")
        return self.outputs()

    def outputs(self) -> dict[str, Any]:
        """What was applied last."""
        return {name: one["value"] for name, one in json.loads(self.run("output", "-json")).items()}


@pytest.fixture
def consumer(pair: World, tmp_path: Path) -> Consumer:
    """One that has planned and applied what the fleet has now."""
    folder = tmp_path / "consumer"
    folder.mkdir()
    git(folder, "clone", "--quiet", str(pair.origin), "images")
    folder.joinpath("main.tf").write_text(CONSUMER % MODULE)
    made = Consumer(folder, terraform())
    made.run("init", "-input=false")
    made.plan()
    made.apply()
    return made


def ids(world: World, image: str, build_id: str | None) -> dict[str, str]:
    recorded = world.lock(image).build(build_id)
    assert recorded is not None
    return {one.location: one.id for one in recorded.artifacts}


def leaves(value: Any, *path: str) -> dict[tuple[str, ...], Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {place: one for key, below in value.items() for place, one in leaves(below, *path, key).items()}


def changed(before: Any, after: Any) -> dict[tuple[str, ...], tuple[Any, Any]]:
    was, now = leaves(before), leaves(after)
    return {place: (was.get(place), now.get(place)) for place in was | now if was.get(place) != now.get(place)}


def test_it_gives_a_map_of_ids_for_every_image_and_channel(pair: World, consumer: Consumer) -> None:
    assert consumer.plan() == {}
    given = consumer.outputs()
    for image in ("base", "web"):
        channels = pair.lock(image).channels
        assert given["stable"][image] == ids(pair, image, channels.stable)
        assert given["candidate"][image] == ids(pair, image, channels.candidate)
        assert given["builds"]["stable"][image] == channels.stable
    assert set(given["stable"]["web"]) == {EU, US}


def test_no_plan_changes_without_a_commit(pair: World, consumer: Consumer) -> None:
    new = build(pair, "echo more")
    assert consumer.plan() == {}
    consumer.pull()
    planned = consumer.plan()
    assert planned["stable"][1]["base"] == ids(pair, "base", new)
    assert consumer.apply()["stable"]["base"] == ids(pair, "base", new)
    assert consumer.plan() == {}


def test_a_commit_that_moves_one_artifact_changes_one_id(pair: World, consumer: Consumer) -> None:
    was = ids(pair, "web", pair.lock("web").channels.stable)
    pair.lose("web", EU)
    pair.controller().reconcile()
    now = ids(pair, "web", pair.lock("web").channels.stable)
    consumer.pull()
    planned = consumer.plan()
    assert changed(*planned["stable"]) == {("web", EU): (was[EU], now[EU])}
    assert set(planned) == {"stable", "candidate"}


def test_holds_and_revocations_are_seen(pair: World, consumer: Consumer) -> None:
    (old,) = standing(pair)
    new = build(pair, "echo more")
    pair.commit({"desired/base/image.yaml": held(old)})
    pair.controller().reconcile("base")
    consumer.pull()
    consumer.plan()
    given = consumer.apply()
    assert given["stable"]["base"] == ids(pair, "base", old)
    assert given["candidate"]["base"] == ids(pair, "base", new)

    pair.commit({"desired/base/image.yaml": revoked(old, new, declaration=ON_DEBIAN)})
    pair.controller().reconcile()
    consumer.pull()
    consumer.plan()
    given = consumer.apply()
    assert (given["stable"]["base"], given["builds"]["stable"]["base"]) == ({}, None)


def test_images_without_a_build_and_of_other_kinds_do_no_harm(pair: World, consumer: Consumer) -> None:
    container = json.loads(pair.show("web.lock.json"))
    for one in container["builds"]:
        one["artifacts"] = [
            {"kind": "oci", "builder": "docker.site", "location": "registry.example.org/site", "id": "sha256:0a1b"}
        ]
    waiting = {"image": "next", "schema": 1, "channels": {}}
    pair.commit(
        {
            "state/site.lock.json": json.dumps({**container, "image": "site"}),
            "state/next.lock.json": json.dumps(waiting),
            "state/failed.lock.json": json.dumps({**waiting, "image": "failed", "failure": {"attempts": 1}}),
        }
    )
    consumer.pull()
    consumer.plan()
    given = consumer.apply()
    assert given["stable"]["site"] == {"registry.example.org/site": "sha256:0a1b"}
    assert (given["stable"]["next"], given["stable"]["failed"]) == ({}, {})
    assert given["builds"]["candidate"] == {
        "base": pair.lock("base").channels.candidate, "site": container["channels"]["candidate"], "next": None,
        "failed": None, "web": container["channels"]["candidate"],
    }  # fmt: skip


def test_the_module_asks_for_no_provider(consumer: Consumer) -> None:
    assert "provider[" not in consumer.run("providers")
    assert "provider" not in MODULE.joinpath("main.tf").read_text().replace("needs no provider", "")
    consumer.run("fmt", "-check", "-recursive", str(MODULE))
