"""A made-up fleet in a real git repository: declared, built (so it says) and recorded, with nothing left to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.desired.fleet import read_fleet
from reconciler.git.repository import Repository
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile, PackerVersions, Phase
from reconciler.model.plan import Wanted
from reconciler.model.source import Pin
from reconciler.plan.key import short, wanted
from reconciler.plan.tags import own, when_complete
from reconciler.plan.transitions import with_build
from reconciler.registries.ec2.dialect import AMI
from reconciler.state.lockfiles import path_of, render

FLEET = "bench/fleet"
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1")
_STARTED = "2026-11-01T06:00:00Z"


@dataclass(frozen=True)
class Sort:
    """What all images of a fleet have in common: how they are declared, where they are, and what they are built on."""

    settings: str
    files: Mapping[str, str]
    """Of an image's folder, by name; `@name@` and `@number@` stand for its own."""
    locations: tuple[str, ...]
    pin: Callable[[Image], Pin]


@dataclass(frozen=True)
class Unborn:
    """An artifact as it should come to be in a registry."""

    region: str
    name: str
    tags: Mapping[str, str]


Publish = Callable[[Sequence[Unborn]], Mapping[tuple[str, str], Artifact]]
"""Puts artifacts into a registry; returns each by location and name."""


def make(root: Path, *, images: int, publish: Publish, phase: Phase = "stable", sort: Sort | None = None) -> Path:
    """Make a repository of so many images, all different and all in sync, and return its root. They are AMIs."""
    sort = sort or AMIS
    _write(root / "desired" / "reconciler.yaml", sort.settings)
    for number in range(images):
        name = f"image-{number:05}"
        folder = root / "desired" / name
        for file, text in sort.files.items():
            _write(folder / file, text.replace("@name@", name).replace("@number@", str(number)))
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "Declare the fleet")
    _record(root, publish, phase, sort)
    commit(root, "Record the fleet")
    # As a clone has it: one pack. A thousand loose objects are the state of a moment.
    git(root, "gc", "--quiet")
    return root


def commit(root: Path, message: str) -> None:
    """Commit all that there is."""
    git(root, "add", "--all")
    git(root, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", message)


def git(root: Path, *arguments: str) -> None:
    """Run git there. Raises CalledProcessError when it fails."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    # No collection in the background, which would run into ours and into what is measured.
    subprocess.run(["git", "-C", str(root), "-c", "gc.auto=0", *arguments], check=True, env=environment)


def _record(root: Path, publish: Publish, phase: Phase, sort: Sort) -> None:
    tree = Repository.open(root).tree()
    fleet = read_fleet(tree)
    if fleet.problems:
        raise RuntimeError(f"the made-up fleet is broken: {next(iter(fleet.problems.values()))[0]}")
    builds = {image.name: wanted(image, sort.pin(image)) for image in fleet.images.values()}
    there = publish(
        [
            Unborn(region, f"{name}-{_build_id(want)}", _tags(fleet.images[name], want, commit=tree.oid, phase=phase))
            for name, want in builds.items()
            for region in sort.locations
        ]
    )
    for name, want in builds.items():
        image = fleet.images[name]
        build = _build(
            image, want, [there[one, f"{name}-{_build_id(want)}"] for one in sort.locations], commit=tree.oid
        )
        _write(root / path_of(name), render(with_build(Lockfile(image=name), build, image=image)).decode())


def _debian(image: Image) -> Pin:
    known = {"name": "debian-12-amd64-20261101-1234", "owner": "136693071363", "created": _STARTED}
    return AMI.pin(image.build_location, "ami-0123456789abcdef0", **known)


def _build_id(want: Wanted) -> str:
    return f"20261101T060000Z-{short(want.key)}"


def _tags(image: Image, want: Wanted, *, commit: str, phase: Phase) -> dict[str, str]:
    complete = when_complete(
        fleet=FLEET, image=image, build_id=_build_id(want), wanted=want, commit=commit, phase=phase
    )
    return {**complete, **own(channel="stable")} if phase == "stable" else complete


def _build(image: Image, want: Wanted, there: Sequence[Artifact], *, commit: str) -> Build:
    build_id = _build_id(want)
    return Build(
        id=build_id,
        key=want.key,
        components=dict(want.components),
        files={file.path: f"{file.mode} {file.oid}" for file in image.inputs},
        commit=commit,
        started=_STARTED,
        seconds=400,
        packer=PackerVersions(version="1.6.6"),
        source=want.pin,
        artifacts=tuple(sorted(there, key=_location)),
        phase="stable",
    )


def _location(artifact: Artifact) -> str:
    return artifact.location


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


_SETTINGS = f"""\
fleet: {FLEET}
defaults:
  regions: [{", ".join(REGIONS)}]
  refresh: {{ max_age: 7d }}
  tags: {{ CostCenter: platform }}
limits:
  parallel_builds: 1000
"""

SETUP = """\
#!/bin/sh
# Installs @name@.
set -eu
apt-get update -q
apt-get install -q -y --no-install-recommends nginx
echo "@name@ @number@" > /etc/image-release
"""

_FILES = {
    "image.yaml": """\
description: The service @name@, on Debian 12
labels: { team: platform, number: "@number@" }
source:
  ami: { name: "debian-12-amd64-*", owners: ["136693071363"], architecture: x86_64 }
""",
    "setup.sh": SETUP,
    "template.pkr.hcl": """\
# How @name@ is built. Variables without a default are given by the reconciler.
variable "source_ami" {
  type = string
}

variable "image_name" {
  type = string
}

variable "run_tags" {
  type = map(string)
}

variable "image_tags" {
  type = map(string)
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

locals {
  service = "@name@"
  port    = 8000 + @number@
}

source "amazon-ebs" "@name@" {
  region        = "us-east-1"
  source_ami    = var.source_ami
  instance_type = var.instance_type
  ssh_username  = "admin"

  ami_name        = var.image_name
  ami_description = "Debian 12 with ${local.service}"
  run_tags        = var.run_tags
  tags            = var.image_tags

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 8
    volume_type           = "gp3"
    delete_on_termination = true
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
}

build {
  sources = ["source.amazon-ebs.@name@"]

  provisioner "shell" {
    environment_vars = ["SERVICE=${local.service}", "PORT=${local.port}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    script           = "${path.root}/setup.sh"
  }
}
""",
}

AMIS = Sort(_SETTINGS, _FILES, REGIONS, _debian)
