"""YAML of others as plain values: as PyYAML reads it, and nothing that comes to more than it is long."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from reconciler.model import plain_yaml
from reconciler.model.plain_yaml import MOST_BYTES, load_documents, load_yaml
from tests.cpu import cpu_seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "a: 1", "[1, 2.5, true, ~, 2026-11-30]", "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}",
        "[" * 60 + "]" * 60,
        "a: 1:30\nb: 0x1f\nc: 1_000", "a: &a [1]\nb: [*a, *a]", "- |\n  packer build .\n- >-\n  a\n  b\n",
    ],
)  # fmt: skip
def test_it_reads_what_the_safe_loader_reads(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a0: &a0 {k: v}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30)),
         r"its merges \(<<\) come to too much"),
        ("[" * 100_000, "nested too deep"),
        ("[" * 61 + "]" * 61, "nested too deep"),
        ("a" * (MOST_BYTES + 1), "more than 524,288 characters"),
        ("a: [", "while parsing a flow node"),
        ("!!python/object/apply:os.system [x]", "could not determine a constructor"),
    ],
    ids=["merges", "nesting", "a level more", "length", "none", "a tag"],
)  # fmt: skip
def test_what_comes_to_more_than_it_is_long_is_refused(text: str, why: str) -> None:
    for load in (load_yaml, load_documents):
        with cpu_seconds(20), pytest.raises(ValueError, match=f"(?s){why}"):
            load(text)


def test_several_documents_are_each_read() -> None:
    text = "a: 1\n---\n# nothing\n---\n[b]\n"
    assert load_documents(text) == list(yaml.safe_load_all(text))


def test_a_number_that_is_longer_than_any_is_a_text() -> None:
    number = "1" + ":1" * 100_000
    with cpu_seconds(20):
        assert load_yaml(f"a: {number}") == {"a": number}


@pytest.mark.parametrize(
    "text", ["a: [1, {b: &x c}]\n---\n- *x\n", "? |\n  a\n: 'b'\n", "%YAML 1.1\n---\n!!str a\n...\n"]
)
def test_a_text_reads_the_same_without_the_parser_in_c(text: str) -> None:
    def events(parser: Any) -> list[str]:
        read = []
        while parser.check_event():
            read.append(re.sub(r"implicit=[^,)]*(?:, [^,)]*\))?", "", repr(parser.get_event())))
        return read

    assert events(plain_yaml._InPython(text)) == events(plain_yaml._Parser(text))
