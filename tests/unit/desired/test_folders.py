"""Which folders are images, under which names, and how images stand to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import COMPLETE

Read = Callable[..., Fleet]

LEGACY = '{"builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}]}'


@pytest.mark.parametrize(("file", "content"), [("a.pkr.hcl", COMPLETE), ("old.json", LEGACY)])
def test_a_folder_with_a_template_is_an_image(read: Read, file: str, content: Any) -> None:
    assert list(read({f"desired/web/{file}": content}).images) == ["web"]


def test_folders_without_template_or_declaration_are_shared_inputs(read: Read) -> None:
    fleet = read({"desired/roles/x.yml": "", "desired/data/x.json": "{}", "desired/deep/web/a.pkr.hcl": COMPLETE})
    assert fleet.names == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Web", 'the capital "W"'),
        ("my web", "a space"),
        ("wéb", 'the character "é" (U+00E9)'),
        ("a" * 200, "200 characters"),
        ("web.lock", "git allows no name of a tag that ends in .lock"),
        ("a..b", "git allows no `..` in the name of a tag"),
        ("-web", 'it begins or ends with "-"'),
        ("web.", 'it begins or ends with "."'),
    ],
)
def test_a_name_that_can_t_be_says_why(read: Read, name: str, why: str) -> None:
    (problem,) = read({f"desired/{name}/a.pkr.hcl": COMPLETE}).problems[name]
    assert problem.what.endswith(f"can't be the name of an image ({why})")
    assert str(problem.where) == f"desired/{name}"


@pytest.mark.parametrize("name", ["a", "web-1", "debian_12.base", "0", "a" * 64])
def test_good_names_are_taken(read: Read, name: str) -> None:
    assert list(read({f"desired/{name}/a.pkr.hcl": COMPLETE}).images) == [name]


@pytest.mark.parametrize("wrong", ["image.yml", "images.yaml", "Image.yaml"])
def test_a_misnamed_declaration_is_said(read: Read, wrong: str) -> None:
    fleet = read({f"desired/web/{wrong}": "", "desired/web/a.pkr.hcl": COMPLETE})
    assert [str(one) for one in fleet.problems["web"]] == [
        (
            f"desired/web/{wrong}: {wrong} is not read: the declaration of an image is in image.yaml\n"
            "  rename it to image.yaml"
        )
    ]


def test_a_declaration_is_no_symbolic_link_wherever_it_leads(read: Read) -> None:
    link = {"desired/web/image.yaml": "120000"}
    for leads in ("../../shared/web.yaml", "../base/image.yaml", "/etc/passwd", "image.yaml", "../../../x"):
        fleet = read({"desired/web/image.yaml": leads, "shared/web.yaml": "description: x\n"}, link)
        assert "this is a symbolic link, and is not followed" in str(fleet.problems["web"][0])


def child(parent: str, more: Any = "") -> Any:
    return f"source: {{image: {parent}}}\n{more}"


def problems(fleet: Fleet) -> Any:
    return {name: [str(one) for one in found] for name, found in fleet.problems.items()}


def images(hcl: str, **declarations: Any) -> Any:
    files = {f"desired/{name}/image.yaml": yaml for name, yaml in declarations.items()}
    return files | {f"desired/{name}/t.pkr.hcl": hcl for name in declarations}


def test_a_child_knows_its_parent(read: Read, hcl: str) -> None:
    fleet = read(images(hcl, base="source: {ssm: /x}", web=child("base")))
    assert (dict(fleet.problems), fleet.images["web"].parent) == ({}, "base")


def test_an_unknown_parent_is_an_error_with_the_nearest_name(read: Read, hcl: str) -> None:
    fleet = read(images(hcl, base="source: {ssm: /x}", web=child("bsae")))
    assert problems(fleet) == {
        "web": ['desired/web/image.yaml:1:10: source.image: there is no image "bsae"\n  did you mean "base"?']
    }


def test_a_cycle_is_told_once_and_named_at_its_other_images_and_not_below(read: Read, hcl: str) -> None:
    fleet = read(images(hcl, a=child("b"), b=child("a"), c=child("a")))
    assert problems(fleet) == {
        "a": [
            (
                "desired/a/image.yaml:1:10: source.image: the images are built on each other: a → b → a\n"
                "  let one of them be built on something upstream"
            )
        ],
        "b": [
            'desired/b/image.yaml:1:10: source.image: this is in the cycle of "a" (desired/a/image.yaml:1:10)',
        ],
    }
    assert list(fleet.images) == ["c"]


def test_an_image_can_t_be_built_on_itself(read: Read, hcl: str) -> None:
    assert "a → a" in str(read(images(hcl, a=child("a"))).problems["a"][0])


@pytest.mark.parametrize("parents", [{"a": "nowhere"}, {"a": "b", "b": "a"}])
def test_a_child_whose_parent_can_t_be_is_not_told_to_take_it_as_a_source(read: Read, parents: dict[str, str]) -> None:
    fleet = read(images(COMPLETE, **{name: child(parent) for name, parent in parents.items()}))
    assert {name: len(found) for name, found in fleet.problems.items()} == dict.fromkeys(parents, 1)
    assert not fleet.images


def test_a_child_whose_parent_can_t_be_is_told_what_else_is_wrong(read: Read) -> None:
    fleet = read(images("this is no HCL", a=child("nowhere")))
    first, second = fleet.problems["a"]
    assert first.what == 'source.image: there is no image "nowhere"'
    assert "not valid HCL" in second.what


def test_a_child_of_a_broken_parent_is_not_at_fault(read: Read, hcl: str) -> None:
    fleet = read(images(hcl, base="x: y", web=child("base")))
    assert (list(fleet.images), list(fleet.problems)) == (["web"], ["base"])


def test_a_parent_has_to_be_where_the_child_is_built(read: Read, hcl: str) -> None:
    free = hcl.replace('"us-east-1"', "var.region") + 'variable "region" { default = "us-east-1" }\n'
    fleet = read(images(free, base="source: {ssm: /x}", web=child("base", "regions: [eu-west-1]")))
    assert problems(fleet) == {
        "web": [
            (
                "desired/web/image.yaml:1:10: web is built in eu-west-1, where there is no base\n"
                "  add eu-west-1 to `regions` in desired/base/image.yaml"
            )
        ]
    }


def test_a_child_s_template_has_to_take_the_source(read: Read, hcl: str) -> None:
    closed = hcl.replace('variable "source_ami" { type = string }', "").replace("var.source_ami", '"ami-1"')
    fleet = read(
        images(hcl, base="source: {ssm: /x}")
        | {"desired/web/image.yaml": child("base"), "desired/web/t.pkr.hcl": closed}
    )
    assert problems(fleet) == {
        "web": [
            (
                "desired/web/image.yaml:1:1: the template declares no variable source_ami, so that it would not be "
                "built "
                "on base\n"
                "  if it takes the AMI from another: source: {image: base, variable: …}\n"
                '  else in desired/web/t.pkr.hcl: variable "source_ami" { default = "" }, and '
                "source_ami = var.source_ami"
            )
        ]
    }


@pytest.mark.parametrize(
    ("declarations", "expected"),
    [
        ({"a": "moved_from: a"}, {"a": "moved_from: the image names itself"}),
        ({"a": "moved_from: b", "b": ""}, {"a": 'moved_from: there still is an image "b"'}),
        (
            {"a": "moved_from: old", "b": "moved_from: old"},
            {
                "a": 'moved_from: "b" was "old", too (desired/b/image.yaml:1:1)',
                "b": 'moved_from: "a" was "old", too (desired/a/image.yaml:1:1)',
            },
        ),
    ],
)
def test_a_move_that_can_t_be_is_an_error(read: Read, declarations: Any, expected: Any) -> None:
    fleet = read(images(COMPLETE, **declarations))
    assert {name: found[0].what for name, found in fleet.problems.items()} == expected


def test_files_that_nobody_reads_are_warned_of(read: Read) -> None:
    fleet = read({"desired/reconciler.yml": "", "desired/a.pkr.hcl": ""})
    assert fleet.warnings == (
        "desired/a.pkr.hcl is not read; an image is a folder of its own in desired/",
        "desired/reconciler.yml is not read; the settings are in desired/reconciler.yaml",
    )


@pytest.mark.parametrize(
    ("files", "path", "template"),
    [
        ({"packer/linux/a.pkr.hcl": COMPLETE, "packer/linux/b.pkr.hcl": ""}, "packer/linux/a.pkr.hcl", "packer/linux"),
        ({"ami/a.pkr.json": "{}"}, "ami/a.pkr.json", "ami"),
        ({"ami/a.json": '{"builders": []}', "ami/vars.json": "{}"}, "ami/a.json", "ami/a.json"),
        ({"ami/image.yaml": ""}, "ami/image.yaml", "ami"),
    ],
)
def test_a_template_below_a_folder_that_is_no_image_is_named_with_what_makes_it_one(
    read: Read, files: Any, path: str, template: str
) -> None:
    copied = {f"desired/x/{name}": text for name, text in {**files, "README.md": ""}.items()}
    (warning,) = read(copied).warnings
    assert warning == (
        f"desired/x/{path} is not read; an image is a folder directly in desired/. "
        f"To make x one: desired/x/image.yaml with `packer: {{template: {template}}}`"
    )
    if not path.endswith("image.yaml"):
        made = read({**copied, "desired/x/image.yaml": f"packer: {{template: {template}}}"})
        assert (made.names, made.warnings) == (("x",), ())


def test_a_template_in_a_shared_folder_that_an_image_uses_is_not_warned_of(read: Read) -> None:
    files = {
        "desired/web/image.yaml": "packer: {template: ../shared/packer/web.pkr.hcl}",
        "desired/shared/packer/web.pkr.hcl": COMPLETE,
    }
    assert not read(files).warnings


@pytest.mark.parametrize("source", ["../shared", "../shared/a.json"])
def test_json_that_a_template_names_is_not_warned_of(read: Read, source: str) -> None:
    step = f'provisioner "file" {{\n source = "{source}"\n}}\n'
    template = COMPLETE.replace('["source.amazon-ebs.a"] }', f'["source.amazon-ebs.a"]\n{step}}}').replace(
        "{ s", "{\n s"
    )
    assert not read({"desired/web/t.pkr.hcl": template, "desired/shared/a.json": "{}"}).warnings


def test_a_folder_with_nothing_but_json_that_is_no_template_is_warned_of(read: Read) -> None:
    fleet = read({"desired/web/template.json": '{"builder": []}', "desired/web/setup.sh": ""})
    assert fleet.warnings == ('desired/web/template.json is not read: it has no "builders"',)
    assert not fleet.names


@pytest.mark.parametrize("entry", ["../shared", "../shared/a.json"])
def test_json_that_is_the_input_of_an_image_is_not_warned_of(read: Read, entry: str) -> None:
    files = {"desired/web/t.pkr.hcl": COMPLETE, "desired/shared/a.json": "{}", "desired/web/b.json": "{}"}
    assert not read({**files, "desired/web/image.yaml": f"packer: {{inputs: [{entry}]}}"}).warnings


def test_a_link_to_an_image_and_a_folder_called_image_yaml_are_warned_of(read: Read) -> None:
    files = {"desired/b/t.pkr.hcl": COMPLETE, "desired/c": "b", "desired/d": "nowhere", "desired/e/image.yaml/x": ""}
    fleet = read(files, {"desired/c": "120000", "desired/d": "120000"})
    assert fleet.warnings == (
        "desired/c is not read: it is a symbolic link, and an image is a folder of its own",
        "desired/e/image.yaml is not read: it is a folder, and a declaration is a file",
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "it is empty"), ("[]", 'it has no "builders"'), (" " * 1_048_577, "it has more than 1,048,576 bytes")],
    ids=["empty", "a list", "too large"],
)
def test_json_that_is_no_template_is_told_why(read: Read, content: str, why: str) -> None:
    (problem,) = read({"desired/a/image.yaml": "", "desired/a/a.json": content}).problems["a"]
    assert problem.hint[1].startswith(f"desired/a/a.json is none: {why}")


def test_a_fleet_that_lives_elsewhere_in_the_repository_is_pointed_to(read: Read) -> None:
    with pytest.raises(UserError) as refused:
        read({"infra/desired/web/t.pkr.hcl": COMPLETE, "README.md": ""})
    assert str(refused.value) == (
        "desired: there is no folder desired/ at this commit\n  there is infra/desired/: work on it with -C infra"
    )
