"""Beyond one machine: 20 images in four levels, each reconciled by a process and a clone of its own, as CircleCI would.

The order is that of the config that `reconciler graph --circleci` printed, and all push to one bare origin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from reconciler.steps.act import run_graph

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

JOB = "reconciler/reconcile"
CONFIG = Path(__file__).parents[3] / ".circleci" / "config.yml"
LEVELS = (2, 4, 6, 8)
# No provisioner and no SSH: what counts here is who builds what, and when, not what is inside.
TEMPLATE = """\
variable "source_ami" { type = string }
variable "image_name" { type = string }
variable "run_tags" { type = map(string) }
variable "image_tags" { type = map(string) }

source "amazon-ebs" "image" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  communicator  = "none"
  source_ami    = var.source_ami
  ami_name      = var.image_name
  run_tags      = var.run_tags
  tags          = var.image_tags
}

build {
  sources = ["source.amazon-ebs.image"]
}
"""
DEBIAN = '{ ami: { name: "debian-12-amd64-*", owners: ["136693071363"] } }'


def parents() -> dict[str, str | None]:
    """Names like `l2-5`: each level's images share out the level above."""
    found: dict[str, str | None] = {}
    for level, count in enumerate(LEVELS):
        for number in range(count):
            above = f"l{level - 1}-{number % LEVELS[level - 1]}" if level else None
            found[f"l{level}-{number}"] = above
    return found


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_twenty_images_built_by_as_many_processes_are_all_recorded_and_each_built_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "GIT_"))},
        **sandbox.environment,
        "AWS_POLL_DELAY_SECONDS": "1",  # Packer's, between its looks at an instance; the default is 2 to 15
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "HOME": str(tmp_path),
    }
    origin, clone = tmp_path / "fleet.git", tmp_path / "clone"
    reconciler = (sys.executable, "-m", "reconciler")
    for name, parent in parents().items():
        folder = clone / "desired" / name
        folder.mkdir(parents=True)
        (folder / "image.pkr.hcl").write_text(TEMPLATE)
        (folder / "image.yaml").write_text(f"source: {f'{{ image: {parent} }}' if parent else DEBIAN}\n")
    (clone / "desired/reconciler.yaml").write_text("aws: { visibility_grace: 0s }\n")
    (clone / ".circleci").mkdir()
    shutil.copy(CONFIG, clone / ".circleci")
    for arguments in (
        ("init", "--quiet"), ("init", "--quiet", "--bare", str(origin)), ("remote", "add", "origin", str(origin)),
        ("add", "--all"), ("commit", "--quiet", "--message", "Declare them"), ("push", "--quiet", "origin", "HEAD"),
    ):  # fmt: skip
        run(clone, environment, "git", *arguments)

    config = yaml.safe_load(run(clone, environment, *reconciler, "graph", "--circleci", "--job", JOB))
    jobs = {job[JOB]["name"]: job[JOB] for job in config["workflows"]["images"]["jobs"]}
    sandbox.forget_calls()

    def reconcile(job: str) -> str:
        here = tmp_path / "ci" / jobs[job]["arguments"]
        run(tmp_path, environment, "git", "clone", "--quiet", str(origin), str(here))
        return run(here, environment, *reconciler, "reconcile", *jobs[job]["arguments"].split())

    run_graph({name: job.get("requires", []) for name, job in jobs.items()}, reconcile, parallel=len(jobs))

    run(clone, environment, "git", "pull", "--quiet", "--tags", "origin", "main")
    locks = {file.name.partition(".")[0]: json.loads(file.read_text()) for file in (clone / "state").glob("*.json")}
    assert locks.keys() == parents().keys()
    assert {name: len(lock["builds"]) for name, lock in locks.items()} == dict.fromkeys(parents(), 1)
    assert calls(sandbox, "RunInstances") == len(parents()), "each is built once"
    assert calls(sandbox, "DeregisterImage") == 0, "and none in vain"
    assert follows_the_graph(locks)
    subjects = run(clone, environment, "git", "log", "--format=%s").splitlines()
    assert Counter(subject.partition(":")[0] for subject in subjects[:-1]) == dict.fromkeys(parents(), 1)
    assert len(run(clone, environment, "git", "tag", "--list", "image/*").splitlines()) == len(parents())
    assert run(clone, environment, *reconciler, "plan").startswith("20 images in sync")


def calls(sandbox: Sandbox, action: str) -> int:
    return sum(count for (_, called, _), count in sandbox.calls().items() if called == action)


def follows_the_graph(locks: dict[str, Any]) -> bool:
    """Whether each image was built on the one build of its parent."""
    return all(
        locks[name]["builds"][0]["source"]["build"] == locks[parent]["builds"][0]["id"]
        for name, parent in parents().items()
        if parent is not None
    )
