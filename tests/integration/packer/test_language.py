"""What HCL2 came to know in the course of time: Packer itself is the judge of what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.build.packer.binary import find
from reconciler.build.packer.fit import refusals
from reconciler.build.packer.versions import CURRENT, LANGUAGE, REQUIRED_PLUGINS
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.checks import constructs
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.json_templates import read_legacy_json
from reconciler.desired.packer.variables import wrong_rules
from reconciler.model.errors import UserError
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


@pytest.mark.parametrize("source", ["github.com/hashicorp/amazon", "hashicorp/amazon", "acme.example/a/b/c"])
def test_a_plugin_whose_source_lacks_its_host_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, source: str
) -> None:
    binary = find(os.environ)
    template = tmp_path / "t.pkr.hcl"
    asked = f'packer {{\n  required_plugins {{\n    a = {{ source = "{source}", version = ">= 1" }}\n  }}\n}}\n'
    template.write_text(f"{asked}{SOURCE}{BUILD % ''}")
    judged = subprocess.run([binary.path, "init", str(template)], capture_output=True, check=False, text=True)

    told = list(refusals(binary, Template("hcl2", ("t.pkr.hcl",), (), plugins={"a": f"{source} >= 1"})))

    if binary.version < REQUIRED_PLUGINS:
        assert ["required_plugins" in error.what for error in told] == [True]
    else:
        assert ("must at least contain a host" in judged.stdout + judged.stderr) == (told != []), judged


@pytest.mark.parametrize(
    "rule",
    [
        ("length(var.a) > 0", "It has to have letters."), ("length(var.a) > 0", "Öl ist es?"),
        ("var.a != 1", " 1 of them! "),
        ("length(var.a) > 0", "no capital letter."), ("length(var.a) > 0", "No end"), ("length(var.a) > 0", ""),
        ("true", "It names nothing."), ("local.b", "It names another."),
        ("contains([for one in [1] : var.a], 1)", "It names it deep inside."),
    ],
)  # fmt: skip
def test_the_rules_of_a_variable_are_refused_where_packer_refuses_them(
    packer_on_path: str | None, tmp_path: Path, rule: tuple[str, str]
) -> None:
    binary = find(os.environ)
    template = tmp_path / "t.pkr.hcl"
    validation = f'  validation {{\n    condition     = {rule[0]}\n    error_message = "{rule[1]}"\n  }}\n'
    variable = f'variable "a" {{\n  default = "b"\n{validation}}}\n'
    template.write_text(f"{SOURCE}locals {{\n  b = true\n}}\n{variable}{BUILD % ''}")
    judged = subprocess.run([binary.path, "validate", str(template)], capture_output=True, check=False, text=True)
    takes = not any(one in judged.stdout for one in ("Invalid variable validation", "Invalid validation error"))

    blocks = read_hcl(template.read_bytes(), "t.pkr.hcl").body.blocks

    assert takes == (list(wrong_rules(blocks)) == []), judged.stdout


@pytest.mark.parametrize(
    "text",
    [
        b'{"builders": [{"type": "null", "communicator": "none"}]}',
        b'\xef\xbb\xbf{"builders": [{"type": "null", "communicator": "none"}]}',
        b'{"builders": [{"type": "null", "communicator": "none"}], "variables": {"a": "1", "a": "2"}}',
        b'{"builders": [], "builders": [{"type": "null", "communicator": "none"}]}',
        b'{"_comment": "a", "_comment": "b", "builders": [{"type": "null", "communicator": "none"}]}',
        (
            b'{"variables": {"a": "1"}, "builders": [{"type": "null", "communicator": "none"}, {"type": "null", '
            b'"communicator": "none", "name": "b"}]}'
        ),
    ],
)
def test_json_is_refused_where_packer_refuses_it(packer_on_path: str | None, tmp_path: Path, text: bytes) -> None:
    template = tmp_path / "t.json"
    template.write_bytes(text)
    judged = subprocess.run([find(os.environ).path, "validate", str(template)], capture_output=True, check=False)

    def refused() -> bool:
        try:
            read_legacy_json(text, "t.json")
        except UserError as error:
            return error.where is not None and error.where.line == 1
        return False

    assert refused() == (judged.returncode != 0), judged.stdout
