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
    assert (found.regions, found.copied_elsewhere) == (regions, False)


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
    assert image(read({"desired/web/t.json": template})).regions == regions
