"""The evaluator, through HCL text."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.language.values import MAX_SIZE
from reconciler.desired.packer.syntax import UNKNOWN
from reconciler.model.errors import Place
from tests.expressions import expression


def value(text: str) -> Any:
    scope = Scope(
        {"region": "us-east-1", "tags": {"a": "b"}, "count": 3, "given": UNKNOWN},
        {
            "name": expression('"web-${var.region}"'),
            "again": expression("local.name"),
            "loop": expression('"${local.pool}"'),
            "pool": expression("local.loop"),
        },
        path_root=f"{CHECKOUT}/desired/web",
        path_cwd=CHECKOUT,
    )
    return evaluate(expression(text), scope)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"plain"', "plain"),
        ('""', ""),
        (r'"a\"b\\c\nd\u00e9"', 'a"b\\c\ndé'),
        ('"$${literal} %%{x}"', "${literal} %{x}"),
        ('"100%"', "100%"),
        ("42", 42),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("var.region", "us-east-1"),
        ("(var.region)", "us-east-1"),
        ('"${var.region}"', "us-east-1"),
        ('"${var.count}"', 3),
        ('"n=${var.count}"', "n=3"),
        ("var.tags.a", "b"),
        ('var.tags["a"]', "b"),
        ("local.again", "web-us-east-1"),
        ('"${path.root}/x"', f"{CHECKOUT}/desired/web/x"),
        ("path.cwd", CHECKOUT),
        ('["a", var.region, 1]', ["a", "us-east-1", 1]),
        ('{ a = 1, "b" : 2, (var.region) = 3 }', {"a": 1, "b": 2, "us-east-1": 3}),
        ('basename("/a/b.sh")', "b.sh"),
        ('dirname("a/b.sh")', "a"),
        ('abspath("x")', f"{CHECKOUT}/x"),
        ('upper("a${lower("B")}")', "AB"),
        ("/* why */ var.region", "us-east-1"),
        ('concat(["a"], [var.region], [])', ["a", "us-east-1"]),
        ('concat(["a"], var.given)', ["a", UNKNOWN]),
        ('flatten([["a", ["b"]], "c"])', ["a", "b", "c"]),
        ('join("/", ["..", "shared"], [3])', "../shared/3"),
        ('format("../%s/%v%%", "shared", 3)', "../shared/3%"),
        ("true ? 1 : 2", 1),
        ('var.region == "us-east-1" ? "near" : "far"', "near"),
        ("1 + 2 * 3 - -4 % 3", 8),
        ("1e3", 1000),
        ("0.1 + 0.2 == 0.3", True),
        ("12345678901234567890 * 10", 123456789012345678900),
        ("[for x in [1, 2] : x * 2 if x != 1]", [4]),
        ("{ for k, v in var.tags : upper(k) => v... }", {"A": ["b"]}),
        ("[{ a = 1 }, { a = 2 }][*].a", [1, 2]),
        ("concat([1], [[2], [3]]...)", [1, 2, 3]),
        ('lookup({ a = "x" }, "b", "y")', "y"),
        ('merge(var.tags, { c = "d" })', {"a": "b", "c": "d"}),
        ('try(var.tags.nothing, "else")', "else"),
        ("can(var.tags.nothing)", False),
        ('"%{ if true }a%{ endif }"', "a"),
        ('"%{ for x in ["a", "b"] ~} ${x} %{ endfor ~}"', "a b "),
        ('format("%02d", 3)', "03"),
        ('cidrsubnet("10.0.0.0/8", 8, 2)', "10.2.0.0/16"),
        (r'regex_replace("a.b", "\\.", "-")', "a-b"),
        ('yamldecode("a: [1, true]")', {"a": [1, True]}),
        ("data.amazon-ami.x.id == null ? 1 : 1", UNKNOWN),
        ("[var.region, timestamp()]", ["us-east-1", UNKNOWN]),
        ('length([timestamp(), "a"])', 2),
    ],
)
def test_what_can_be_known_is(text: str, expected: Any) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "var.nothing",
        "var.given",
        "var.tags.nothing",
        "var.tags[0]",
        "local.nothing",
        "local.loop",
        '"${local.loop}x"',
        '"a${var.given}"',
        '"${var.tags}x"',
        "timestamp()",
        "data.amazon-ami.x.id",
        'env("HOME")',
        "%{ if true }a%{ endif }",
        "basename(var.given)",
        'basename("a", "b")',
        "{ (var.given) = 1 }",
        "this is not HCL",
        'concat("a", ["b"])',
        'tolist(["a"])',
        "1 / 0",
        'true ? "a" : [1]',
        "[for x in var.given : x]",
        'convert("x", number)',
        "[1, 2][2]",
        "upper(null)",
        'try(timestamp(), "x")',
        'legacy_isotime("2006")',
        "uuidv4()",
        'flatten("a")',
        'join("/", [var.given])',
        "join(1)",
        'format("%s")',
        'format("%s", var.given)',
        'format("50%", 1)',
        "[" * 500 + "]" * 500 + ".x",
        'title("ǆ")',
    ],
)
def test_everything_else_is_unknown(text: str) -> None:
    assert value(text) is UNKNOWN


def test_places_count_characters_and_not_bytes() -> None:
    file = read_hcl('locals {\n  a = "é" /* é */\n}\nvariable "ü" {} # é\n'.encode(), "t.pkr.hcl")
    assert [block.place for block in file.body.blocks] == [Place("t.pkr.hcl", 1, 1), Place("t.pkr.hcl", 4, 1)]


def test_a_chain_of_a_thousand_locals_does_not_overflow() -> None:
    locals_ = {f"l{n}": expression(f"local.l{n + 1}") for n in range(1000)}
    scope = Scope({}, locals_ | {"l1000": expression("1")}, path_root="", path_cwd="")
    assert evaluate(expression("local.l0"), scope) is UNKNOWN


def test_text_that_doubles_with_each_local_stops_growing() -> None:
    doubled = {f"l{n}": expression(f'"${{local.l{n - 1}}}${{local.l{n - 1}}}"') for n in range(1, 30)}
    scope = Scope({}, doubled | {"l0": expression('"xxxx"')}, path_root="", path_cwd="")
    assert evaluate(expression("local.l29"), scope) is UNKNOWN


@pytest.mark.parametrize("doubled", ["concat(local.l{0}, local.l{0})", "flatten([local.l{0}, local.l{0}])"])
@pytest.mark.parametrize("first", ['["x"]', "[[]]"])
def test_a_list_that_doubles_with_each_local_stops_growing(doubled: str, first: str) -> None:
    locals_ = {f"l{n}": expression(doubled.format(n - 1)) for n in range(1, 30)}
    scope = Scope({}, locals_ | {"l0": expression(first)}, path_root="", path_cwd="")
    value = evaluate(expression("local.l29"), scope)
    assert value is UNKNOWN or (isinstance(value, list) and len(value) <= MAX_SIZE)
