"""The jobs of a fleet that has container images alone: from a branch to stable, without a role in AWS."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import containers
from tests.command import Command
from tests.integration.circleci.conftest import Images
from tests.integration.circleci.orb import documented, own_orb, pipeline
from tests.integration.circleci.pipeline import Finished, Pipeline, Runner
from tests.integration.packer.programs import write_program
from tests.needs import refuse_without_plugin

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".circleci" / "config.yml"
ELSEWHERE = "registry.example.org/acme/site"
TEMPLATE = """\
variable "source_image" { type = string }
source "docker" "site" {
  image       = var.source_image
  commit      = true
  run_command = ["-d", "-i", "-t", "--network=host", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
}
build {
  sources = ["source.docker.site"]
  provisioner "shell" { inline = ["echo version 1 > /content"] }
}
"""
Declared = Callable[[str, str], Images]


@pytest.fixture
def declared(packer_on_path: str | None, tmp_path: Path, command: Command) -> Declared:
    """Make a repository whose one image is built on a source, and kept in a repository of a registry. It is pushed."""
    assert packer_on_path, "mark the test `packer`"

    def make(source: str, location: str) -> Images:
        (tmp_path / "gitconfig").write_text(
            "[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"
        )
        asked = ("LANG", "LC_ALL", "TMPDIR", "PACKER_PLUGIN_PATH", "DOCKER_HOST", "DOCKER_CONFIG")
        environment = {
            **{key: os.environ[key] for key in asked if key in os.environ},
            "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
            "HOME": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        images = Images(tmp_path / "clone", tmp_path / "fleet.git", environment, command)
        images.path.mkdir()
        images.git("init", "--quiet")
        images.git("init", "--quiet", "--bare", str(images.origin))
        images.git("remote", "add", "origin", str(images.origin))
        images.write("desired/site/site.pkr.hcl", TEMPLATE)
        images.write("desired/site/image.yaml", f"locations: ['{location}']\nsource: {{oci: '{source}'}}\n")
        images.publish("Declare site")
        return images

    return make


def ran(
    images: Images, job: str, folder: Path, *, branch: str = "main", told: Mapping[str, str] | None = None
) -> Finished:
    """Run a job on a machine of its own. It has no role, and no service that mints tokens was asked."""
    folder.mkdir()
    steps = Pipeline.read(CONFIG).steps(job)
    ended = Runner(folder / "machine", images.origin, images.environment).run(steps, branch=branch, environment=told)
    assert ended.claims == ()
    return ended


@pytest.fixture
def registry(engine: None, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    with containers.registry(tmp_path / "registry") as host:
        yield host


@pytest.mark.packer(once=True)
@pytest.mark.containers
@pytest.mark.long
def test_a_branch_is_built_without_a_role_and_its_merge_promotes_what_was_built(
    registry: str, declared: Declared, packer_on_path: str, tmp_path: Path
) -> None:
    # Given a container image, on one of somebody else's
    refuse_without_plugin("docker", packer_on_path)
    containers.docker("tag", containers.base(), f"{registry}/theirs/base:1")
    containers.docker("push", "--quiet", f"{registry}/theirs/base:1")
    images = declared(f"{registry}/theirs/base:1", f"{registry}/acme/site")
    images.write("desired/site/site.pkr.hcl", TEMPLATE.replace("version 1", "version 2"))
    images.publish("Change site", branch="feature")

    # When the jobs run for it and, once it is merged, for main, which nothing gives a role
    preview = ran(images, "reconciler/preview", tmp_path / "one", branch="feature")
    images.git("push", "--quiet", "origin", "HEAD:main")
    merged = ran(images, "reconciler/reconcile", tmp_path / "two")

    # Then what the branch built is stable
    assert not preview.failed, preview.output
    assert not preview.halted, preview.output
    assert not merged.failed, merged.output
    assert "it takes no role" in merged.output
    (build,) = images.lockfile("site")["builds"]
    assert (build["phase"], build["smoke_test"]["status"]) == ("stable", "passed")
    assert build["id"] in preview.output
    assert not any((merged.checkout / ".reconciler").glob("logs/site-*.log")), "it was built a second time"


@pytest.mark.packer(once=True)
def test_without_a_login_that_its_registry_needs_a_branch_is_planned(declared: Declared, tmp_path: Path) -> None:
    images = declared("docker.io/library/debian:12", ELSEWHERE)
    images.write("desired/site/site.pkr.hcl", TEMPLATE.replace("version 1", "version 2"))
    images.publish("Change it", branch="feature")

    job = ran(images, "reconciler/preview", tmp_path / "one", branch="feature")

    assert not job.failed, job.output
    assert job.halted
    assert "Nothing more is done: no context gives this job REGISTRY_USER." in job.output
    assert "AWS_ROLE_ARN" not in job.output
    assert not any((job.checkout / ".reconciler").glob("logs/*.log")), "Packer was run"


def test_the_login_of_a_context_is_dockers(tmp_path: Path) -> None:
    # Given a machine with docker, and a context that holds a login
    machine = tmp_path / "bin"
    machine.mkdir()
    write_program(machine, "docker", f'echo "$*: $(cat)" >> {tmp_path}/said')
    steps = [
        one for one in Pipeline.read(CONFIG).steps("reconciler/reconcile") if "docker login" in (one.command or "")
    ]
    runner = Runner(tmp_path / "machine", tmp_path, {"PATH": f"{machine}:{os.environ['PATH']}"})

    # When a job logs in
    held = {"REGISTRY": "registry.example.org", "REGISTRY_USER": "images", "REGISTRY_PASSWORD": "s3cr3t"}
    ended = runner.run(steps, environment=held)

    # Then docker has it, and no list of processes had the password
    assert not ended.failed, ended.output
    said = (tmp_path / "said").read_text()
    assert said == "login --username images --password-stdin registry.example.org: s3cr3t\n"


def test_a_job_for_container_images_runs_where_there_is_an_engine() -> None:
    orb = own_orb()

    assert orb["executors"]["machine"]["machine"] == {"image": "<< parameters.image >>"}
    (config,) = [one for one in documented("docs/circleci.md") if "reconciler/machine" in str(one)]
    for job, invocations in pipeline(config).jobs().items():
        assert all(options["executor"] == "reconciler/machine" for options in invocations), job
