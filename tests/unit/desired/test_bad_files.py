"""Every way to write a wrong file, with the words that a person gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import COMPLETE

Read = Callable[..., Fleet]

BAD_YAML = {
    "unknown key": (
        "regoins: [us-east-1]\n",
        'image.yaml:1:1: unknown key "regoins"\n  did you mean "regions"?',
    ),
    "unknown nested key": (
        "packer:\n  templat: x\n",
        'image.yaml:2:3: unknown key "templat"\n  did you mean "template"?',
    ),
    "unknown key in a source": (
        "source:\n  ami: {nam: x, id: ami-0}\n",
        'image.yaml:2:9: unknown key "nam"\n  did you mean "name"?',
    ),
    "unknown key in a list": (
        'revoke:\n- build: 20261122T101530Z-1a2b3c4\n  reason: r\n  "no": 1\n',
        'image.yaml:4:3: unknown key "no"\n  known here: build, even_if_in_use, reason',
    ),
    "duplicate key": (
        "regions: [us-east-1]\ntags: {}\nregions: [us-east-2]\n",
        'image.yaml:3:1: the key "regions" is here a second time; the first is on line 1\n  keep one of them',
    ),
    "number for a list": ("regions: 5\n", "image.yaml:1:1: regions: expected a list of text, found a number"),
    "text for a list": (
        "regions: us-east-1\n",
        'image.yaml:1:1: regions: expected a list of text, found "us-east-1"',
    ),
    "mapping in a list": (
        "regions:\n  - a: b\n",
        "image.yaml:2:5: regions[0]: expected text, found a mapping",
    ),
    "text for a mapping": ("packer: web\n", 'image.yaml:1:1: packer: expected a mapping, found "web"'),
    "nothing among the values of a variable": (
        "packer:\n  variables: {x: [~]}\n",
        (
            "image.yaml:2:15: packer.variables.x: expected text, a whole number, true or false, a list or a mapping, "
            "found a list"
        ),
    ),
    "text for a number": (
        "retain: {builds: many}\n",
        (
            'image.yaml:1:10: retain.builds: expected a whole number, found "many"\n'
            "  how many builds are kept, the newest, beside what a channel points to"
        ),
    ),
    "too small a number": (
        "retain: {builds: 0}\n",
        (
            "image.yaml:1:10: retain.builds: expected a number greater than or equal to 1, found 0\n"
            "  how many builds are kept, the newest, beside what a channel points to"
        ),
    ),
    "duration": (
        "refresh: {max_age: 7}\n",
        "image.yaml:1:11: refresh.max_age: a duration is a number with a unit: 90s, 60m, 12h, 7d or 2w",
    ),
    "date": (
        "suspend: {reason: r, until: tomorrow}\n",
        (
            'image.yaml:1:22: suspend.until: expected a date such as 2026-12-01, found "tomorrow"\n'
            "  the first day on which it is left alone no more, UTC"
        ),
    ),
    "the day a hold ends on": (
        "hold: {build: 20261122T101530Z-1a2b3c4, reason: r, until: 2026-13-01}\n",
        (
            'image.yaml:1:52: hold.until: expected a date such as 2026-12-01, found "2026-13-01"\n'
            "  the first day on which it holds no more, UTC"
        ),
    ),
    "a build that is revoked twice": (
        (
            "revoke:\n  - {build: 20261122T101530Z-1a2b3c4, reason: a}\n"
            "  - {build: 20261122T101530Z-1a2b3c4, reason: b}\n"
        ),
        (
            "image.yaml:3:5: revoke[1]: 20261122T101530Z-1a2b3c4 is revoked twice, here and in revoke[0]\n"
            "  take one away: one reason is told, and recorded"
        ),
    ),
    "missing key": (
        "suspend: {until: 2026-12-01}\n",
        'image.yaml:1:1: suspend: the key "reason" is missing\n  add it',
    ),
    "two sources": (
        "source: {ssm: /a, image: b}\n",
        "image.yaml:1:1: source: a source is exactly one of ami, ssm and image",
    ),
    "no time for Packer": (
        "packer:\n  timeout: 0m\n",
        "image.yaml:2:3: packer.timeout: nothing can be done in no time; a timeout is longer than 0",
    ),
    "no time for a smoke test": (
        "smoke_test: {timeout: 0}\n",
        "image.yaml:1:14: smoke_test.timeout: nothing can be done in no time; a timeout is longer than 0",
    ),
    "no instance type": (
        'smoke_test: {instance_type: [t3.micro, "; rm"]}\n',
        'image.yaml:1:40: smoke_test.instance_type[1]: "; rm" is not an instance type such as t3.micro',
    ),
    "no instance type, alone": (
        "smoke_test:\n  instance_type: T3.micro\n",
        'image.yaml:2:3: smoke_test.instance_type: "T3.micro" is not an instance type such as t3.micro',
    ),
    "no subnet": (
        "smoke_test: {subnets: [x]}\n",
        'image.yaml:1:24: smoke_test.subnets[0]: "x" is not a subnet\'s id such as subnet-0a1b2c3d4e5f67890',
    ),
    "no user": (
        'smoke_test: {user: "a b"}\n',
        'image.yaml:1:14: smoke_test.user: "a b" is not a user\'s name such as admin',
    ),
    "an option for a user": (
        "smoke_test: {user: -l}\n",
        'image.yaml:1:14: smoke_test.user: "-l" is not a user\'s name such as admin',
    ),
    "too long a tag": (
        f"tags:\n  {'k' * 129}: a\n",
        f"image.yaml:2:3: tags.{'k' * 59}…: the key has 129 characters, and at most 128 are taken",
    ),
    "too long a tag's value": (
        f"tags:\n  {'k' * 128}: {'v' * 256}\n  long: {'v' * 257}\n",
        "image.yaml:3:3: tags.long: the value has 257 characters, and at most 256 are taken",
    ),
    "empty tag": (
        "tags:\n  '': a\n",
        "image.yaml:2:3: tags.'': the key has 0 characters, and at least 1 are taken",
    ),
    "no owners": (
        "source: {ami: {name: x}}\n",
        (
            "image.yaml:1:10: source.ami: a filter needs owners: without one, anybody's public AMI of that name "
            "would be trusted"
        ),
    ),
    "channel": (
        "source: {image: b, channel: best}\n",
        (
            "image.yaml:1:20: source.channel: expected 'candidate' or 'stable', found \"best\"\n"
            "  of the parent image; stable if absent"
        ),
    ),
    "pattern": (
        "moved_from: Old Name\n",
        (
            'image.yaml:1:1: moved_from: "Old Name" has not the form that is wanted here\n'
            "  it has to match ^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
        ),
    ),
    "region twice": (
        "regions: [us-east-1, us-east-1]\n",
        "image.yaml:1:1: regions: named twice: us-east-1",
    ),
    "reserved tag": (
        "tags:\n  reconciler:x: y\n",
        "image.yaml:1:1: tags: the prefix reconciler: is taken: reconciler:x",
    ),
    "tab": ("packer:\n\ttemplate: x\n", "image.yaml:2:1: a tab where YAML wants spaces\n  indent with spaces"),
    "unclosed list": (
        "regions: [a,\ntags: {}\n",
        (
            "image.yaml:3:1: not valid YAML: did not find expected ',' or ']'\n"
            "  while parsing a flow sequence that began on line 1"
        ),
    ),
    "colon in a value": (
        "description: a: b\n",
        (
            "image.yaml:1:15: not valid YAML: mapping values are not allowed in this context\n"
            "  quote the value if it is meant as text"
        ),
    ),
    "not UTF-8": (
        b"description: x\ntags: {a: \xff}\n",
        "image.yaml:2:11: byte 25 (0xff) is not UTF-8\n  save the file as UTF-8",
    ),
    "control character": (
        "description: x\ntags: \x07\n",
        "image.yaml:2:7: the character U+0007 is not allowed in YAML\n  remove it, or write it as an escape",
    ),
    "too large": (
        b"description: " + b"x" * 10_000_000,
        (
            "image.yaml: the file has more than 1,048,576 bytes, and no more are read\n"
            "  keep what is not declaration in files of its own"
        ),
    ),
    "list": ("- a\n", "image.yaml:1:1: the file is a list; it has to be a mapping\n  write `key: value` lines"),
    "text": ("hello\n", 'image.yaml:1:1: the file is "hello"; it has to be a mapping\n  write `key: value` lines'),
    "two documents": (
        "description: a\n---\ndescription: b\n",
        (
            "image.yaml:2:1: a second document begins here; the file has to hold one\n"
            "  remove the line `---`, or put the second document into a folder of its own"
        ),
    ),
    "list as a key": (
        "tags:\n  ? [a]\n  : b\n",
        "image.yaml:2:5: a key has to be text, found a list\n  write the key as text",
    ),
    "merge key": (
        "tags: &a {x: y}\nlabels:\n  <<: *a\n",
        (
            "image.yaml:3:3: merge keys (<<) are not read\n"
            "  put what images share under `defaults` in desired/reconciler.yaml"
        ),
    ),
    "unknown alias": (
        "tags: *nothing\n",
        (
            "image.yaml:1:7: the alias *nothing names nothing above it, or the value that it stands in\n"
            "  write the value out"
        ),
    ),
    "alias of itself": (
        "tags: &a {x: *a}\n",
        "image.yaml:1:14: the alias *a names nothing above it, or the value that it stands in\n  write the value out",
    ),
    "custom tag": (
        "description: !ruby/object x\n",
        "image.yaml:1:14: the tag !ruby/object is not read here\n  write the plain value",
    ),
    "alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{n}: &{n} [{','.join(['*' + p] * 10)}]\n" for p, n in zip("abcde", "bcdef", strict=True)),
        (
            "image.yaml:4:29: more than 10,000 values, counting each alias as what it stands for\n"
            "  write less, or without aliases"
        ),
    ),
    "deep nesting by aliases": (
        "packer:\n  variables:\n    v:\n"
        + "".join(f"      k{n}: &a{n} {'[' * 20}{f'*a{n - 1}' if n else 'x'}{']' * 20}\n" for n in range(20)),
        "image.yaml:5:35: more than 32 levels of nesting\n  flatten the value",
    ),
    "more places than are compared": (
        f"regions: [{', '.join(f'r{n}' for n in range(201))}]\n",
        "image.yaml:1:1: regions: there are 201, and at most 200 are taken",
    ),
    "deep nesting": (
        "tags: " + "[" * 100_000,
        "image.yaml:1:39: more than 32 levels of nesting\n  flatten the value",
    ),
}


@pytest.mark.parametrize(("yaml", "expected"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_wrong_image_yaml_is_told_with_its_place_and_a_mend(web: Read, yaml: str, expected: Any) -> None:
    fleet = web(yaml)
    assert [str(problem) for problem in fleet.problems["web"]] == [f"desired/web/{expected}"]
    assert not fleet.images


def test_every_problem_of_a_file_is_told(web: Read) -> None:
    fleet = web("regoins: []\nretain: {builds: 0}\ntags: 5\n")
    assert [str(problem.where) for problem in fleet.problems["web"]] == [
        f"desired/web/image.yaml:{place}" for place in ("1:1", "2:10", "3:1")
    ]


BAD_HCL = {
    "syntax": (
        'source "amazon-ebs" "web" {\n  region = \n}\n',
        (
            "web.pkr.hcl:2:12: not valid HCL: Invalid expression\n"
            "  Expected the start of an expression, but found an invalid expression token."
        ),
    ),
    "unclosed block": (
        "build {\n",
        (
            "web.pkr.hcl:1:7: not valid HCL: Unclosed configuration block\n"
            "  There is no closing brace for this block before the end of the file. "
            "This may be caused by incorrect brace nesting elsewhere in this file."
        ),
    ),
    "not UTF-8": (
        b'# \xe9 is a comment\nlocals { a = "\xe9" }\n',
        "web.pkr.hcl:1:3: byte 2 (0xe9) is not UTF-8\n  save the file as UTF-8",
    ),
    "nothing built": (
        'variable "x" {}\n',
        'web.pkr.hcl: the template builds nothing\n  add build { sources = ["source.…"] }',
    ),
    "no such source": (
        'source "null" "a" {}\nbuild {\n  sources = ["source.null.b"]\n}\n',
        'web.pkr.hcl:3:3: there is no source "null.b"\n  declared are: null.a',
    ),
    "no such data": (
        'source "amazon-ebs" "a" {\n  source_ami = data.amazon-ami.x.id\n}\nbuild { sources = ["amazon-ebs.a"] }\n',
        'web.pkr.hcl:2:3: there is no data "amazon-ami" "x"\n  declare it, or fix the name',
    ),
    "set twice": (
        "locals {\n  a = 1\n  a = 2\n}\n",
        'web.pkr.hcl:3:3: "a" is set a second time; the first is on line 2\n  keep one of them',
    ),
    "deep blocks": (
        "a {\n" * 100 + "}\n" * 100,
        "web.pkr.hcl:66:1: more than 64 levels of blocks\n  flatten the template",
    ),
}


@pytest.mark.parametrize(("template", "expected"), BAD_HCL.values(), ids=BAD_HCL)
def test_a_wrong_template_is_told_with_its_place_and_a_mend(web: Read, template: str, expected: Any) -> None:
    fleet = web("", template)
    assert [str(problem) for problem in fleet.problems["web"]] == [f"desired/web/{expected}"]


def test_a_json_template_with_a_syntax_error_names_line_and_column(read: Read) -> None:
    fleet = read({"desired/old/t.json": '{\n  "builders": [,]\n}\n'})
    (problem,) = fleet.problems["old"]
    assert str(problem).startswith("desired/old/t.json:2:16: not valid JSON: Expecting value")


def test_one_image_s_problem_leaves_the_others_alone(read: Read) -> None:
    fleet = read(
        {"desired/a/image.yaml": "x: y", "desired/a/a.pkr.hcl": COMPLETE, "desired/b/b.pkr.hcl": COMPLETE},
    )
    assert (list(fleet.images), list(fleet.problems), fleet.names) == (["b"], ["a"], ("a", "b"))
