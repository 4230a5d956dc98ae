"""Where an image is wanted: what is declared, and what its template copies to by itself."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from reconciler.model.fleet import Fleet, Image
from tests.unit.desired.conftest import COMPLETE

Read = Callable[..., Fleet]


def image(fleet: Fleet) -> Image:
    assert not fleet.problems, [str(one) for one in fleet.problems["web"]]
    return fleet.images["web"]


def copying(value: str) -> str:
    variables = 'variable "more" { default = env("MORE") }\nvariable "two" { default = ["eu-west-1", "us-east-1"] }\n'
    return variables + COMPLETE.replace("encrypt_boot", f"ami_regions  = {value}\n  encrypt_boot")


@pytest.mark.parametrize(
    ("yaml", "value", "regions"),
    [
        ("", '["eu-west-1"]', ("us-east-1", "eu-west-1")),
        ("", '["us-east-1", "eu-west-1", "eu-west-1"]', ("us-east-1", "eu-west-1")),
        ("", "var.two", ("us-east-1", "eu-west-1")),
        ("", "[]", ("us-east-1",)),
        ("", "null", ("us-east-1",)),
        ("regions: [us-east-1, ap-south-1]", '["eu-west-1"]', ("us-east-1", "ap-south-1", "eu-west-1")),
    ],
)
def test_regions_that_the_template_copies_to_are_wanted(
    web: Read, yaml: str, value: str, regions: tuple[str, ...]
) -> None:
    found = image(web(yaml, copying(value)))
    assert (found.locations, found.copied_elsewhere) == (regions, False)


def test_a_region_that_only_the_template_has_is_noted(web: Read) -> None:
    found = image(web("regions: [us-east-1, eu-west-1]", copying('["eu-west-1", "ap-south-1"]')))
    assert found.notes == (
        "desired/web/web.pkr.hcl:9:3: ami_regions adds ap-south-1 to the regions of desired/web/image.yaml",
    )


@pytest.mark.parametrize("value", ["var.more", '["eu-west-1", var.more]'])
def test_where_the_copies_can_t_be_known_no_region_is_one_too_many(web: Read, value: str) -> None:
    found = image(web("", copying(value)))
    assert found.copied_elsewhere
    assert found.notes == (
        "desired/web/web.pkr.hcl:9:3: ami_regions is only known to Packer: what it copies to counts as wanted",
    )


@pytest.mark.parametrize(
    ("value", "regions"), [("eu-west-1, ap-south-1", ("us-east-1", "eu-west-1", "ap-south-1")), ("", ("us-east-1",))]
)
def test_in_json_the_regions_may_be_one_text(read: Read, value: str, regions: tuple[str, ...]) -> None:
    builder = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc", "ami_regions": "{{user `more`}}"}
    template = json.dumps({"variables": {"more": value}, "builders": [builder]})
    assert image(read({"desired/web/t.json": template})).locations == regions


REGIONAL = """\
variable "aws_region" {{ {default} }}
variable "run_tags" {{ type = map(string) }}
variable "source_ami" {{ default = "" }}
locals {{
  amis  = {{ us-east-1 = "ami-0aaa", eu-west-1 = "ami-0bbb" }}
  place = var.aws_region
}}
source "amazon-ebs" "a" {{
  region     = local.place
  source_ami = {source}
}}
build {{
  sources = ["source.amazon-ebs.a"]
  provisioner "shell" {{ script = "../../regions/${{local.place}}.sh" }}
  provisioner "shell" {{ script = var.source_ami == "" ? "../../without.sh" : "../../with.sh" }}
}}
"""
SCRIPTS = {"regions/us-east-1.sh": "", "regions/eu-west-1.sh": "", "with.sh": "", "without.sh": ""}


@pytest.mark.parametrize("default", ['default = "us-east-1"', "type = string"])
def test_what_a_template_makes_of_its_region_is_made_of_the_one_that_is_passed(web: Read, default: str) -> None:
    template = REGIONAL.format(default=default, source="local.amis[local.place]")
    found = image(web("regions: [eu-west-1, us-east-1]", template, files=SCRIPTS))
    assert "regions/eu-west-1.sh" in found.input_paths
    assert "regions/us-east-1.sh" not in found.input_paths
    assert found.source is not None
    assert found.source.upstream is not None
    assert found.source.upstream == ("ami", {"id": "ami-0bbb"})


def test_a_region_that_is_set_in_image_yaml_is_the_one_that_counts(web: Read) -> None:
    template = REGIONAL.format(default='default = "us-east-1"', source="local.amis[local.place]")
    yaml = "regions: [eu-west-1]\npacker: {variables: {aws_region: eu-west-1}}"
    assert "regions/eu-west-1.sh" in image(web(yaml, template, files=SCRIPTS)).input_paths


def test_a_build_is_given_a_source_so_that_files_for_the_case_without_one_may_not_be_the_ones(web: Read) -> None:
    found = image(web("", REGIONAL.format(default='default = "us-east-1"', source='"ami-0abc"'), files=SCRIPTS))
    assert {"with.sh", "without.sh"} <= {*found.input_paths}
    assert any("what script names is only known to Packer" in note for note in found.notes)


@pytest.mark.parametrize("written", ["", "../../x", "US-EAST-1"])
@pytest.mark.parametrize("key", ["regions", "locations"])
def test_what_is_no_regions_name_is_told_with_its_place(web: Read, key: str, written: str) -> None:
    problem, *_ = web(f'{key}: ["{written}"]\n', COMPLETE).problems["web"]
    assert str(problem) == (
        f'desired/web/image.yaml:1:{len(key) + 4}: {key}[0]: "{written}" is not a region\'s name such as us-east-1'
    )
