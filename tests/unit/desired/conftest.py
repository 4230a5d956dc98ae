from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.fleet import read_fleet
from reconciler.model.fleet import Fleet
from reconciler.model.tree import TreeEntry
from reconciler.ports.builder import BuildRequest

HCL = """\
variable "source_ami" { type = string }
variable "run_tags" { type = map(string) }
source "amazon-ebs" "web" {
  region       = "us-east-1"
  source_ami   = var.source_ami
  encrypt_boot = true
  metadata_options { http_tokens = "required" }
  ssh_clear_authorized_keys = true
}
build {
  sources = ["source.amazon-ebs.web"]
}
"""
SOURCE = "source: {ami: {id: ami-0abc}}\n"
BUILDER = """\
variable "source_ami" { default = "ami-0abc" }
variable "run_tags" { type = map(string) }
source "amazon-ebs" "a" {
  region       = "us-east-1"
  source_ami   = var.source_ami
  encrypt_boot = true
  metadata_options { http_tokens = "required" }
  ssh_clear_authorized_keys = true
}
"""
"""A builder to refer to as `source.amazon-ebs.a`, that nothing is to be said about."""
COMPLETE = f'build {{ sources = ["source.amazon-ebs.a"] }}\n{BUILDER}'
"""A template that needs nothing declared, and that nothing is to be said about."""


class MemoryTree:
    """A tree that holds its blobs in memory and counts how often it is read from."""

    def __init__(self, files: Mapping[str, str | bytes], modes: Mapping[str, str]) -> None:
        self.oid = "0" * 40
        self.below = ""
        self.entries: dict[str, TreeEntry] = {}
        self.reads = 0
        self._blobs: dict[str, bytes] = {}
        for path, content in sorted(files.items()):
            raw = content.encode() if isinstance(content, str) else content
            oid = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
            self._blobs[oid] = raw
            self.entries[path] = TreeEntry(path, modes.get(path, "100644"), oid)

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        self.reads += 1
        return {oid: self._blobs[oid] for oid in oids if most is None or len(self._blobs[oid]) <= most}


ReadFiles = Callable[..., Fleet]


@pytest.fixture
def tree() -> Callable[..., MemoryTree]:
    """Make a tree of paths and contents."""
    return lambda files, modes=None: MemoryTree(files, modes or {})


@pytest.fixture
def read(tree: Callable[..., MemoryTree]) -> ReadFiles:
    """Read a fleet from paths and contents."""
    return lambda files, modes=None: read_fleet(tree(files, modes))


@pytest.fixture
def web(read: ReadFiles) -> ReadFiles:
    """Read one image, web, from an image.yaml, a template, and further files; returns the fleet."""

    def read_web(yaml: str | bytes = SOURCE, template: str | None = HCL, /, **more: Mapping[str, str | bytes]) -> Fleet:
        files: dict[str, str | bytes] = {"desired/web/image.yaml": yaml, **more.get("files", {})}
        if template is not None:
            files["desired/web/web.pkr.hcl"] = template
        return read(files)

    return read_web


@pytest.fixture
def hcl() -> str:
    """A template that takes its source from us and that nothing is to be said about."""
    return HCL


@pytest.fixture
def a_request(tmp_path: Path) -> Callable[..., BuildRequest]:
    """A build of nothing in particular."""

    def make(**asked: Any) -> BuildRequest:
        return BuildRequest(
            **{
                "image": None, "build_id": "20261122T101530Z-1a2b3c4", "key": "sha256:1", "run_id": "1",
                "export": tmp_path, "run_folder": tmp_path, "log": tmp_path / "log", "environment": {}, "timeout": 1.0,
                **asked,
            }
        )  # fmt: skip

    return make
