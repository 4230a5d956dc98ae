"""Tags that the registry would refuse once the image is built are refused before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest

from reconciler.model.fleet import Fleet

Read = Callable[..., Fleet]


def template(body: str, more: str = "") -> str:
    return f"""\
variable "image_tags" {{ type = map(string) }}
variable "run_tags" {{ type = map(string) }}
{more}
source "amazon-ebs" "web" {{
  region     = "us-east-1"
  source_ami = "ami-0abc"
{body}
}}
build {{ sources = ["source.amazon-ebs.web"] }}
"""


def pairs(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}" = "x"' for name in names)


def numbered(number: int, name: str = "t") -> list[str]:
    return [f"{name}{each}" for each in range(number)]


def declared(number: int) -> str:
    return f"tags: {{{', '.join(f'{name}: x' for name in numbered(number, 'd'))}}}\n" if number else ""


def problems(fleet: Fleet) -> list[str]:
    return [str(one) for found in fleet.problems.values() for one in found]


def test_forty_declared_tags_and_five_of_the_template_are_too_many_and_it_is_said_how_many(web: Read) -> None:
    (problem,) = problems(web(declared(40), template(f"  tags = {{ {pairs(numbered(5))} }}")))
    assert problem == (
        "desired/web/image.yaml:1:1: 55 tags would be on the AMI, and EC2 takes 50: "
        "40 of `tags`, 5 of amazon-ebs.web, 10 of the reconciler\n"
        "  take 5 of them away"
    )


FILE = """\
source "file" "web" {
  content = "x"
  target  = "web.raw"
}
build { sources = ["source.file.web"] }
"""


def test_a_kind_without_limits_takes_what_ec2_does_not(web: Read) -> None:
    many = ", ".join(f"{name}: x" for name in ["'aws:owner'", *numbered(60)])
    found = web(f"locations: [/images]\ntags: {{{many}}}\n", FILE)
    assert problems(found) == []
    assert found.images["web"].declaration.tags["aws:owner"] == "x"


def test_more_tags_than_ec2_takes_and_its_own_prefix_are_found_in_the_line_that_has_them(web: Read) -> None:
    (problem,) = problems(web("regions: [us-east-1]\ntags: {'Aws:a': x, aws.b: x, 'AWS:c': x}\n", template("")))
    assert problem.splitlines() == [
        "desired/web/image.yaml:2:1: tags: the prefix aws: is EC2's: AWS:c, Aws:a",
        "  give them other names",
    ]
    (problem,) = problems(web("regions: [us-east-1]\n" + declared(41), template("")))
    assert problem.splitlines() == [
        "desired/web/image.yaml:2:1: tags: there are 41, and EC2 takes at most 40 beside those of the reconciler",
        "  take 1 of them away",
    ]


@pytest.mark.parametrize(
    ("written", "more"),
    [
        ("  tags = { {pairs} }", ""),
        ("  tags = merge(var.image_tags, { {pairs} })", ""),
        ("  tags = merge({ {pairs} }, var.image_tags, { d0 = var.run_tags })", ""),
        ("  tags = local.all", "locals {\n  all = merge(var.image_tags, local.own)\n  own = { {pairs} }\n}"),
        ("  snapshot_tags = { {pairs} }", ""),
        ("{blocks}", ""),
    ],
    ids=["written out", "merged", "merged with what is not known", "through locals", "of snapshots", "as blocks"],
)
def test_tags_of_a_template_count_however_they_are_written(web: Read, written: str, more: str) -> None:
    names = numbered(12)
    blocks = "\n".join(f'  tag {{\n    key   = "{name}"\n    value = "x"\n  }}' for name in names)
    body, more = (text.replace("{pairs}", pairs(names)).replace("{blocks}", blocks) for text in (written, more))
    assert problems(web(declared(28), template(body, more))) == []
    (problem,) = problems(web(declared(29), template(body, more)))
    assert "and EC2 takes 50: 29 of `tags`, 1" in problem


def test_a_json_template_s_tags_count_too(read: Read) -> None:
    builder = {"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-0abc"}
    content = json.dumps({"builders": [builder | {"tags": dict.fromkeys(numbered(41), "x")}]})
    (problem,) = problems(read({"desired/web/image.yaml": "packer: {template: t.json}", "desired/web/t.json": content}))
    assert "51 tags would be on the AMI" in problem


def test_a_tag_that_is_set_twice_is_one(web: Read) -> None:
    same = template(f"  tags = {{ {pairs(numbered(40, 'd'))} }}")
    assert problems(web(declared(40), same)) == []


def test_tags_that_leave_no_room_for_a_verdict_are_noted(web: Read) -> None:
    fleet = web(declared(38), template(""))
    assert problems(fleet) == []
    (note,) = [note for note in fleet.images["web"].notes if "leave room" in note]
    assert note.startswith("38 tags of its own leave room for 12 of ours")
    assert not any("leave room" in note for note in web(declared(30), template("")).images["web"].notes)


def test_what_is_announced_takes_room_too(read: Read) -> None:
    files = {"desired/web/image.yaml": declared(32), "desired/web/web.pkr.hcl": template("")}
    alone = read(files)
    announcing = read(
        files
        | {
            "desired/reconciler.yaml": """\
announce:
  webhook: {url: https://example.org}
  sns: {topic: "arn:aws:sns:us-east-1:123456789012:images"}
  eventbridge: {region: us-east-1}
"""
        }
    )
    assert not any("leave room" in note for note in alone.images["web"].notes)
    assert any("leave room" in note for note in announcing.images["web"].notes)


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ('"aws:team" = "x"', "the prefix aws: is taken"),
        ('"AWS:team" = "x"', "the prefix aws: is taken"),
        ('"reconciler:key" = "x"', "the reconciler writes it"),
        ('"reconciler:told-sns" = "x"', "the reconciler writes it"),
        (f'"{"n" * 129}" = "x"', "a tag's name has 1 to 128 characters, and this one 129"),
        (f'Name = "{"v" * 257}"', "a tag's value has at most 256 characters, and this one 257"),
    ],
)
def test_a_tag_that_the_registry_or_we_would_not_take_is_refused(web: Read, tag: str, why: str) -> None:
    (problem,) = problems(web("", template(f"  tags = {{ {tag} }}")))
    assert why in problem
    assert problem.startswith("desired/web/web.pkr.hcl:4:1: amazon-ebs.web sets the tag ")


@pytest.mark.parametrize(
    "tag",
    [
        '"reconciler:fleet" = var.run_tags["reconciler:fleet"]',
        f'"{"n" * 128}" = "{"v" * 256}"',
        'Name = "${var.image_tags}-and-more"',
        '"my:aws:team" = "x"',
    ],
)
def test_whatever_else_a_template_writes_is_its_own(web: Read, tag: str) -> None:
    assert problems(web("", template(f"  tags = {{ {tag} }}"))) == []


def test_a_fleet_s_name_fits_into_a_tag(read: Read) -> None:
    from reconciler.model.errors import UserError  # noqa: PLC0415 - the one test in which all is refused

    with pytest.raises(UserError, match="fleet"):
        read({"desired/reconciler.yaml": f"fleet: {'f' * 257}\n", "desired/web/web.pkr.hcl": template("")})
