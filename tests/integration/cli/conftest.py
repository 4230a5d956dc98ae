"""A fleet in a real repository, and the `reconciler` command as a shell runs it; no registry is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.schema import FORMATS
from tests.command import Command

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"

TEMPLATE = """\
variable "source_ami" { type = string }
source "amazon-ebs" "image" {
  ami_name      = "image"
  instance_type = "t3.micro"
  source_ami    = var.source_ami
  ssh_username  = "admin"
}
build { sources = ["source.amazon-ebs.image"] }
"""


def conforms(document: Any, title: str) -> None:
    """Check a document by the schema of what has this title."""
    (name,) = [name for name, (_, of) in FORMATS.items() if of == title]
    Draft202012Validator(json.loads((SCHEMAS / name).read_text())).validate(document)


@dataclass(frozen=True)
class Fleet:
    """A checkout, and what is done in it."""

    root: Path
    command: Command

    def commit(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, check=True)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        return self.command.run(*arguments, cwd=self.root)

    def shell(self, redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command with its streams as a shell leaves them, such as `>&-`."""
        command = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "reconciler", *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture
def fleet(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """An image `base`, and `web` on top of it."""
    return begun(tmp_path, command, monkeypatch)


def begun(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The same, for tests of another folder."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "AWS_", "XDG_")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fleet = Fleet(tmp_path / "fleet", command)
    fleet.root.mkdir()
    fleet.git("init", "--quiet", "--initial-branch=main")
    fleet.git("config", "user.name", "Ada")
    fleet.git("config", "user.email", "ada@example.org")
    fleet.commit(
        {
            "desired/reconciler.yaml": "defaults: { regions: [us-east-1], smoke_test: { boot: false } }\n",
            "desired/base/base.pkr.hcl": TEMPLATE,
            "desired/base/image.yaml": "source: { ami: { id: ami-0aa11bb22cc33dd44 } }\n",
            "desired/web/web.pkr.hcl": TEMPLATE,
            "desired/web/image.yaml": "source: { image: base }\n",
        }
    )
    return fleet
