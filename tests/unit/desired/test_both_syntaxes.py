"""HCL and HCL's JSON are two ways to write one template: what is read of it, and said of it, is the same."""

from __future__ import annotations

import json
import re
from typing import Any

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
        "references": sorted(one.path for one in found.references),
        "programs": sorted(one.name for one in found.programs),
    }


@settings(max_examples=200)
@given(template=templates())
def test_a_template_says_the_same_in_either_syntax(template: tuple[Block, ...]) -> None:
    assert facts(in_json(template), "t.pkr.json") == facts(in_hcl(template), "t.pkr.hcl"), in_hcl(template)


def test_what_is_written_is_json_with_labels_for_keys() -> None:
    template = (Block("locals", (), {"a": 1}), Block("local", ("b",), {"expression": "c"}, listed=True))

    assert json.loads(in_json(template)) == {"locals": {"a": 1}, "local": {"b": [{"expression": "c"}]}}
    blocks = read_hcl_json(in_json(template).encode(), "t.pkr.json").body.blocks
    assert [(one.type, one.labels, [*one.body.attributes]) for one in blocks] == [
        ("locals", (), ["a"]), ("local", ("b",), ["expression"]),
    ]  # fmt: skip
