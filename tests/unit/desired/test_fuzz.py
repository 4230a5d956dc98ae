"""Whatever is committed, reading it ends in a fleet or in a UserError."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet

Read = Callable[..., Fleet]

QUIET = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TOKENS = st.lists(
    st.sampled_from(
        [
            "build",
            "source",
            "variable",
            "locals",
            "data",
            "packer",
            '"amazon-ebs"',
            '"x"',
            "{",
            "}",
            "[",
            "]",
            "(",
            ")",
            "=",
            ":",
            ",",
            ".",
            "${",
            "}",
            "%{",
            '""',
            "\\",
            "\n",
            "\t",
            "#",
            "/*",
            "*/",
            "<<EOF",
            "EOF",
            "var.x",
            "local.y",
            "path.root",
            "file(",
            "1",
            "-1",
            "1e9",
            "true",
            "null",
            "name",
            "sources",
            "provisioner",
            '"shell"',
            "script",
            "é",
            "\x00",
            "?",
        ]
    ),
    max_size=40,
).map(" ".join)
YAML = st.lists(
    st.sampled_from(
        [
            "packer:",
            "source:",
            "ami:",
            "image:",
            "regions:",
            "tags:",
            "-",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&",
            "*",
            "!",
            "|",
            ">",
            "'",
            '"',
            "#",
            "\n",
            "\n",
            "",
            "\n",
            "",
            "",
            "\t",
            "---",
            "...",
            "?",
            ":",
            "<<",
            "a",
            "1",
            "true",
            "~",
            "null",
            "template:",
            "inputs:",
            "../..",
            "/etc",
            "*a",
            "&a",
            "!!str",
            "é",
            "\x85",
            "\ufeff",
        ]
    ),
    max_size=40,
).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["builders", "type", "name", "provisioners", "variables", "post-processors", "source_ami", "region",
             "script",
             "source", "build", "sources", "variable", "data", "locals", "packer", "amazon-ebs", "min_packer_version"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


def survives(read: Read, files: dict[str, Any]) -> None:
    with contextlib.suppress(UserError):
        fleet = read(files)
        for found in fleet.problems.values():
            assert all(isinstance(problem, UserError) and problem.where for problem in found)


@QUIET
@given(content=st.binary(max_size=200))
@pytest.mark.parametrize("name", ["image.yaml", "t.pkr.hcl", "t.pkr.json", "t.json", "x.auto.pkrvars.hcl"])
def test_bytes(read: Read, name: str, content: Any) -> None:
    good = {"desired/web/image.yaml": "", "desired/web/w.pkr.hcl": 'source "null" "a" {}\nbuild {}\n'}
    survives(read, good | {f"desired/web/{name}": content})


@QUIET
@given(text=YAML)
def test_yaml(read: Read, hcl: str, text: str) -> None:
    survives(read, {"desired/web/image.yaml": text, "desired/web/w.pkr.hcl": hcl, "desired/reconciler.yaml": ""})
    survives(read, {"desired/reconciler.yaml": text, "desired/web/w.pkr.hcl": hcl})


@QUIET
@given(text=TOKENS)
def test_hcl(read: Read, text: str) -> None:
    survives(read, {"desired/web/t.pkr.hcl": text})


@QUIET
@given(value=JSON)
@pytest.mark.parametrize("name", ["t.pkr.json", "t.json"])
def test_json(read: Read, name: str, value: Any) -> None:
    declared = {"desired/web/image.yaml": f"packer: {{template: {name}}}"}
    survives(read, declared | {f"desired/web/{name}": json.dumps(value)})


@QUIET
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=80))
def test_names(read: Read, name: str) -> None:
    survives(read, {f"desired/{name}/image.yaml": ""})


@pytest.mark.parametrize("opener", ["[", "{a=", "a {\n", '"${', "(", "-", "f("])
def test_deep_nesting_does_not_end_the_process(read: Read, opener: str) -> None:
    survives(read, {"desired/web/t.pkr.hcl": f"x = {opener * 50_000}"})
    survives(read, {"desired/web/t.pkr.hcl": f"{opener * 20_000}"})


@pytest.mark.parametrize("opener", ["[", '{"a":'])
def test_deep_json_does_not_end_the_process(read: Read, opener: str) -> None:
    survives(read, {"desired/web/t.pkr.json": opener * 100_000})
    closer = {"[": "]", '{"a":': "}"}[opener]
    survives(read, {"desired/web/t.pkr.json": opener * 500 + "1" + closer * 500})
