"""What the controller adds to Packer: the same build by `packer build` and by `reconciler reconcile`.

Without the smoke test, which is work and no overhead: Packer alone boots nothing that it built.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.sandbox.handle import Sandbox
from tests.bench.fleet import commit, git
from tests.bench.measure import Command, interleaved
from tests.bench.rows import Row, at_most, told

WORK_SECONDS = 20
_ROUNDS = 2


def overhead_rows(folder: Path, sandbox: Sandbox, environment: Mapping[str, str]) -> Iterator[Row]:
    """One image, built in the sandbox, recorded and pushed to a bare origin."""
    root = _repository(folder)
    inside = {**environment, **sandbox.environment, "PACKER_CACHE_DIR": str(folder / "cache")}
    source = sandbox.publish("debian-12-amd64-20261115-0600")["us-east-1"]
    template = root / "desired" / "app"
    cost = interleaved(
        {
            "packer": Command(("packer", "build", "-var", f"source_ami={source}", "."), template, inside),
            "reconcile": Command(
                (sys.executable, "-m", "reconciler", "reconcile", "app", "--force", "app"), root, inside
            ),
        },
        rounds=_ROUNDS,
    )
    what = f"reconcile of one image with {WORK_SECONDS} s of provisioning, no smoke test"
    packer, reconcile = cost["packer"].wall, cost["reconcile"].wall
    yield at_most(what, measured=reconcile, against=packer, target=1.15, floor="packer build")
    yield told("the controller's own part of it", f"{reconcile - packer:.2f} s")


def _repository(folder: Path) -> Path:
    root = folder / "repository"
    for path, text in _FILES.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "Declare app")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git(root, "remote", "add", "origin", os.fspath(folder / "origin.git"))
    git(root, "push", "--quiet", "--set-upstream", "origin", "main")
    return root


_FILES = {
    "desired/app/image.yaml": """\
source:
  ami: { name: "debian-12-amd64-*", owners: ["136693071363"], architecture: x86_64 }
smoke_test: { boot: false }
""",
    "desired/app/template.pkr.hcl": f"""\
variable "source_ami" {{
  type = string
}}

variable "image_name" {{
  type    = string
  default = ""
}}

source "amazon-ebs" "app" {{
  region        = "us-east-1"
  source_ami    = var.source_ami
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = var.image_name != "" ? var.image_name : "bare-${{formatdate("hhmmss", timestamp())}}"
}}

build {{
  sources = ["source.amazon-ebs.app"]

  provisioner "shell" {{
    inline = ["sleep {WORK_SECONDS}"]
  }}
}}
""",
}
