"""A fleet of two in a bare origin, the sandbox as AWS, and CI machines to run jobs on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.command import Command
from tests.integration.circleci.pipeline import Runner

ROLE = "arn:aws:iam::123456789012:role/reconciler"
TEMPLATE = """\
variable "source_ami" { type = string }
variable "image_name" { type = string }
variable "build_id" { type = string }
variable "run_tags" { type = map(string) }
variable "image_tags" { type = map(string) }

source "amazon-ebs" "image" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ssh_username  = "admin"
  source_ami    = var.source_ami
  ami_name      = var.image_name
  run_tags      = var.run_tags
  tags          = var.image_tags

  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.image"]
  provisioner "shell" {
    environment_vars = ["BUILD_ID=${var.build_id}"]
    script           = "${path.root}/setup.sh"
  }
}
"""
SETUP = 'set -eu\necho "{name} $BUILD_ID" | sudo tee -a /etc/image-release\n'
DEBIAN = 'source: { ami: { name: "debian-12-amd64-*", owners: ["136693071363"] } }\n'


@dataclass(frozen=True)
class Images:
    """A person's clone of the repository of images, its origin, and what every command sees."""

    path: Path
    origin: Path
    environment: Mapping[str, str]
    command: Command

    def git(self, *arguments: str) -> str:
        ended = subprocess.run(
            ["git", *arguments], cwd=self.path, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def publish(self, message: str, *, branch: str = "main") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "origin", f"HEAD:{branch}")
        return self.git("rev-parse", "HEAD")

    def log(self, branch: str = "main") -> list[str]:
        """The subjects at the origin, newest first."""
        self.git("fetch", "--quiet", "origin")
        return self.git("log", "--format=%s", f"origin/{branch}").splitlines()

    def lockfile(self, image: str) -> Any:
        """What the origin's main records of an image."""
        self.git("fetch", "--quiet", "origin")
        return json.loads(self.git("show", f"origin/main:state/{image}.lock.json"))

    def tags(self) -> list[str]:
        return self.git("ls-remote", "--tags", "--refs", "origin").split()[1::2]


NewImages = Callable[..., Images]
NewRunner = Callable[[Images], Runner]


@pytest.fixture(scope="module")
def sandbox(packer_on_path: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    assert packer_on_path, "mark the test `packer`"
    if os.geteuid() != 0:
        pytest.skip("the sandbox needs root")
    with handle.running(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def new_images(sandbox: Sandbox, command: Command, tmp_path_factory: pytest.TempPathFactory) -> NewImages:
    """Make a repository that declares `base`, and `web` on it, pushed and not built."""

    def make(*, settings: str = "", setup: str = SETUP) -> Images:
        folder = tmp_path_factory.mktemp("images")
        # Artifacts of different tests live in one sandbox: the fleet's name, from the origin's, tells them apart.
        origin = folder / f"fleet-{os.urandom(4).hex()}.git"
        (folder / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n")
        asked = ("LANG", "LC_ALL", "TMPDIR", "PACKER_PLUGIN_PATH")
        inherited = {key: os.environ[key] for key in asked if key in os.environ}
        environment = {
            **inherited,
            **sandbox.environment,
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "HOME": str(folder),
            # `reconciler` and this Python first; `packer`, `git` and `ssh` are the machine's.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        images = Images(folder / "clone", origin, environment, command)
        images.path.mkdir()
        images.git("init", "--quiet")
        images.git("init", "--quiet", "--bare", str(origin))
        images.git("remote", "add", "origin", str(origin))
        images.write("desired/reconciler.yaml", f"aws: {{ visibility_grace: 0s }}\n{settings}")
        for name, source in (("base", DEBIAN), ("web", "source: { image: base }\n")):
            images.write(f"desired/{name}/image.pkr.hcl", TEMPLATE)
            images.write(f"desired/{name}/setup.sh", setup.replace("{name}", name))
            images.write(f"desired/{name}/image.yaml", source)
        images.publish("Declare base and web")
        return images

    return make


@pytest.fixture
def images(new_images: NewImages) -> Images:
    return new_images()


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> NewRunner:
    """A new CI machine for a job on a repository: without any AWS key, as the role's token has to do."""

    def make(images: Images) -> Runner:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HOME")
        environment = {key: value for key, value in images.environment.items() if key not in keys}
        return Runner(tmp_path_factory.mktemp("ci") / "machine", images.origin, environment)

    return make
