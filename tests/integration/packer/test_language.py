"""What HCL2 came to know in the course of time: Packer itself is the judge of what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.build.packer.binary import find
from reconciler.build.packer.plugins import refusals
from reconciler.build.packer.versions import CURRENT, LANGUAGE
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.checks import constructs
from reconciler.desired.packer.hcl import read_hcl
from reconciler.model.fleet import Template

pytestmark = pytest.mark.packer

SOURCE = 'source "null" "x" {\n  communicator = "none"\n}\n'
BUILD = 'build {\n  sources = ["source.null.x"]\n%s}\n'
STEP = '  %s "shell-local" {\n    inline = ["true"]\n%s  }\n'

WRITTEN = {
    "data": 'data "null" "a" {\n  input = "a"\n}\n' + BUILD % "",
    "local": 'local "a" {\n  expression = "a"\n}\n' + BUILD % "",
    "hcp_packer_registry": 'hcp_packer_registry {\n  bucket_name = "acme"\n}\n' + BUILD % "",
    "build: hcp_packer_registry": BUILD % '  hcp_packer_registry {\n    bucket_name = "acme"\n  }\n',
    "build: error-cleanup-provisioner": BUILD % (STEP % ("error-cleanup-provisioner", "")),
    "provisioner: env": BUILD % (STEP % ("provisioner", '    env = { A = "b" }\n')),
    "optional()": 'variable "a" {\n  type    = object({ b = optional(string) })\n  default = {}\n}\n' + BUILD % "",
}
ARGUMENTS = {
    "regex": '"a", "a"', "regexall": '"a", "a"', "legacy_isotime": '"06"', "templatefile": '"text", {}',
    "alltrue": "[true]", "anytrue": "[true]", "base64gzip": '"a"', "strcontains": '"a", "a"', "endswith": '"a", "a"',
    "startswith": '"a", "a"', "sum": "[1]", "rfc3339_parse": '"2026-11-30T00:00:00Z"',
    "unix_timestamp_parse": "1",
}  # fmt: skip


def written(construct: str) -> str:
    """A template that holds it."""
    name = construct.removesuffix("()")
    if name in ARGUMENTS:
        return SOURCE + f"locals {{\n  a = {name}({ARGUMENTS[name]})\n}}\n" + BUILD % ""
    return SOURCE + WRITTEN[construct]


@pytest.mark.parametrize("construct", sorted(LANGUAGE))
def test_what_a_packer_is_too_old_for_is_refused_and_nothing_else(
    packer_on_path: str | None, tmp_path: Path, construct: str
) -> None:
    # Given a template that Packer itself takes, or does not
    binary = find(os.environ)
    template = tmp_path / "t.pkr.hcl"
    template.write_text(written(construct))
    (tmp_path / "text").write_text("a")
    takes = subprocess.run([binary.path, "validate", str(template)], capture_output=True, check=False, cwd=tmp_path)

    found = constructs([read_hcl(template.read_bytes(), "t.pkr.hcl")])
    syntax: Format = "hcl2"
    told = list(refusals(binary, Template(syntax, ("t.pkr.hcl",), (), constructs=found)))

    assert construct in found
    assert (takes.returncode == 0) == (told == []), takes.stdout + takes.stderr
    for error in told:
        assert binary.version_text in error.what
        assert error.where is not None
        assert error.where.line is not None
    assert (binary.version >= CURRENT) == (told == [])
