"""What Packer is sure to refuse, told before it is started. Each case was seen with Packer 1.6.6."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.desired.packer.syntax import UNKNOWN
from reconciler.desired.packer.variables import takes
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import BUILDER, COMPLETE

Read = Callable[..., Fleet]
PLACE = "desired/web/web.pkr.hcl:11"


def problem(fleet: Fleet) -> Any:
    (found,) = fleet.problems["web"]
    return str(found)


def built(*lines: str) -> str:
    body = "".join(f"  {line}\n" for line in lines)
    return f'build {{\n  sources = ["source.amazon-ebs.a"]\n{body}}}\n{BUILDER}'


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("locals { a = var.regoin }", 'var.regoin is used, and no variable "regoin" is declared'),
        ("locals { a = local.b }", 'local.b is used, and no local "b" is declared'),
        ('locals { a = ["${upper(var.b)}"] }', 'var.b is used, and no variable "b" is declared'),
        ('variable "run_tags" {}', 'variable "run_tags" is declared a second time; the first is desired/web/web'),
        ('variables { run_tags = "" }', 'variable "run_tags" is declared a second time'),
        ('source "amazon-ebs" "a" {}', 'source "amazon-ebs" "a" is declared a second time'),
        ('sorce "amazon-ebs" "b" {}', 'there is no block "sorce" at the top of a template\n  did you mean "source"?'),
        ('region = "us-east-1"', '"region" is set outside of any block'),
        (
            "locals { a = [local.b] }\nlocals { b = local.a }",
            "the locals are made of each other: local.a → local.b → local.a",
        ),
        ('locals { a = "${local.a}x" }', "the locals are made of each other: local.a → local.a"),
        (
            'variable "size" {\n  type = number\n  default = "t3.small"\n}',
            'variable "size" takes number, and its default',
        ),
    ],
)
def test_a_template_that_packer_is_sure_to_refuse_is_told_with_its_place(web: Read, more: str, expected: str) -> None:
    found = problem(web("", COMPLETE + more))
    assert found.startswith(PLACE)
    assert expected in found


@pytest.mark.parametrize(
    "line",
    ['provisioner "shell" { inline = [var.x] }', 'post-processor "shell-local" { inline = ["echo ${var.x}"] }'],
)
def test_a_step_that_uses_what_is_not_declared_is_told(web: Read, line: str) -> None:
    assert 'var.x is used, and no variable "x" is declared' in problem(web("", built(line)))


@pytest.mark.parametrize(
    "more",
    [
        'source "amazon-ebs" "b" { region = var.x }',
        'locals { a = try(var.x, "") }',
        'locals { a = true ? "" : var.x }',
        "locals { a = [for var in [{ x = 1 }] : var.x] }",
        'locals { a = "var.x" } # local.y',
        'hcp_packer_registry { bucket_name = "x" }',
        'communicator "ssh" "x" {}',
        'local "a" { expression = "x" }',
    ],
)
def test_what_packer_may_take_is_left_to_it(web: Read, more: str) -> None:
    assert not web("", COMPLETE + more).problems


def test_a_step_that_is_not_run_for_the_build_may_use_anything(web: Read) -> None:
    step = 'provisioner "shell" {\n    only = ["amazon-ebs.b"]\n    inline = [var.x]\n  }'
    assert not web("", built(step)).problems


def test_an_undeclared_variable_in_a_json_template_of_hcl_is_told(read: Read) -> None:
    step = {"shell": {"inline": ["echo ${var.x}"]}}
    template = json.dumps({"build": {"sources": ["source.amazon-ebs.a"], "provisioner": [step]}})
    fleet = read({"desired/web/b.pkr.json": template, "desired/web/s.pkr.hcl": BUILDER})
    assert "desired/web/b.pkr.json:1:75: var.x is used" in problem(fleet)


def test_a_local_that_is_set_twice_is_noted_as_not_every_packer_refuses_it(web: Read) -> None:
    (note,) = web("", f'{COMPLETE}locals {{ a = "1" }}\nlocals {{ a = "2" }}\n').images["web"].notes
    assert note.startswith("desired/web/web.pkr.hcl:12:10: local.a is set a second time; the first is desired/web/")


REQUIRED = f'{COMPLETE}variable "token" {{ sensitive = true }}\n'


def test_a_variable_that_only_the_environment_can_give_is_noted(web: Read) -> None:
    assert web("", REQUIRED).images["web"].notes == (
        f'{PLACE}:1: variable "token" has no value: the build fails unless PKR_VAR_token is set where it runs',
    )


@pytest.mark.parametrize(
    ("yaml", "files"),
    [
        ("packer: {variables: {token: x}}", {}),
        ("packer: {var_files: [x.pkrvars.hcl]}", {"desired/web/x.pkrvars.hcl": 'token = "x"'}),
        ("", {"desired/web/x.auto.pkrvars.json": '{"token": "x"}'}),
    ],
)
def test_a_variable_that_is_given_a_value_is_not_noted(web: Read, yaml: str, files: dict[str, str]) -> None:
    assert web(yaml, REQUIRED, files=files).images["web"].notes == ()


def test_the_variable_of_the_region_is_given_by_us(web: Read) -> None:
    template = COMPLETE.replace('"us-east-1"', "var.region") + 'variable "region" {}\n'
    assert web("regions: [eu-west-1]", template).images["web"].notes == ()


AMI = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"variables": {"x": None}, "builders": [AMI]}, 'variable "x" has no value\n  add it to packer.variables'),
        ({"builders": [AMI, AMI]}, 'a builder before is called "amazon-ebs", too (desired/web/a.json:1:15)'),
        ({"builders": []}, 'the template builds nothing\n  add one to "builders"'),
    ],
)
def test_a_legacy_template_that_packer_is_sure_to_refuse_is_told(read: Read, template: Any, expected: str) -> None:
    assert expected in problem(read({"desired/web/a.json": json.dumps(template)}))


@pytest.mark.parametrize(
    ("yaml", "place"),
    [
        ("packer: {variables: {size: t3.small}}", "image.yaml:1:22"),
        ("packer: {var_files: [x.pkrvars.hcl]}", "x.pkrvars.hcl:1:1"),
    ],
)
def test_a_value_that_its_variable_can_t_take_is_told_and_not_repeated(web: Read, yaml: str, place: str) -> None:
    template = f'{COMPLETE}variable "size" {{ type = number }}\n'
    found = problem(web(yaml, template, files={"desired/web/x.pkrvars.hcl": 'size = "t3.small"'}))
    assert found.startswith(f'desired/web/{place}: variable "size" takes number, and this value is something else')
    assert "t3.small" not in found


@pytest.mark.parametrize(
    ("type_", "right", "wrong"),
    [
        ("string", ["x", 5, True, None, UNKNOWN], [["x"], {}]),
        ("number", [5, 1.5, "12", "-5", ".5", "1e3", "inf"], ["t3.small", "12abc", "0x10", True, [1]]),
        ("bool", [True, "true", "0"], ["yes", "True", 1, []]),
        ("list(string)", [["x"], UNKNOWN], ["x", 5, {}]),
        ("map(string)", [{}], ["x", []]),
        ("object({ a = string })", [{}, "x"], []),
        ("", ["x", [], {}], []),
    ],
)
def test_a_type_takes_what_packer_can_convert(type_: str, right: list[object], wrong: list[object]) -> None:
    assert [value for value in (*right, *wrong) if takes(type_, value)] == right


def test_a_template_that_leaves_nothing_is_refused(web: Read) -> None:
    template = 'source "null" "a" {}\nbuild { sources = ["source.null.a"] }\n'
    assert problem(web("", template)).endswith(
        "desired/web/web.pkr.hcl:1:1: null.a leaves nothing, and nothing else that runs does\n"
        "  take a builder that makes an image, or choose another with packer.only"
    )


def test_a_source_of_another_kind_is_refused(web: Read) -> None:
    template = 'source "nobody-knows" "a" {}\nbuild { sources = ["source.nobody-knows.a"] }\n'
    assert problem(web("source: {ami: {id: ami-0abc}}\n", template)) == (
        "desired/web/image.yaml:1:10: nobody-knows.a leaves an artifact, which is not built on ami\n"
        "  declare one of image: …"
    )


def test_a_child_of_no_known_kind_has_to_say_how_it_is_given_its_parent(read: Read) -> None:
    template = 'source "nobody-knows" "a" {}\nbuild { sources = ["source.nobody-knows.a"] }\n'
    named = 'variable "on" { type = string }\n' + template
    files = {"desired/base/t.pkr.hcl": template, "desired/web/t.pkr.hcl": template, "desired/api/t.pkr.hcl": named}
    yaml = {
        "desired/web/image.yaml": "source: {image: base}\n",
        "desired/api/image.yaml": "source: {image: base, variable: on}\n",
    }
    fleet = read({**files, **yaml})
    assert problem(fleet) == (
        "desired/web/image.yaml:1:1: nothing says how nobody-knows.a is given what it is built on\n"
        "  name the template's variable for it: source: {image: …, variable: …}"
    )
    assert fleet.images["api"].parent == "base"


IMPORTED = """\
source "qemu" "a" {}
build {
  sources = ["source.qemu.a"]
  post-processors {
    post-processor "amazon-import" {}
  }
}
"""


def test_an_imported_ami_needs_its_regions_declared(web: Read) -> None:
    assert "it can't be known in which region qemu.a builds" in problem(web("", IMPORTED))
    assert web("regions: [us-east-1]", IMPORTED).images["web"].build_location == "us-east-1"


def test_half_of_a_surrogate_pair_is_read_as_packer_reads_it(read: Read) -> None:
    template = json.dumps({"builders": [AMI | {"name": "x"}]}).replace('"x"', '"x\\ud800"')
    (builder,) = read({"desired/web/a.json": template}).images["web"].template.builders
    assert builder.name == "x\ufffd"
