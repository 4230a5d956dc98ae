"""What our evaluator tells of random expressions is what `packer console` does: a sample of `make soak`."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.soak.__main__ import drawn
from tests.soak.console import TEMPLATE, packers
from tests.soak.judge import compare, ours

pytestmark = pytest.mark.packer

FIXED = 11
WRITTEN = (
    'var.word != "" ? var.word : var.amis["us-east-1"]',
    'var.blank == "" ? lookup(var.amis, "eu-west-1", "none") : var.blank',
    "1e3 / 7", "0.1 + 0.2 == 0.3", "12345678901234567890 * 98765432109876543210", "7 % -3", "-7 % 3",
    "local.text", "local.sizes", '"%{ for k, v in var.amis ~}\\n${k}=${v}\\n%{ endfor ~}"',
    "{ for w in var.words : w => upper(w)... }", '[for i, w in var.words : i if w == "a"]',
    'format("%-10s|%5d|%05.1f|%x|%q|%v", "é", 42, 3.14159, 255, "a\\"b", 1000000)',
    'formatlist("%s-%02d", var.words, range(4))', 'regex_replace("2020-01-02", "(\\\\d+)-(\\\\d+)", "$2/$1")',
    'try(var.amis.nowhere, "fallback")', 'can(tonumber("x"))', "merge(var.amis, { us-east-1 = null })",
    'jsonencode({ b = [1, 2.5, null, "<&>"], a = var.disk })', 'yamldecode("a:\\n  - 1\\n  - x\\n")',
    'cidrsubnets("10.0.0.0/16", 4, 4, 8)', 'formatdate("DD MMM YYYY hh:mm ZZZ", "2024-02-29T01:02:03Z")',
    'convert([1, "2", true], list(string))', "flatten([[1, [2]], var.words])", 'setproduct(["a", "b"], [1, 2])',
    'substr("héllo", 1, 3)', 'title("hello world")', 'strrev("abc")', 'sort(["b", "a", "C"])', "distinct(var.words)",
)  # fmt: skip


# 1.6.6 does not know what the first come to, and 1.16.0 says an empty list.
DIFFERENT = (
    "null[*]", "try(null[*][0], 1)", "length(null.*)", "try(local.anything.a[2][*][0], 1)",
    'try(jsondecode("null")[*][0], 1)',
    # 1.6.6 refuses these, and 1.16.0 does not.
    "jsonencode(null)", "upper(jsonencode(var.nothing))",
    'false ? convert(var.amis, object({ a = string })) : "x"',
)  # fmt: skip


@pytest.fixture(scope="module")
def consoles(packer_on_path: str) -> dict[str, str]:
    """The console of the Packer that the test is run on."""
    return {packer_on_path: packers()[packer_on_path]}


def test_what_templates_write_comes_to_what_packer_says(consoles: dict[str, str], tmp_path: Path) -> None:
    outcome = compare(WRITTEN, consoles, folder=tmp_path)
    assert not outcome.differences, "\n".join(outcome.differences)
    assert outcome.told >= len(WRITTEN) - 1, [text for text in WRITTEN if ours(text) is None]


def test_what_packers_differ_in_is_not_told(consoles: dict[str, str], tmp_path: Path) -> None:
    assert {text: ours(text) for text in DIFFERENT} == dict.fromkeys(DIFFERENT)
    assert not compare(("var.nothing[*]", "try(var.nothing[*][0], 1)"), consoles, folder=tmp_path).differences
    assert ours("try(var.nothing[*][0], 1)") == "[[]]"


def test_random_expressions_come_to_what_packer_says(consoles: dict[str, str], tmp_path: Path) -> None:
    outcome = compare(drawn(300, FIXED), consoles, folder=tmp_path)
    assert not outcome.differences, "\n".join(outcome.differences)
    assert outcome.told > outcome.could_be_told * 0.6  # An evaluator that knows nothing would differ in nothing.


def test_other_expressions_each_time_do_so_as_well(consoles: dict[str, str], tmp_path: Path) -> None:
    number = secrets.randbelow(2**32)
    outcome = compare(drawn(100, number), consoles, folder=tmp_path)
    assert not outcome.differences, f"seed {number}:\n" + "\n".join(outcome.differences)


def test_the_template_of_the_known_variables_is_one_that_we_read() -> None:
    assert 'variable "word"' in TEMPLATE
    assert ours("var.count") == "[3]"
