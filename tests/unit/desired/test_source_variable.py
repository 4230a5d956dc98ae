"""The AMI that an image is built on, given to the template by a variable of its own choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.build.workplace import given_variables
from reconciler.model.declaration import Declaration
from reconciler.model.fleet import Fleet
from reconciler.model.source import SourceRequest
from reconciler.plan.key import wanted
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.dialect import AMI

Read = Callable[..., Fleet]
BASE = {
    "desired/base/image.yaml": "source: {ssm: /x}\n",
    "desired/base/t.pkr.hcl": """\
variable "source_ami" { type = string }
source "amazon-ebs" "a" {
  region     = "us-east-1"
  source_ami = var.source_ami
}
build { sources = ["source.amazon-ebs.a"] }
""",
}
TEMPLATE = BASE["desired/base/t.pkr.hcl"]
OTHER_NAME = TEMPLATE.replace('"source_ami"', '"base_ami"').replace("var.source_ami", "var.base_ami")


def child(read: Read, yaml: str, template: str = OTHER_NAME, name: str = "t.pkr.hcl") -> Fleet:
    return read(BASE | {"desired/web/image.yaml": yaml, f"desired/web/{name}": template})


def problem(fleet: Fleet) -> str:
    ((one,),) = fleet.problems.values()
    return str(one)


@pytest.mark.parametrize("source", ["image: base", "ssm: /x", "ami: {id: ami-0abc}"])
def test_any_source_may_be_given_by_a_variable_of_another_name(read: Read, source: str) -> None:
    fleet = child(read, f"source: {{{source}, variable: base_ami}}\n")
    assert fleet.problems == {}
    image = fleet.images["web"]
    assert type(image.source) is SourceRequest, "how it is passed is no part of what is recorded"
    assert not any("source_ami" in note or "base_ami" in note for note in image.notes)


def test_the_variable_is_given_what_the_source_is_pinned_to(read: Read, a_request: Callable[..., BuildRequest]) -> None:
    image = child(read, "source: {image: base, variable: base_ami}\n").images["web"]
    given = given_variables(replace(a_request(), image=image, source="ami-1"))
    assert given == {"base_ami": "ami-1"}


def test_a_json_template_s_variable_too(read: Read) -> None:
    template = {
        "variables": {"base_ami": None},
        "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "{{user `base_ami`}}"}],
    }
    yaml = "packer: {template: t.json}\nsource: {image: base, variable: base_ami}\n"
    assert child(read, yaml, json.dumps(template), "t.json").problems == {}


def test_a_variable_that_the_template_does_not_declare_is_told(read: Read) -> None:
    assert problem(child(read, "source: {image: base, variable: base_mai}\n")) == (
        'desired/web/image.yaml:1:23: source.variable: the template declares no variable "base_mai"\n'
        '  did you mean "base_ami"?'
    )


def test_a_variable_is_given_by_one_of_us(read: Read) -> None:
    yaml = "source: {image: base, variable: base_ami}\npacker: {variables: {base_ami: ami-1}}\n"
    assert "base_ami is given by the reconciler, as `source.variable` says" in problem(child(read, yaml))


def test_what_is_given_something_else_is_refused(read: Read) -> None:
    template = OTHER_NAME.replace("base_ami", "image_name")
    told = problem(child(read, "source: {image: base, variable: image_name}\n", template))
    assert "source.variable: image_name is given something else" in told


def test_another_variable_is_another_build_and_none_is_the_same_as_ever(read: Read) -> None:
    both = OTHER_NAME + 'variable "source_ami" { default = "" }\n'
    keys = [
        wanted(child(read, f"source: {{image: base{more}}}\n", both).images["web"], None).components
        for more in ("", ", variable: source_ami", ", variable: base_ami")
    ]
    assert keys[0] == keys[1]
    assert {name for name in keys[0] if keys[0][name] != keys[2][name]} == {"variables"}


def test_a_declaration_without_it_reads_as_before_there_was_the_key() -> None:
    source = Declaration.model_validate({"source": {"image": "base"}}).source
    assert source is not None
    assert AMI.whole(source.request) == {"ami": None, "ssm": None, "image": "base", "channel": None}
