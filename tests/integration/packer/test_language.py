"""What HCL2 came to know in the course of time: Packer itself is the judge of what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from reconciler.build.packer.binary import Binary, find, version_text
from reconciler.build.packer.fit import refusals
from reconciler.build.packer.versions import CURRENT, LANGUAGE, REQUIRED_PLUGINS
from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.json_file import is_hcl2
from reconciler.desired.packer.json_templates import read_legacy_json
from reconciler.desired.packer.requirements import constructs, read_requirements
from reconciler.desired.packer.steps import expanded
from reconciler.desired.packer.template import Setting, parse_template, parse_variables, read_template
from reconciler.desired.packer.variables import nothing, wrong_rules
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Template

pytestmark = pytest.mark.packer

SOURCE = 'source "null" "x" {\n  communicator = "none"\n}\n'
BUILD = 'build {\n  sources = ["source.null.x"]\n%s}\n'
STEP = '  %s "shell-local" {\n    inline = ["true"]\n%s  }\n'

WRITTEN = {
    "packer": 'packer {\n  required_version = ">= 1.6.0"\n}\n' + BUILD % "",
    "data": 'data "null" "a" {\n  input = "a"\n}\n' + BUILD % "",
    "local": 'local "a" {\n  expression = "a"\n}\n' + BUILD % "",
    "hcp_packer_registry": 'hcp_packer_registry {\n  bucket_name = "acme"\n}\n' + BUILD % "",
    "build: hcp_packer_registry": BUILD % '  hcp_packer_registry {\n    bucket_name = "acme"\n  }\n',
    "build: error-cleanup-provisioner": BUILD % (STEP % ("error-cleanup-provisioner", "")),
    "build: post-processors": BUILD % '  post-processors {\n    post-processor "manifest" {\n    }\n  }\n',
    "provisioner: env": BUILD % (STEP % ("provisioner", '    env = { A = "b" }\n')),
    "provisioner: override": BUILD % (STEP % ("provisioner", '    override = { x = { inline = ["true"] } }\n')),
    "provisioner: continue_on_error": BUILD % (STEP % ("provisioner", "    continue_on_error = true\n")),
    'provisioner "file": content': BUILD
    % ('  provisioner "file" {\n    content = "a"\n    destination = "/tmp/a"\n  }\n'),
    'provisioner "hcp-sbom"': BUILD
    % ('  provisioner "hcp-sbom" {\n    source = "/tmp/a.json"\n    destination = "a.json"\n  }\n'),
    'post-processor "provenance"': BUILD % '  post-processor "provenance" {\n    output_dir = "out"\n  }\n',
    "variable: validation": (
        'variable "a" {\n  default = "a"\n  validation {\n    condition = var.a != ""\n'
        '    error_message = "It is empty."\n  }\n}\n'
    )
    + BUILD % "",
    "variable: any": 'variable "a" {\n  type    = list(any)\n  default = []\n}\n' + BUILD % "",
    "env()": 'variable "a" {\n  default = env("HOME")\n}\n' + BUILD % "",
    "optional()": 'variable "a" {\n  type    = object({ b = optional(string) })\n  default = {}\n}\n' + BUILD % "",
}

FUNCTIONS = (Path(__file__).parent / "functions-of-1.16.0.txt").read_text().split()
"""The functions of Packer 1.16.0: hcl2template/functions.go of its Go module."""


def packers_module() -> Path | None:
    """The source of the current Packer, where Go has kept it: Packer was built from it here."""
    keeps = os.environ.get("GOMODCACHE") or f"{os.environ.get('GOPATH') or Path.home() / 'go'}/pkg/mod"
    found = Path(keeps) / "github.com" / "hashicorp" / f"packer@v{version_text(CURRENT)}"
    return found if found.is_dir() else None


@pytest.mark.packer(once=True)
def test_every_function_of_the_current_packer_is_judged(packer_on_path: str | None) -> None:
    module = packers_module()
    if module is None:
        pytest.skip("the source of the current Packer is not here: it was not built from its modules")
    source = (module / "hcl2template" / "functions.go").read_text()
    named = {*re.findall(r'^\s+"(\w+)":\s', source, re.MULTILINE), *re.findall(r'funcs\["(\w+)"\]', source)}

    assert sorted(named) == FUNCTIONS


def test_a_function_is_refused_where_packer_knows_none_of_its_name(packer_on_path: str | None, tmp_path: Path) -> None:
    # Given a template that calls every one
    binary = find(os.environ)
    template = tmp_path / "t.pkr.hcl"
    listed = "".join(f"    {name}(),\n" for name in FUNCTIONS)
    template.write_text(f"{SOURCE}locals {{\n  a = [\n{listed}  ]\n}}\n{BUILD % ''}")
    judged = subprocess.run([binary.path, "validate", str(template)], capture_output=True, check=False, text=True)
    unknown = re.findall(r'There is no function named "(\w+)"', judged.stdout + judged.stderr)
    assert "Not enough function arguments" in judged.stdout + judged.stderr

    found = constructs([read_hcl(template.read_bytes(), "t.pkr.hcl")])
    told = list(refusals(binary, Template("hcl2", ("t.pkr.hcl",), (), constructs=found)))

    assert sorted(error.what for error in told) == sorted(
        f"the function {name}() is known to Packer from {version_text(LANGUAGE[f'{name}()'])} on, and "
        f"{binary.path} is {binary.version_text}"
        for name in set(unknown)
    )  # fmt: skip


def test_everything_that_came_in_the_course_of_time_is_judged() -> None:
    assert {*LANGUAGE} <= {*WRITTEN, *(f"{name}()" for name in FUNCTIONS)}


@pytest.mark.parametrize("construct", sorted(WRITTEN))
def test_what_a_packer_is_too_old_for_is_refused_and_nothing_else(
    packer_on_path: str | None, tmp_path: Path, construct: str
) -> None:
    # Given a template that Packer itself takes, or does not
    binary = find(os.environ)
    template = tmp_path / "t.pkr.hcl"
    template.write_text(SOURCE + WRITTEN[construct])
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
    assert (binary.version >= LANGUAGE[construct]) == (told == [])


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


@pytest.mark.packer(since=REQUIRED_PLUGINS)
@pytest.mark.parametrize("wanted", [">= 1", ">= 1.2.0-beta", "< 3, >= 1.2.0-rc.1", "1.2.3-dev", "~> 1.2"])
def test_a_plugin_is_required_in_a_prerelease_where_packer_takes_that(
    packer_on_path: str | None, tmp_path: Path, wanted: str
) -> None:
    binary = find(os.environ)
    plugins = f'required_plugins {{\n    a = {{ source = "github.com/acme/a", version = "{wanted}" }}\n  }}'
    text = f"packer {{\n  {plugins}\n}}\n{SOURCE}{BUILD % ''}"
    (tmp_path / "t.pkr.hcl").write_text(text)
    judged = subprocess.run(
        [binary.path, "validate", "t.pkr.hcl"], capture_output=True, check=False, cwd=tmp_path, text=True
    )

    told = list(refusals(binary, Template("hcl2", ("t.pkr.hcl",), (), plugins={"a": f"github.com/acme/a {wanted}"})))

    assert ("Unsupported prerelease" in judged.stdout + judged.stderr) == (told != []), judged


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


def test_what_a_json_template_uses_undeclared_is_what_a_var_file_says_or_empty(
    packer_on_path: str | None, tmp_path: Path
) -> None:
    # Given a builder that is called, and writes, what no variable of the template is
    builder = {"type": "file", "name": "{{user `flavour`}}", "target": "{{user `flavour`}}-{{user `nobody`}}.txt"}
    template, given = json.dumps({"builders": [{**builder, "content": "a"}]}), '{"flavour": "plain"}'
    (tmp_path / "t.json").write_text(template)
    (tmp_path / "v.json").write_text(given)
    arguments = [find(os.environ).path, "build", "-only=plain", "-var-file=v.json", "t.json"]
    built = subprocess.run(arguments, capture_output=True, check=False, cwd=tmp_path)

    files = [parse_template(template.encode(), "t.json")]
    only = {"plain": Place("image.yaml")}
    setting = Setting(".", ".", only=only, var_files=(parse_variables(given.encode(), "v.json"),))
    read = read_template(files, "json", setting=setting)

    assert [path.name for path in tmp_path.glob("*.txt")] == ["plain-.txt"], built.stdout
    assert [one.name for one in read.template.builders] == ["plain"]
    assert read.template.undeclared == {"flavour", "nobody"}


TWICE = {
    "a local": '"locals": {"a": {"b": 1}, "a": {"c": 1}}',
    "a key within a local": '"locals": {"a": {"b": {"c": 1}, "b": {"d": 1}}}',
    "a key within a list of a local": '"locals": {"a": [{"b": [], "b": []}]}',
    "a comment within a local": '"locals": {"a": {"//": "b", "//": "c"}}',
    "a comment beside locals": '"locals": {"//": "b", "//": "c"}',
    "locals": '"locals": {"a": {"b": 1}}, "locals": {"b": {"b": 1}}',
    "a variable": '"variable": {"a": {"default": {}}, "a": {"default": {}}}',
    "a default": '"variable": {"a": {"default": {}, "default": {}}}',
    "a key within a default": '"variable": {"a": {"default": {"b": {}, "b": {}}}}',
    "a comment in a variable": '"variable": {"a": {"//": "b", "//": "c", "default": ""}}',
    "a comment at the top": '"//": "a", "//": "b"',
    "sources": '"build": {"sources": ["file.x"], "sources": ["file.x"]}',
    "a build": '"build": {"sources": ["file.x"]}, "build": {"name": "b", "sources": ["file.x"]}',
    "the name of a build": '"build": {"name": [], "name": []}',
    "an override": (
        '"build": {"sources": ["file.x"], "provisioner": {"shell-local": {"inline": ["true"], "override": '
        '{"x": {"inline": ["true"]}, "x": {"inline": ["true"]}}}}}'
    ),
    "a list of texts": (
        '"build": {"sources": ["file.x"], "provisioner": {"shell-local": {"inline": ["true"], "inline": ["true"]}}}'
    ),
    "a provisioner": (
        '"build": {"sources": ["file.x"], "provisioner": {"shell-local": {"inline": ["true"]}, "shell-local": '
        '{"inline": ["true"]}}}'
    ),
}


@pytest.mark.parametrize("given", sorted(TWICE))
def test_a_key_that_is_given_twice_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, given: str
) -> None:
    rest = "" if '"build"' in TWICE[given] else ', "build": {"sources": ["file.x"]}'
    text = f'{{"source": {{"file": {{"x": {{"content": "a", "target": "a.txt"}}}}}}, {TWICE[given]}{rest}}}'
    (tmp_path / "t.pkr.json").write_text(text)
    given_to = [find(os.environ).path, "validate", "t.pkr.json"]
    judged = subprocess.run(given_to, capture_output=True, check=False, cwd=tmp_path)

    try:
        told = read_template([parse_template(text.encode(), "t.pkr.json")], "hcl2", setting=Setting(".", ".")).problems
    except UserError as refused:
        told = (refused,)

    assert (judged.returncode == 0) == (list(told) == []), (judged.stdout, told)
    assert all("second time" in one.what for one in told)


FILE = '{"type": "file", "content": "a", "target": "a.txt"}'
SHAPES = {
    "builders": [f"[{FILE}]", FILE, '"file"', '["file"]', "null", "[]"],
    "provisioners": ['"x"', '["shell-local"]', '{"type": "shell-local", "inline": ["true"]}', "null", "[]", "[1]"],
    "post-processors": [
        '["manifest"]', '[["compress", {"type": "manifest"}]]', '{"type": "manifest"}', '"manifest"', "[1]",
        '[[["manifest"]]]', '[{"x": 1}]', "null", "[[]]",
    ],
    "variables": ['{"a": "b"}', '{"a": 5}', '{"a": true}', '{"a": ["b"]}', '[{"a": "b"}]', '"a"', "null"],
    "sensitive-variables": ['["a"]', '"a"', "null", "[]"],
    "comments": ["[]", '[{"a": "b"}]', '"a"'],
    "push": ["{}", '"a"'],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, one) for key, every in SHAPES.items() for one in every])
def test_a_json_template_of_another_shape_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, key: str, value: str
) -> None:
    rest = "" if key == "builders" else f'"builders": [{FILE}], '
    text = f'{{{rest}"{key}": {value}}}'
    (tmp_path / "t.json").write_text(text)
    arguments = [find(os.environ).path, "validate", "t.json"]
    judged = subprocess.run(arguments, capture_output=True, check=False, cwd=tmp_path)

    try:
        told = read_template([parse_template(text.encode(), "t.json")], "json", setting=Setting(".", ".")).problems
    except UserError as refused:
        told = (refused,)

    assert (judged.returncode == 0) == (list(told) == []), (judged.stdout, told)
    assert all(one.where is not None for one in told)


LIMITS = [
    f'"{key}": {value}'
    for key in ("only", "except")
    for value in ('["file"]', '["a"]', '"file"', '"b"', "[7]", "[7.50]", "[true]", "[null]", "null", "[]", '""', "{}")
] + [
    '"only": ["{{user `b`}}"]', '"only": ["{{user `x`}}"]', '"only": ["named"]', '"only": ["file"], "except": ["file"]',
    '"only": [], "except": ["file"]', '"override": {"file": {}}', '"override": {"a": {}}', '"override": {"a": null}',
    '"override": [{"file": {}}, {"a": {}}]', '"override": null', '"override": "file"', '"override": []',
]  # fmt: skip
PLACES = {
    "provisioners": '[{"type": "shell-local", "inline": ["true"], %s}]',
    "post-processors": '["manifest", [{"type": "manifest", %s}]]',
    "error-cleanup-provisioner": '{"type": "shell-local", "inline": ["true"], %s}',
}


@pytest.mark.long
@pytest.mark.parametrize("key", PLACES)
def test_a_step_that_names_builders_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, key: str
) -> None:
    # Given steps that name builders as they are written, as they are called in the end, and others
    others = f'{FILE[:-1]}, "name": "{{{{user `b`}}}}"}}, {FILE[:-1]}, "name": ""}}'
    packer, file = find(os.environ).path, tmp_path / "t.json"

    def taken_by_both(limit: str) -> tuple[bool, bool]:
        rest = f'"variables": {{"b": "named"}}, "builders": [{others}], "{key}": {PLACES[key] % limit}'
        file.write_text(f"{{{rest}}}")
        judged = subprocess.run([packer, "validate", file.name], capture_output=True, check=False, cwd=tmp_path)
        try:
            read_legacy_json(file.read_bytes(), file.name)
        except UserError as refused:
            return judged.returncode == 0, refused.where is None
        return judged.returncode == 0, True

    # When Packer and the reconciler read them
    taken = {limit: taken_by_both(limit) for limit in LIMITS}

    # Then they are of one mind, but of what a plugin alone refuses: `override` where Packer knows none
    wrong = [limit for limit, (packers, ours) in taken.items() if packers != ours]
    assert [limit for limit in wrong if key == "provisioners" or "override" not in limit] == []


_REST = 'source "file" "x" {\n  content = "a"\n  target = "a.txt"\n}\n'
LATIN_1 = {
    "in a comment": ("t.pkr.hcl", _REST.replace('"a"', '"a" // \xe9').replace('t"', 't" /* \xff */') + "# caf\xe9\n"),
    "in a text": ("t.pkr.hcl", _REST.replace('"a"', '"caf\xe9"')),
    "in a text of lines": ("t.pkr.hcl", _REST.replace('"a"', "<<E\ncaf\xe9\nE")),
    "in an expression": ("t.pkr.hcl", _REST.replace('"a"', 'upper("\xe9")')),
    "in a comment in an expression": ("t.pkr.hcl", _REST.replace('"a"', 'join("", [ # \xe9\n"a"])')),
    "in a name": ("t.pkr.hcl", "locals {\n  caf\xe9 = 1\n}\n" + _REST),
    "between": ("t.pkr.hcl", _REST + "\xe9\n"),
    "in JSON": ("t.json", '{"builders": [{"type": "file", "content": "caf\xe9", "target": "a.txt"}]}'),
    "in a key of JSON": ("t.json", '{"_\xe9": 1, "builders": [{"type": "file", "content": "a", "target": "a.txt"}]}'),
    "between in JSON": ("t.json", '{"builders": [{"type": "file", "content": "a", "target": "a.txt"}] \xe9}'),
    "in HCL's JSON": (
        "t.pkr.json",
        '{"source": {"file": {"x": {"content": "caf\xe9", "target": "a.txt"}}}, "build": {"sources": ["file.x"]}}',
    ),
}


@pytest.mark.parametrize("where", LATIN_1)
def test_bytes_that_are_no_utf_8_are_taken_where_packer_takes_them(
    packer_on_path: str | None, tmp_path: Path, where: str
) -> None:
    name, text = LATIN_1[where]
    written = f'{text}build {{\n  sources = ["file.x"]\n}}\n' if name == "t.pkr.hcl" else text
    (tmp_path / name).write_bytes(written.encode("latin-1"))
    judged = subprocess.run([find(os.environ).path, "validate", name], capture_output=True, check=False, cwd=tmp_path)

    form: Format = "json" if name == "t.json" else "hcl2"
    try:
        given = [parse_template(written.encode("latin-1"), name)]
        told = read_template(given, form, setting=Setting(".", ".")).problems
    except UserError as refused:
        told = (refused,)

    assert (judged.returncode == 0) == (list(told) == []), (judged.stdout, told)


TERRAFORMS = [
    f'variable "a" {{\n  type    = {type_}\n  default = {default}\n}}\n'
    for type_, default in [
        ("string", '"x"'), ('"string"', '"x"'), ("list", "[]"), ("map", "{}"), ("list(string)", "[]"), ("set", "[]"),
        ('"list(string)"', "[]"), ("tuple([string])", '["a"]'), ("object({})", "{}"),
    ]
]  # fmt: skip
ARGUMENTS = [f'variable "a" {{\n  default = "x"\n  {one}\n}}\n' for one in [
    "nullable = false", "ephemeral = true", "sensitive = true", 'description = "It is a."', "deafult = 1",
]]  # fmt: skip
OVER = [
    f'build {{\n  source "file.x" {{\n    {one}\n  }}\n}}\n'
    for one in ['name = "b"', 'target = "b.txt"', 'name = "b"\n    content = "b"']
]
SOURCES = [f"build {{\n  sources = {one}\n}}\n" for one in ['["file.x"]', "[source.file.x]", '["source.file.x"]']]


@pytest.mark.parametrize("text", [*TERRAFORMS, *ARGUMENTS, *OVER, *SOURCES])
def test_what_is_terraforms_or_set_twice_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, text: str
) -> None:
    source = 'source "file" "x" {\n  content = "a"\n  target  = "a.txt"\n}\n'
    whole = source + text + ("" if text.startswith("build") else 'build {\n  sources = ["file.x"]\n}\n')
    (tmp_path / "t.pkr.hcl").write_text(whole)
    arguments = [find(os.environ).path, "validate", "t.pkr.hcl"]
    judged = subprocess.run(arguments, capture_output=True, check=False, cwd=tmp_path)

    try:
        read = read_template([parse_template(whole.encode(), "t.pkr.hcl")], "hcl2", setting=Setting(".", "."))
        told = read.problems
    except UserError as refused:
        told = (refused,)

    assert (judged.returncode == 0) == (list(told) == []), (judged.stdout, told)


def problems_of(text: str, name: str, binary: Binary | None = None) -> list[UserError]:
    """What is wrong with what a template asks of Packer: of any, or of this one."""
    syntax: Format = "hcl2" if is_hcl2(name) else "json"
    try:
        files = expanded([parse_template(text.encode(), name)], nothing())
    except UserError as refused:
        return [refused]
    blocks = [block for file in files for block in file.body.blocks]
    required = read_requirements(blocks, (), scope=nothing(), syntax=syntax)
    wanted = required.version.text if required.version else ""
    template = Template(syntax, (name,), (), required_version=wanted)
    return [*required.problems, *(refusals(binary, template) if binary is not None else ())]


@pytest.mark.parametrize(
    "wanted",
    [
        "", None, " 1.6.0", "1.6.0 ", "1.6.0, < 2", "1.6", "v1.6.0", ">= 1.6.0", 1.6, "1.6.0-dev", "x", "99",
        "1.6.0-rc.1+x", "1.2.3.4", True, [],
    ],
    ids=repr,
)  # fmt: skip
def test_the_oldest_packer_of_a_json_template_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, wanted: object
) -> None:
    binary = find(os.environ)
    text = json.dumps({"min_packer_version": wanted, "builders": [{"type": "null", "communicator": "none"}]})
    (tmp_path / "t.json").write_text(text)
    judged = subprocess.run([binary.path, "validate", "t.json"], capture_output=True, check=False, cwd=tmp_path)

    assert (problems_of(text, "t.json", binary) == []) == (judged.returncode == 0), judged.stdout


@pytest.mark.parametrize(
    "wanted",
    [
        "1.6", "1", "true", "null", '"1.6"', '" >= 1.6.0"', '">= 1.6.0 , < 2"', '">= 1.6.0-dev"', '"${">= 1.6"}"',
        '"> 99"', "1.6 + 1", '""', "[]", '"latest"', "var.a",
    ],
)  # fmt: skip
def test_the_version_that_is_required_is_refused_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, wanted: str
) -> None:
    binary = find(os.environ)
    text = f"packer {{\n  required_version = {wanted}\n}}\n{SOURCE}{BUILD % ''}"
    (tmp_path / "t.pkr.hcl").write_text(text)
    judged = subprocess.run([binary.path, "validate", "t.pkr.hcl"], capture_output=True, check=False, cwd=tmp_path)

    assert (problems_of(text, "t.pkr.hcl", binary) == []) == (judged.returncode == 0), judged.stdout


NAMES = ("amazon", "ama_zon", "Amazon", "ama--zon", "-amazon", "amazon-", "amazon1", "ama-zon", "ämazon")
ENTRY = '%s = { source = "github.com/acme/%s", version = ">= 1" }'
MADE = f'dynamic "required_plugins" {{\n for_each = [1]\n content {{\n  {ENTRY % ("a", "a")}\n }}\n}}'


@pytest.mark.packer(since=REQUIRED_PLUGINS)
@pytest.mark.parametrize(
    "block",
    [
        *(f"required_plugins {{\n{ENTRY % ('a', name)}\n}}" for name in NAMES),
        *(f"required_plugins {{\n{ENTRY % (name, 'a')}\n}}" for name in NAMES if name[0] != "-"),
        MADE,
        "required_plugins = {}",
    ],
)
def test_plugins_are_refused_where_packer_refuses_what_they_are_called(
    packer_on_path: str | None, tmp_path: Path, block: str
) -> None:
    binary = find(os.environ)
    text = f"packer {{\n  {block}\n}}\n{SOURCE}{BUILD % ''}"
    (tmp_path / "t.pkr.hcl").write_text(text)
    judged = subprocess.run(
        [binary.path, "validate", "t.pkr.hcl"], capture_output=True, check=False, cwd=tmp_path, text=True
    )

    takes = "Error: Missing plugins" in judged.stdout + judged.stderr
    assert (problems_of(text, "t.pkr.hcl") == []) == takes, judged
