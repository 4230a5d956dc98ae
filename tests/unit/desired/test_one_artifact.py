"""An image is one artifact: of the builders that run, one leaves something."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reconciler.model.fleet import Fleet

Read = Callable[..., Fleet]

EBS = """\
source "amazon-ebs" "{name}" {{
  region     = "us-east-1"
  source_ami = "ami-0abc"
}}
"""
A, B = EBS.format(name="a"), EBS.format(name="b")
BOTH = 'build { sources = ["source.amazon-ebs.a", "source.amazon-ebs.b"] }\n'


def problems(fleet: Fleet) -> list[str]:
    return [str(one) for found in fleet.problems.values() for one in found]


def test_two_amis_in_one_image_are_refused_with_a_way_out_for_one_and_for_both(web: Read) -> None:
    (problem,) = problems(web("", BOTH + A + B))
    assert problem == (
        "desired/web/web.pkr.hcl:6:1: amazon-ebs.b runs beside amazon-ebs.a, and an image is one artifact: "
        "each builder leaves its own\n"
        "  choose one in desired/web/image.yaml: packer: {only: [amazon-ebs.a]}\n"
        "  for both, make each an image: another folder, whose image.yaml says "
        "packer: {template: /desired/web, only: [amazon-ebs.b]}"
    )


def test_the_ways_out_lead_out(read: Read) -> None:
    fleet = read(
        {
            "desired/web/image.yaml": "packer: {only: [amazon-ebs.a]}",
            "desired/web/web.pkr.hcl": BOTH + A + B,
            "desired/web-b/image.yaml": "packer: {template: /desired/web, only: [amazon-ebs.b]}",
        }
    )
    assert problems(fleet) == []
    assert {name: one.template.makers[0].name for name, one in fleet.images.items()} == {
        "web": "amazon-ebs.a",
        "web-b": "amazon-ebs.b",
    }


def test_an_only_that_leaves_two_is_named_as_the_place(web: Read) -> None:
    (problem,) = problems(web("description: x\npacker: {only: ['amazon-ebs.*']}", BOTH + A + B))
    assert problem.startswith("desired/web/image.yaml:2:10: amazon-ebs.b runs beside amazon-ebs.a")


def test_more_than_two_are_counted(web: Read) -> None:
    every = 'build { sources = ["source.amazon-ebs.a", "source.amazon-ebs.b", "source.amazon-ebs.c"] }\n'
    (problem,) = problems(web("", every + A + B + EBS.format(name="c")))
    assert "amazon-ebs.b and 1 more run beside amazon-ebs.a" in problem


@pytest.mark.parametrize(
    ("other", "declared"),
    [
        ("file", 'source "file" "a" { target = "out.txt" }'),
        ("amazon-ebsvolume", 'source "amazon-ebsvolume" "a" { source_ami = "ami-00000001" }'),
        ("nobody-knows", 'source "nobody-knows" "a" {}'),
    ],
)
def test_what_leaves_something_else_beside_the_ami_is_refused_before_packer_runs(
    web: Read, other: str, declared: str
) -> None:
    template = f'build {{ sources = ["source.{other}.a", "source.amazon-ebs.b"] }}\n{declared}\n{B}'
    (problem,) = problems(web("", template))
    assert f"{other}.a runs beside amazon-ebs.b" in problem
    assert "packer: {only: [amazon-ebs.b]}" in problem


def test_of_two_that_can_be_tested_the_first_of_the_template_comes_first(web: Read) -> None:
    declared = 'source "docker" "a" { image = "debian:12" }'
    (problem,) = problems(web("", f'build {{ sources = ["source.docker.a", "source.amazon-ebs.b"] }}\n{declared}\n{B}'))
    assert "amazon-ebs.b runs beside docker.a" in problem
    assert "packer: {only: [docker.a]}" in problem


def test_the_null_builder_leaves_nothing_and_may_run_along(web: Read) -> None:
    template = 'build { sources = ["source.null.a", "source.amazon-ebs.b"] }\nsource "null" "a" {}\n' + B
    fleet = web("", template)
    assert problems(fleet) == []
    assert [one.name for one in fleet.images["web"].template.makers] == ["amazon-ebs.b"]


def test_builders_of_a_json_template_are_refused_alike(read: Read) -> None:
    builder = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}
    template = {"builders": [builder | {"name": "a"}, builder | {"name": "b"}]}
    (problem,) = problems(
        read({"desired/web/image.yaml": "packer: {template: t.json}", "desired/web/t.json": json.dumps(template)})
    )
    assert "b runs beside a, and an image is one artifact" in problem
    assert "packer: {template: /desired/web/t.json, only: [b]}" in problem


TWICE = {
    "named twice in one build": 'build { sources = ["source.amazon-ebs.a", "source.amazon-ebs.a"] }\n',
    "in two builds without a name": 'build { sources = ["source.amazon-ebs.a"] }\n' * 2,
    "another source under its name": (
        'build {\n  sources = ["source.amazon-ebs.a"]\n  source "amazon-ebs.b" {\n    name = "a"\n  }\n}\n'
    ),
}


@pytest.mark.parametrize("builds", TWICE.values(), ids=TWICE)
def test_builds_of_one_name_are_as_many_artifacts_although_packer_tells_of_one(web: Read, builds: str) -> None:
    (problem,) = problems(web("", builds + A + B))
    assert "amazon-ebs.a runs a second time, and an image is one artifact" in problem


def test_build_blocks_with_names_are_told_apart_as_the_hint_says(web: Read) -> None:
    block = 'build {{\n  name    = "{0}"\n  sources = ["source.amazon-ebs.a"]\n}}\n'
    blocks = block.format("x") + block.format("y")
    assert problems(web("packer: {only: [x.amazon-ebs.a]}", blocks + A)) == []


def test_the_steps_of_each_build_of_a_name_are_its_inputs(web: Read) -> None:
    # A null builder leaves nothing, so that it may run as often as it likes.
    null = 'source "null" "n" {\n  communicator = "none"\n}\nbuild { sources = ["source.amazon-ebs.a"] }\n'
    build = 'build {{\n  sources = ["source.null.n"]\n  provisioner "shell-local" {{ script = "../../{0}.sh" }}\n}}\n'
    files = {"first.sh": "", "second.sh": ""}
    fleet = web("", A + null + build.format("first") + build.format("second"), files=files)
    assert {"first.sh", "second.sh"} <= {*fleet.images["web"].input_paths}
