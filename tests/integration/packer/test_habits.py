"""What people write by habit from Terraform, and by a slip: both Packers are the judges of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from reconciler.build.packer.binary import find
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.template import Setting, parse_template, parse_variables, read_template
from reconciler.model.errors import UserError

pytestmark = pytest.mark.packer

SOURCE = 'source "file" "x" {\n  content = "a"\n  target  = "a.txt"\n}\n'
BUILD = 'build {\n  sources = ["file.x"]\n%s}\n'
DECLARED = 'variable "x" {\n  default = "q"\n}\nvariable "y" {\n  default = "a"\n}\n'


def judged(folder: Path, files: dict[str, str]) -> tuple[bool, list[UserError]]:
    """Whether Packer takes the template, and what the reconciler says of it. The first file is the template."""
    for name, text in files.items():
        (folder / name).write_text(text)
    template, *others = files
    given = [f"-var-file={name}" for name in others if ".auto." not in name]
    target = "." if any(".auto." in name for name in others) else template
    arguments = [find(os.environ).path, "validate", *given, target]
    packers = subprocess.run(arguments, capture_output=True, check=False, cwd=folder)
    syntax: Format = "json" if template == "t.json" else "hcl2"
    try:
        setting = Setting(".", ".", var_files=tuple(parse_variables(files[name].encode(), name) for name in others))
        read = read_template([parse_template(files[template].encode(), template)], syntax, setting=setting)
    except UserError as refused:
        return packers.returncode == 0, [refused]
    return packers.returncode == 0, list(read.problems)


def differing(folder: Path, cases: dict[str, dict[str, str]]) -> dict[str, object]:
    """The cases on which the two are not of one mind, and those of which the reconciler says no place or no way out."""
    found: dict[str, object] = {}
    for at, (name, files) in enumerate(cases.items()):
        inner = folder / str(at)
        inner.mkdir()
        takes, told = judged(inner, files)
        if takes != (told == []) or any(one.where is None or not one.where.line or not one.hint for one in told):
            found[name] = told
    return found


def hcl(text: str) -> dict[str, str]:
    return {"t.pkr.hcl": text if "build {" in text else f"{SOURCE}{text}{BUILD % ''}"}


DEFAULTS = [
    "var.y", '"${var.y}"', "local.l", "path.root", 'lower("A")', "timestamp()", '["a", lower("b")]', "1 + 1",
    '"a${1}"', 'true ? "a" : "b"', '[for x in ["a"] : x]', "abc", "null", 'env("HOME")', '"${env("HOME")}"',
    '[env("HOME")]', 'env("A", "B")', 'lower(env("A"))', '{ (lower("a")) = 1 }', "[1][0]",
]  # fmt: skip
DECLARATIONS = [
    'type = lower("string")', "type = var.v", 'description = lower("x")', "description = var.y", "description = 5",
    'description = ["a"]', "description = null", "sensitive = var.y", 'sensitive = "yes"', 'sensitive = "true"',
    "sensitive = null", "sensitive = 1", "sensitive = !false", "type = foo", "type = list(foo)", "type = string()",
    "type = list(string, string)", "type = string.a", "type = list(list)", "type = map(string)",
    'sensitive = "1"', "sensitive = 0", 'sensitive = "TRUE"', 'sensitive = "True"', 'sensitive = "0"',
]  # fmt: skip


@pytest.mark.long
def test_a_variable_is_declared_with_constants_alone(packer_on_path: str | None, tmp_path: Path) -> None:
    cases = {
        one: hcl(f'{DECLARED}locals {{\n  l = 1\n}}\nvariable "v" {{\n  default = {one}\n}}\n') for one in DEFAULTS
    }
    for one in DECLARATIONS:
        default = '{ a = "b" }' if "map" in one else "null" if "list" in one else '"a"'
        cases[one] = hcl(f'variable "v" {{\n  {one}\n  default = {default}\n}}\n')
    for one in ('lower("A")', "var.b", 'env("HOME")', "1"):
        cases[f"variables: {one}"] = hcl(f"variables {{\n  b = 1\n  a = {one}\n}}\n")
    for one in ('${lower("A")}', "${var.y}", '${env("HOME")}', "a"):
        said = {"variable": {"v": {"default": one}}, "source": {"file": {"x": {"content": "a", "target": "a.txt"}}},
                "build": {"sources": ["file.x"]}}  # fmt: skip
        cases[f"JSON: {one}"] = {"t.pkr.json": json.dumps(said)}

    assert differing(tmp_path, cases) == {}


VALUES = [
    '"a"', "abc", 'lower("a")', "var.y", "path.root", 'env("X")', "{ a = 1 }", '["a"]', "5", "null", "true",
    '"${lower("a")}"', '"a${1}"', "1 + 1", 'true ? "a" : "b"', "-1", '"$${a}"', "{ a = abc }", "{ (abc) = 1 }",
]  # fmt: skip
OF_JSON = [
    '{"x": "a", "x": "b"}', '{"x": {"a": 1}}',
    '{"x": ["a"]}', '{"x": 5}', '{"x": "${lower(\\"A\\")}"}', '{"x": "${abc}"}',
    '{"//": "a", "//": "b", "x": "1"}', '[{"x": "a"}]', '{"x": null}', '{"z": 1, "z": 2}', '{"z": {"a": 1, "a": 2}}',
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", ["v.auto.pkrvars", "v.pkrvars"])
def test_a_file_of_variables_holds_constants_alone(packer_on_path: str | None, tmp_path: Path, name: str) -> None:
    template = hcl(DECLARED)
    cases = {one: {**template, f"{name}.hcl": f"x = {one}\n"} for one in VALUES}
    cases["a block"] = {**template, f"{name}.hcl": 'x = "a"\ny {\n  a = 1\n}\n'}
    if (
        name == "v.auto.pkrvars"
    ):  # given by name, what is not declared has a warning in some versions and an error in others
        cases["undeclared"] = {**template, f"{name}.hcl": "zz = abc\n"}
    cases |= {one: {**template, f"{name}.json": one} for one in OF_JSON if '"z"' not in one or ".auto." in name}
    for default, value in (
        ("5", '"abc"'),
        ("5", '"6"'),
        ("true", '"abc"'),
        ("true", '"false"'),
        ("true", "1"),
        ("5", "[5]"),
    ):
        typed = hcl(f'variable "x" {{\n  default = {default}\n}}\n')
        cases[f"{default}: {value}"] = {**typed, f"{name}.hcl": f"x = {value}\n"}

    assert differing(tmp_path, cases) == {}


OF_TERRAFORM = [
    'tostring("a")', 'toset(["a"])', "tomap({})", "tolist([])", 'tonumber("1")', 'tobool("true")', 'sensitive("a")',
    'nonsensitive("a")', 'issensitive("a")', 'one(["a"])', 'templatestring("a", {})', 'filesha256("a")', "isotime()",
    "unix_timestamp()", 'env("HOME")', 'lower("a", "b")', "lower()", 'uper("a")', "path.module", "each.value",
    "packer.nope", "source.nope",
    "data.amazon-ami.x.id", "count.index", "terraform.workspace", "abc", '"${abc}"', "[abc]", "abc == 1",
    "abc ? 1 : 2", "[for x in abc : x]", "abc[0]", "-abc", "{ a = abc }",
]  # fmt: skip
TAKEN = [
    "packer.version", "source.name", "source.type", "path.cwd", "path.root", 'convert("a", string)', "try(abc, 1)",
    'true ? "a" : tostring("a")', 'try(tostring("a"), "a")', 'can(lower("a", "b"))', 'join(",", ["a"], ["b"])',
    "[for x in [] : abc]", '{ abc = "a" }', "merge()",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("where", ["local", "source", "provisioner", "post-processor", "provisioner of another build"])
def test_a_function_or_a_name_that_no_packer_has_is_refused(
    packer_on_path: str | None, tmp_path: Path, where: str
) -> None:
    def written(one: str) -> dict[str, str]:
        if where == "local":
            return hcl(f"locals {{\n  a = {one}\n}}\n")
        text = f"jsonencode([{one}])"
        if where == "source":
            return hcl(SOURCE.replace('"a"', text, 1) + BUILD % "")
        only = '    only = ["file.z"]\n' if "another" in where else ""
        return hcl(
            SOURCE + BUILD % f'  {where.split(maxsplit=1)[0]} "shell-local" {{\n{only}    inline = [{text}]\n  }}\n'
        )

    cases = {one: written(one) for one in [*OF_TERRAFORM, *TAKEN]}
    cases["every number of arguments"] = written("build.ID")
    if where in ("source", "local"):
        del cases["every number of arguments"]
        if where == "source":
            cases = {one: text for one, text in cases.items() if not one.startswith("source.")}

    assert differing(tmp_path, cases) == {}


@pytest.mark.long
def test_a_block_with_other_labels_is_refused(packer_on_path: str | None, tmp_path: Path) -> None:
    step = '  %s {\n    inline = ["true"]\n  }\n'
    cases = {
        head: hcl(SOURCE + BUILD % (step % head))
        for kind in ("provisioner", "post-processor")
        for head in (kind, f'{kind} "shell-local"', f'{kind} "shell-local" "b"')
    }
    cases |= {
        one: hcl(f"{one} {{\n}}\n")
        for one in ("variable", 'variable "a" "b"', 'source "file"', 'source "file" "a" "b"', 'locals "a"', "locals",
                    'variables "a"', 'source "file" "b"')
    }  # fmt: skip
    cases |= {one: hcl(f"{one} {{\n  a {{\n    b = 1\n  }}\n}}\n") for one in ("locals", "variables")}
    cases["build"] = hcl(SOURCE + 'build "a" {\n  sources = ["file.x"]\n}\n')

    assert differing(tmp_path, cases) == {}


@pytest.mark.long
def test_retries_and_times_to_wait_are_refused_where_they_are_none(packer_on_path: str | None, tmp_path: Path) -> None:
    given = {
        "max_retries": ['"x"', "5", '"5"', "null", "-1", "1.5", "true", "[1]", 'lower("5")', 'lower("x")'],
        "pause_before": [
            '"abc"', '"5s"', "5", '"5"', "null", '""', "true", '["5s"]', '"1h2m"', '"5 s"', '"-5s"', '"0"', "0",
            '"1.5h"', '".5s"', '"1d"', '"+5ms"', '"5S"',
        ],
        "timeout": ['"abc"', '"5s"', "5"],
    }  # fmt: skip
    cases = {
        f"{name} = {value}": hcl(
            SOURCE + BUILD % f'  provisioner "shell-local" {{\n    {name} = {value}\n    inline = ["true"]\n  }}\n'
        )
        for name, values in given.items()
        for value in values
    }

    assert differing(tmp_path, cases) == {}


TEXTS = [
    "{{nofn}}", "{{nofn `a`}}", "{{ user `a`", "a{{", "}}", "{{user `a`}}", "{{isotime}}", "{{ if true }}a{{ end }}",
    "{{/* c */}}", "{{lower `A`}}", "{{`{{`}}}}", "{{- `a` -}}", "{{.Nope}}", "{{pwd}}", "{{uuid}}", "{{upper `a`}}",
    "{{replace_all `a` `b` `c`}}", "{{split `a-b` `-` 0}}", "{{printf `a`}}", "{{ isotime | lower }}",
]  # fmt: skip


@pytest.mark.long
def test_a_text_of_json_is_refused_where_packer_can_not_render_it(packer_on_path: str | None, tmp_path: Path) -> None:
    file = {"type": "file", "content": "a", "target": "a.txt"}
    cases = {}
    for text in TEXTS:
        step = {"type": "shell-local", "inline": [text]}
        limited = {**step, "except": ["file"]}
        if "`{{`" not in text:  # what a variable comes to is rendered once more
            cases[f"variable {text}"] = {"variables": {"a": "b", "v": text}, "builders": [file]}
        cases[f"step {text}"] = {"variables": {"a": "b"}, "builders": [file], "provisioners": [step]}
        cases[f"not run {text}"] = {"variables": {"a": "b"}, "builders": [file], "provisioners": [limited]}
    written = {name: {"t.json": json.dumps(said)} for name, said in cases.items()}
    given = {"t.json": json.dumps(cases["variable {{nofn}}"]), "v.json": '{"v": "1"}'}

    assert differing(tmp_path, {**written, "given another value": given}) == {}
