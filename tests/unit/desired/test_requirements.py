"""What a template asks of Packer and of its plugins, with the places where it does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.model.errors import Place

HCL = """\
packer {
  required_version = ">= 1.7.0, < 2"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.2"
    }
    scan = {
      source  = "github.com/acme/goss"
      version = "3.2.14"
    }
  }
}
source "amazon-ebs" "web" {
  region     = "us-east-1"
  source_ami = "ami-0123456789abcdef0"
}
data "amazon-ami" "base" {}
build {
  sources = ["amazon-ebs.web"]
  provisioner "shell" { inline = ["true"] }
  provisioner "ansible-local" {
    only          = ["amazon-ebs.other"]
    playbook_file = "web.pkr.hcl"
  }
  error-cleanup-provisioner "shell-local" { inline = ["true"] }
  post-processors {
    post-processor "manifest" {}
    post-processor "scan" {}
  }
}
"""


def template(read: Any, text: str, name: str = "web.pkr.hcl") -> Any:
    fleet = read({"desired/web/image.yaml": "", f"desired/web/{name}": text})
    assert dict(fleet.problems) == {}
    return fleet.images["web"].template


def test_constraints_are_read_as_written_with_their_places(read: Any) -> None:
    found = template(read, HCL)

    assert found.required_version == ">= 1.7.0, < 2"
    assert found.required_version_place == Place("desired/web/web.pkr.hcl", 2, 3)
    assert found.plugins == {"amazon": "github.com/hashicorp/amazon ~> 1.2", "scan": "github.com/acme/goss 3.2.14"}
    assert found.plugin_places["scan"] == Place("desired/web/web.pkr.hcl", 8, 5)


def test_of_hcl_every_component_has_to_be_known_that_any_build_names(read: Any) -> None:
    assert set(template(read, HCL).components) == {
        "amazon-ebs", "amazon-ami", "shell", "ansible-local", "shell-local", "manifest", "scan",
    }  # fmt: skip


def test_of_json_those_that_run_have_to_be_known(read: Any) -> None:
    text = json.dumps(
        {
            "min_packer_version": "1.4.0",
            "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123456789abcdef0"}],
            "provisioners": [
                {"type": "shell", "inline": ["true"]},
                {"type": "ansible", "except": ["amazon-ebs"], "playbook_file": "web.json"},
            ],
            "post-processors": [["manifest"], {"type": "docker-tag", "except": ["amazon-ebs"]}],
        }
    )

    found = template(read, text, "web.json")

    assert "amazon-ebs" in found.components
    assert "shell" in found.components
    assert {"ansible", "docker-tag"}.isdisjoint(found.components)
    assert found.required_version == ">= 1.4.0"
    assert found.required_version_place == Place("desired/web/web.json", 1, 2)


def test_a_template_that_asks_for_nothing_has_no_places(read: Any, hcl: str) -> None:
    fleet = read({"desired/web/image.yaml": "source: {ami: {id: ami-0abc}}\n", "desired/web/web.pkr.hcl": hcl})

    found = fleet.images["web"].template
    assert (found.required_version, found.required_version_place, dict(found.plugin_places)) == ("", None, {})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('">= 1.7.0, < 2"', '"latest"', 'desired/web/web.pkr.hcl:2:3: "latest" is no constraint on a version'),
        ('">= 1.7.0, < 2"', '">= 1.7.0, 2.x"', 'desired/web/web.pkr.hcl:2:3: "2.x" is no constraint on a version'),
        ('"~> 1.2"', '"~> one"', 'desired/web/web.pkr.hcl:4:5: "~> one" is no constraint on a version'),
    ],
)
def test_a_constraint_that_is_none_is_refused_where_it_stands(read: Any, old: str, new: str, told: str) -> None:
    fleet = read({"desired/web/image.yaml": "", "desired/web/web.pkr.hcl": HCL.replace(old, new)})

    (problem,) = fleet.problems["web"]
    assert str(problem).startswith(told)
    assert problem.hint


WHOLE = """{
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.2"
    }"""


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('">= 1.2"', "is no object"),
        ("null", "is no object"),
        ('{ source = "github.com/hashicorp/amazon" }', "has no version"),
        ('{ source = "github.com/hashicorp/amazon", version = "" }', "has no version"),
        ('{ source = "github.com/hashicorp/amazon", version = 1.2 }', "has a version that is no text"),
        ('{ version = "~> 1.2" }', "has no source"),
        ('{ source = "amazon", version = "~> 1.2" }', 'has the source "amazon", which is none'),
        ('{ source = "https://github.com/hashicorp/amazon", version = "~> 1.2" }', "which is none"),
        ('{ source = "github.com/hashicorp/packer-plugin-amazon", version = "~> 1.2" }', "which is none"),
        ('{ source = "github.com/hashicorp/amazon", version = "~> 1.2", checksum = "x" }', "has checksum, and Packer"),
        ('{ source = "github.com/hashicorp/amazon.git", version = "~> 1.2" }', "which is none"),
        ('{ source = "github.com/hashicorp/amazon?ref=x", version = "~> 1.2" }', "which is none"),
        ('{ source = "github.com:443/hashicorp/amazon", version = "~> 1.2" }', "which is none"),
        ('{ source = 5, version = "~> 1.2" }', "has a source that is no text"),
        ('{ source = var.where, version = "~> 1.2" }', "takes a value from var.where"),
        (
            '{ source = "github.com/hashicorp/amazon", version = "~> ${local.version}" }',
            "takes a value from local.version",
        ),
        ('{ source = "github.com/hashicorp/amazon", version = format("1.2") }', "takes a value from format()"),
    ],
)
def test_an_entry_that_no_packer_takes_is_refused_with_one_that_it_takes(read: Any, entry: str, told: str) -> None:
    assert WHOLE in HCL
    fleet = read({"desired/web/image.yaml": "", "desired/web/web.pkr.hcl": HCL.replace(WHOLE, entry)})

    (problem,) = fleet.problems["web"]
    assert str(problem).startswith("desired/web/web.pkr.hcl:4:5: amazon in required_plugins ")
    assert told in problem.what
    assert 'amazon = { source = "github.com/hashicorp/amazon", version = ' in problem.hint[0]


@pytest.mark.parametrize(
    "source", ['"github.com/acme/forks/amazon"', '"hashicorp/amazon"', '"github.com/${"a"}/amazon"']
)
def test_an_entry_that_some_packer_may_take_is_left_to_it(read: Any, source: str) -> None:
    entry = f'{{ source = {source}, version = "~> 1.2" }}'
    fleet = read({"desired/web/image.yaml": "", "desired/web/web.pkr.hcl": HCL.replace(WHOLE, entry)})

    assert dict(fleet.problems) == {}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'required_version = ">= 1.7.0, < 2"',
            "required_version = var.wanted",
            "2:3: required_version is given by var.wanted",
        ),
        ('required_version = ">= 1.7.0, < 2"', 'required_version = ["1.7"]', "2:3: required_version is no text"),
        ('required_version = ">= 1.7.0, < 2"', 'required_version = ""', '2:3: "" is no constraint on a version'),
        ('required_version = ">= 1.7.0, < 2"', "wanted = 1", "2:3: packer has wanted, which Packer does not know"),
        ("packer {", 'packer "current" {', "1:1: packer has a label, current"),
        ("required_plugins {", 'required_plugins "ours" {', "3:3: required_plugins has a label, ours"),
        ("amazon = {", "amazon {", "4:5: amazon is a block, and Packer knows none of that name here"),
    ],
)
def test_what_packer_does_not_take_of_its_own_block_is_refused(read: Any, old: str, new: str, told: str) -> None:
    assert old in HCL
    fleet = read({"desired/web/image.yaml": "", "desired/web/web.pkr.hcl": HCL.replace(old, new, 1)})

    assert str(fleet.problems["web"][0]).startswith(f"desired/web/web.pkr.hcl:{told}")


def test_a_plugin_that_is_named_in_two_files_is_refused_at_the_second(read: Any) -> None:
    more = f"packer {{\n  required_plugins {{\n    amazon = {WHOLE}\n  }}\n}}\n"
    files = {"desired/web/image.yaml": "", "desired/web/web.pkr.hcl": HCL, "desired/web/z.pkr.hcl": more}

    (problem,) = read(files).problems["web"]

    assert str(problem).startswith("desired/web/z.pkr.hcl:3:5: amazon stands twice in required_plugins")
    assert "desired/web/web.pkr.hcl:4:5" in problem.hint[0]


def test_the_version_that_a_json_template_asks_for_is_a_text(read: Any) -> None:
    builder = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0123456789abcdef0"}
    text = json.dumps({"min_packer_version": 1.6, "builders": [builder]})

    (problem,) = read({"desired/web/image.yaml": "", "desired/web/web.json": text}).problems["web"]

    assert "is no text" in problem.what


WEB = {"region": "us-east-1", "source_ami": "ami-0123456789abcdef0"}
ENTRY = {"source": "github.com/hashicorp/amazon", "version": "~> 1.2"}


@pytest.mark.parametrize(
    "packer",
    [
        {"required_plugins": {"amazon": ENTRY}},
        {"required_plugins": [{"amazon": ENTRY}]},
        [{"required_plugins": {"amazon": ENTRY}}],
        {"//": "needed", "required_plugins": {"//": {"a": "b"}, "amazon": ENTRY}},
        [{"required_plugins": None}, {"required_plugins": {"amazon": ENTRY}}],
    ],
)
def test_plugins_are_required_in_every_form_that_json_has_for_blocks(read: Any, packer: object) -> None:
    text = {
        "//": {"of": "nobody"}, "packer": packer, "source": {"amazon-ebs": {"web": WEB}},
        "build": {"sources": ["source.amazon-ebs.web"]},
    }  # fmt: skip

    assert template(read, json.dumps(text), "web.pkr.json").plugins == {"amazon": "github.com/hashicorp/amazon ~> 1.2"}


@pytest.mark.parametrize(
    ("packer", "told"),
    [
        ({"required_plugins": "amazon"}, "required_plugins is no block"),
        ({"required_plugins": [{"amazon": ENTRY}, "docker"]}, "required_plugins is no block"),
        ({"required_plugins": {"amazon": [ENTRY]}}, "amazon in required_plugins is no object"),
        ({"plugins": {"amazon": ENTRY}}, "packer has plugins, which Packer does not know"),
        ({"//x": "needed"}, "packer has //x, which Packer does not know"),
    ],
)
def test_what_json_has_instead_of_a_block_is_refused(read: Any, packer: object, told: str) -> None:
    text = {
        "packer": packer, "source": {"amazon-ebs": {"web": WEB}}, "build": {"sources": ["source.amazon-ebs.web"]},
    }  # fmt: skip

    (problem,) = read({"desired/web/image.yaml": "", "desired/web/web.pkr.json": json.dumps(text)}).problems["web"]

    assert problem.what.startswith(told)


def test_what_stands_at_the_top_of_json_and_is_no_block_is_refused(read: Any) -> None:
    text = {"locals": 1, "source": {"amazon-ebs": {"web": WEB}}, "build": {"sources": ["source.amazon-ebs.web"]}}

    (problem,) = read({"desired/web/image.yaml": "", "desired/web/web.pkr.json": json.dumps(text)}).problems["web"]

    assert problem.what == '"locals" is set outside of any block'
