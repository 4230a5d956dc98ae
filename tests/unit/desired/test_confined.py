"""A template that is said to be confined names no file outside of its folder, whatever it is put together of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.as_built import _KEEPS_TEXTS_WHOLE, is_confined, is_confined_value
from reconciler.desired.packer.functions.table import FUNCTIONS
from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.model.errors import UserError

FOLDER = "desired/web"
PATH = f"{FOLDER}/web.pkr.hcl"
MANY = settings(max_examples=600, derandomize=True, database=None)

PIECES = st.sampled_from(
    [
        ".", "..", "/", "roles", "a.sh", "./", "../", "x.", ".y", "\\u002e", "\\.", "\\\\", "$${", "%%{", " ",
        "${path.root}", "${path.cwd}", "${var.a}", "${var.b}", "${local.c}", "${dirname(path.root)}", '${"."}',
        '${join("", [".", "."])}', '${join(".", ["", "", "x"])}', '${format("%s.", ".")}', '${basename("a/.")}',
        '${abspath(".")}', '${title(".a")}', '${element(["."], 0)}', '${keys({ "." = 1 })[0]}', '${md5(".")}',
        '${try(".", "a")}', '${coalesce("", ".")}', '${lookup({ a = "." }, "a", "b")}', '${indent(1, ".")}',
        '${replace("a.-.", "-", "")}', "${formatdate(\"'.'.\", \"2020-01-01T00:00:00Z\")}", '${format("%.1s", "./")}',
        '${lower("A.")}', '${concat(["."], [".."])}', "/<checkout>/roles",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=5).map("".join)


def template(script: str, a: str, b: str, c: str) -> str:
    return f"""\
variable "a" {{ default = "{a}" }}
variable "b" {{ default = "{b}" }}
locals {{
  c = "{c}"
}}
source "null" "web" {{}}
build {{
  sources = ["source.null.web"]
  provisioner "shell" {{ script = "{script}" }}
  provisioner "file" {{ content = filebase64("{script}") }}
}}
"""


@MANY
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_a_confined_template_reads_below_its_folder(script: str, a: str, b: str, c: str) -> None:
    content = template(script, a, b, c).encode()
    if not is_confined(content, PATH):
        return
    try:
        facts = read_template([parse_template(content, PATH)], "hcl2", setting=Setting(FOLDER, FOLDER))
    except UserError:
        return
    assert all(f"{read.path}/".startswith(f"{FOLDER}/") for read in facts.reads)


@pytest.mark.parametrize(
    "script",
    [
        "setup.sh", "./setup.sh", "${path.root}/scripts/setup.sh", "${path.cwd}/a.b.c", "files/nginx.conf",
        "${local.c}/x", "/etc/passwd", "~/x", "https://example.org/x",
    ],
)  # fmt: skip
def test_what_templates_mostly_look_like_is_confined(script: str) -> None:
    assert is_confined(template(script, "a", "b", "c").encode(), PATH)


@pytest.mark.parametrize(
    "script",
    [
        "../roles", "a/../../b", "${var.a}./x", "x.${var.a}", "x.%{ if true }.%{ endif }", "\\u002e./x",
        "\\U0000002e./x", ".\\./x", "${dirname(path.root)}/x", "/<checkout>/x",
    ],
)  # fmt: skip
def test_what_may_lead_out_is_not(script: str) -> None:
    assert not is_confined(template(script, "a.", "b", "c").encode(), PATH)


def test_of_a_heredoc_and_of_json_it_is_not_known() -> None:
    assert not is_confined(b"a = <<EOF\n.\nEOF\n", PATH)
    assert not is_confined(b"{}", f"{FOLDER}/web.pkr.json")
    assert not is_confined(b"{}", f"{FOLDER}/a.auto.pkrvars.json")


@pytest.mark.parametrize(("value", "confined"), [("large", True), (8, True), (True, True), ("1.2", True), ("..", False),
                                                 (".", False), ("a.", False), ("a/../b", False)])  # fmt: skip
def test_a_value_that_ends_with_a_dot_may_be_half_of_two(value: object, *, confined: bool) -> None:
    assert is_confined_value(value) is confined


@pytest.mark.parametrize(
    "call",
    [
        'replace("a-.-.", "-", "")', 'strrev("/.x.")', 'file("path.txt")', 'regex("(.)x", "a")',
        'base64decode("Li4v")', 'format("%.1s%.1s", "./", ".a")',
    ],
)  # fmt: skip
def test_a_function_that_may_take_texts_apart_may_lead_out(call: str) -> None:
    assert not is_confined(template(f"${{{call.replace(chr(34), chr(39))}}}", "a", "b", "c").encode(), PATH)


def test_a_name_made_of_the_time_of_the_build_does_not() -> None:
    assert is_confined(b'ami_name = "web-${regex_replace(timestamp(), "[- TZ:]", "")}"', PATH)


def test_every_function_that_keeps_texts_whole_was_thought_of_here() -> None:
    """A new function may make a path that leads up: add it to the pieces above before it is said that it does not."""
    takes_apart = {
        "base64decode", "base64encode", "chomp", "csvdecode", "jsondecode", "jsonencode", "log", "regex",
        "regex_replace", "regexall", "replace", "split", "strrev", "substr", "trim", "trimprefix", "trimspace",
        "trimsuffix", "urlencode", "yamldecode", "yamlencode", "aws_secretsmanager", "aws_secretsmanager_raw", "bcrypt",
        "consul_key", "legacy_strftime", "vault",
    }  # fmt: skip
    assert {name for name in FUNCTIONS if name.encode() not in _KEEPS_TEXTS_WHOLE} == takes_apart
