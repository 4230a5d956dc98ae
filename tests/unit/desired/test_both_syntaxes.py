"""HCL and HCL's JSON are two ways to write one template: what is read of it, and said of it, is the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings

from reconciler.desired.packer.json_templates import read_hcl_json
from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.model.errors import UserError
from tests.both_syntaxes import Block, in_hcl, in_json, templates

HERE = Setting("desired/web", "desired/web")
_PLACE = re.compile(r"desired/web/t\.pkr\.(?:hcl|json)(?::[0-9]+)*")


def facts(text: str, name: str) -> Any:
    """All that is read of a template, without the places where it stands."""
    try:
        read = read_template([parse_template(text.encode(), f"desired/web/{name}")], "hcl2", setting=HERE)
    except UserError as refused:
        return _PLACE.sub("", refused.what)
    found = read.template
    return {
        "problems": sorted(_PLACE.sub("", one.what) for one in read.problems),
        "notes": sorted(_PLACE.sub("", one) for one in read.notes),
        "builders": [(one.type, one.name) for one in found.builders],
        "variables": {
            name: (re.sub(r"\s", "", one.type), one.default, one.sensitive) for name, one in found.variables.items()
        },
        "plugins": dict(found.plugins),
        "version": found.required_version,
        "components": sorted(found.components),
        "constructs": sorted(found.constructs),
        "references": sorted(one.path for one in read.reads if one.weight != "mentioned"),
        "programs": sorted(one.name for one in found.programs),
    }


@settings(max_examples=200)
@given(template=templates())
def test_a_template_says_the_same_in_either_syntax(template: tuple[Block, ...]) -> None:
    assert facts(in_json(template), "t.pkr.json") == facts(in_hcl(template), "t.pkr.hcl"), in_hcl(template)


def test_what_is_written_is_json_with_labels_for_keys() -> None:
    template = (
        Block("locals", (), {"a": 1}, listed=True),
        *(Block("local", (name,), {"expression": "c"}, listed=name == "c") for name in ("b", "c")),
    )

    text = in_json(template)

    assert text.replace("\n", " ") == (
        '{"locals": [{"a": 1}], "local": {"b": {"expression": "c"}}, "local": {"c": [{"expression": "c"}]}}'
    )
    blocks = read_hcl_json(text.encode(), "t.pkr.json").body.blocks
    assert [(one.type, one.labels, [*one.body.attributes]) for one in blocks] == [
        ("locals", (), ["a"]), ("local", ("b",), ["expression"]), ("local", ("c",), ["expression"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '"locals": {"a": 1, "a": 2}',
        '"locals": 1, "locals": {"a": 1}',
        '"variable": {"a": {"default": "1", "default": "2"}}',
        '"packer": {"required_version": ">= 1", "required_version": ">= 1"}',
    ],
)
def test_equal_keys_that_are_of_no_block_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"stands here a second time; the first is t\.pkr\.json:1:"):
        read_hcl_json(f"{{{text}}}".encode(), "t.pkr.json")


def test_comments_may_be_as_many_as_one_likes() -> None:
    text = '{"//": "a", "//": "b", "locals": {"//": 1, "//": 2, "a": null}}'

    (block,) = read_hcl_json(text.encode(), "t.pkr.json").body.blocks

    assert "a" in block.body.attributes
