"""Random expressions of HCL, well typed for the most part, and ill typed for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Text = SearchStrategy[str]
"""A strategy for the text of an expression."""

_DEPTH = 3
_ONCE_IN = 25
"""How seldom an expression of any other kind stands where one is wanted."""

# Words for parameters that take texts of a certain form; as an argument, most others fail.
_FORMS: Mapping[str, tuple[str, ...]] = {
    "pattern": (
        '"(a)(b)?"',
        '"[a-c]+"',
        '"o(.)"',
        '"(?P<x>[a-z]+)-?"',
        '"^."',
        '"x*"',
        r'"\\d+|\\s"',
        '"("',
        '"(?i)A"',
        '"b|$"',
    ),
    "filling": ('"$1-$${1}"', '"<$0>"', '"$$"', '"${1}"', '"$1x"', '"$x"', '""', '"z"'),
    "format": (
        '"%s"',
        '"%s-%05d"',
        '"%v|%q"',
        '"%-8s|"',
        '"%d%%"',
        '"%[2]s %[1]s"',
        '"%#v"',
        '"%x %X %o %b"',
        '"%08.3f"',
        '"%+d|% d"',
        '"%e %g"',
        '"%.2s"',
        '"%t"',
        '"%5.1f"',
        '"%G"',
        '"%"',
        '"%z"',
        '"%6v|%-6v|"',
        '"%#x"',
        '"%.3g"',
    ),
    "cidr": ('"10.1.0.0/16"', '"192.168.1.7/24"', '"fd00::/8"', '"10.0.0.0/30"', '"2001:db8::/48"', '"10.0.0.0"'),
    "stamp": (
        '"2020-02-29T12:30:05Z"',
        '"1999-12-31T23:59:59+02:00"',
        '"2021-01-01T00:00:00-05:30"',
        '"2020-13-01T00:00:00Z"',
    ),
    "datestyle": (
        '"YYYY-MM-DD"',
        '''"EEEE, DD MMM YY 'at' HH:mm aa"''',
        '"hhmmss ZZZ"',
        '"D M h:m:s ZZZZZ Z"',
        '"YYY"',
        '''"'o''clock' AA"''',
    ),
    "duration": ('"1h"', '"-90m"', '"24h30m10s"', '"0"', '"1d"'),
    "base64": ('"aGk="', '"aGVsbG8gd8O2cmxk"', '"aG"', '"/+8="'),
    "json": ('"{\\"k\\": [1, null, 2.50]}"', '"[true, \\"x\\"]"', '"1e2"', '"nope"', '"{}"', r'"\"\\u00e9\""'),
    "yaml": ('"a: 1"', r'"- x\n- 1.5\n- true\n"', '"a: {b: [c, null]}"', '"hello"', "\"'q'\""),
    "csv": (r'"a,b\n1,2\n3,4"', '"x"', r'"a,b\n1"', r'"a,a\n1,2"'),
    "namespace": ('"dns"', '"url"', '"oid"', '"6ba7b810-9dad-11d1-80b4-00c04fd430c8"'),
    "index": ("0", "1", "2", "-1", "var.count", '"1"'),
    "count": ("0", "1", "2", "3", "5", "var.count", "-2", "1.5"),
    "base": ("2", "10", "16", "36", "62", "63"),
    "key": ('"a"', '"us-east-1"', '"size"', '"b"', '"nope"', "var.word"),
    "digits": ('"10"', '"ff"', '"-7"', '"zZ"', '"1010"', '""'),
    "path": ('"a/b/../c.txt"', '"/x//y/"', '"file"', '"a/"', '""', '"../up"'),
}

_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "text": ("var.word", "var.blank", "local.named", "local.text", 'var.amis["eu-west-1"]', "var.disk.kind"),
    "number": ("var.count", "var.ratio", "var.disk.size", "length(var.words)", "local.sizes[1]"),
    "bool": ("var.yes", "!var.yes"),
    "texts": ("var.words", "local.upper", "var.none", "keys(var.amis)"),
    "numbers": ("var.numbers", "local.sizes", "range(3)"),
    "list": ("var.words", "var.numbers", "var.none", "var.disks", "local.anything.a", "local.sizes"),
    "map": ("var.amis", "{ for w in local.upper : lower(w) => w... }"),
    "object": ("var.disk", "local.anything", "local.anything.b", "var.disks[0]", "var.amis"),
    "null": ("null", "var.nothing"),
}
_LITERALS: Mapping[str, Text] = {
    "text": st.one_of(
        st.sampled_from(
            [
                '""',
                '"a"',
                '"A b-c"',
                '"abc"',
                '" x "',
                '"a,b,,c"',
                '"10"',
                '"-1.5"',
                '"true"',
                '"1e3"',
                '"0x10"',
                '"ü"',
                r'"u\u0308"',
                r'"\ttab\n"',
                r'"q\"q"',
                '"$${no}"',
                '"%%{no}"',
                '"<&>"',
                '"ß"',
                '"日本"',
                '"a.b"',
                '"us-east-1"',
                '"size"',
                '"ami-0123"',
                '"debian-12-amd64-*"',
            ]
        ),
        st.text(
            st.characters(codec="ascii", exclude_characters='"\\$%', min_codepoint=32, max_codepoint=126), max_size=8
        ).map(lambda one: f'"{one}"'),
    ),
    "number": st.one_of(
        st.sampled_from(
            [
                "0",
                "1",
                "2",
                "3",
                "10",
                "255",
                "0.1",
                "0.2",
                "1.5",
                "1e3",
                "2.50",
                "1e-3",
                "12345678901234567890",
                "1000000",
            ]
        ),
        st.integers(0, 10**22).map(str),
        st.decimals(0, 1000, places=3, allow_nan=False).map(str),
    ),
    "bool": st.sampled_from(["true", "false"]),
    "texts": st.sampled_from(["[]", '["x"]', '["b", "a"]', '["a", "", "b", "a"]', '["1", "2"]']),
    "numbers": st.sampled_from(["[]", "[1, 2, 3]", "[0.5]", "[3, 1, 3]"]),
    "list": st.sampled_from(
        ["[]", '[true, "1"]', "[[1], [2, 3]]", '["1", 1, true]', "[null]", '[{ a = 1 }, { a = "x" }]']
    ),
    "map": st.sampled_from(['{ a = "x" }', '{ b = "x", a = "y" }', '{ us-east-1 = "z" }', "{}"]),
    "object": st.sampled_from(
        ["{}", "{ a = 1 }", "{ a = { b = [1] } }", '{ "x y" = true, a : 2 }', '{ a = null, b = "c" }']
    ),
    "null": st.just("null"),
    **{form: st.sampled_from(words) for form, words in _FORMS.items()},
}

_FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "text": (
        "upper text", "lower text", "title text", "trimspace text", "chomp text", "strrev text", "trim text text",
        "trimprefix text text", "trimsuffix text text", "replace text text text", "regex_replace text pattern filling",
        "substr text index count", "join text texts", "join text texts texts", "join text numbers", "format format any",
        "format format text number", "format format number number", "format format number", "format format text",
        "jsonencode any", "base64encode text", "base64decode base64", "urlencode text", "md5 text", "sha1 text",
        "sha256 text", "sha512 text", "indent count text", "basename path", "dirname path", "cidrhost cidr count",
        "cidrnetmask cidr", "cidrsubnet cidr count count", "formatdate datestyle stamp", "timeadd stamp duration",
        "yamlencode any", "yamlencode text", "uuidv5 namespace text", "coalesce text text", "coalesce text number",
        "lookup map key text", "element texts count", "try any text", "regex pattern text", "tostring any",
    ),
    "number": (
        "length any", "length list", "abs number", "ceil number", "floor number", "max number number", "signum count",
        "min number number number", "pow count count", "parseint digits base", "sum numbers", "index texts text",
        "log number count", "element numbers count", "try any number", "length text",
    ),
    "bool": (
        "can any", "contains texts text", "contains list any", "alltrue list", "anytrue list", "startswith text text",
        "endswith text text", "strcontains text text",
    ),
    "texts": (
        "split text text", "sort texts", "reverse texts", "distinct texts", "compact texts", "concat texts texts",
        "keys map", "keys object", "values map", "setunion texts texts", "setintersection texts texts",
        "coalescelist texts texts", "formatlist format texts", "formatlist format texts any",
        "formatlist format texts texts", "cidrsubnets cidr count count", "regexall pattern text",
        "slice texts count count", "sort numbers",
    ),
    "numbers": (
        "range count", "range count count", "range number number number", "reverse numbers", "distinct numbers",
        "concat numbers numbers", "setunion numbers numbers", "sort numbers",
    ),
    "list": (
        "concat list list", "flatten list", "chunklist texts count", "chunklist list count", "setproduct texts numbers",
        "setproduct list texts", "values object", "slice list count count", "csvdecode csv", "reverse list",
        "distinct list", "setunion list texts", "regexall pattern text", "coalescelist list texts", "try any list",
    ),
    "map": ("merge map map", "zipmap texts texts", "merge map object", "try any map"),
    "object": (
        "merge object object", "merge object", "zipmap texts list", "jsondecode json", "yamldecode yaml",
        "zipmap texts numbers", "try any object", "merge",
    ),
}  # fmt: skip
_TYPES = (
    "string", "number", "bool", "list(string)", "list(number)", "set(string)", "map(string)", "map(number)",
    "object({ a = string })", "object({ a = number })", "tuple([string, number])", "list(list(string))", "set(number)",
)  # fmt: skip
KINDS = ("text", "number", "bool", "texts", "numbers", "list", "map", "object")


@st.composite
def expression(draw: st.DrawFn, kind: str = "any", depth: int = _DEPTH) -> str:
    """The text of an expression that mostly is of a kind."""
    if kind == "any" or (kind in KINDS and draw(st.integers(1, _ONCE_IN)) == 1):
        kind = draw(st.sampled_from([*KINDS, *KINDS, *KINDS, "null"]))
    if kind not in KINDS:
        return draw(_LITERALS[kind])
    if depth <= 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.one_of(_LITERALS[kind], st.sampled_from(_VARIABLES[kind])))
    forms = [_called, _called, _conditional, _guarded, *_OF_KIND[kind], *_OF_KIND[kind]]
    return draw(draw(st.sampled_from(forms))(kind, depth - 1))


@st.composite
def _called(draw: st.DrawFn, kind: str, depth: int) -> str:
    if draw(st.integers(0, 14)) == 0:
        return f"convert({draw(expression('any', depth))}, {draw(st.sampled_from(_TYPES))})"
    name, *takes = draw(st.sampled_from(_FUNCTIONS[kind])).split()
    arguments = [draw(expression(one, depth)) for one in takes]
    if arguments and draw(st.integers(0, 39)) == 0:
        arguments = arguments[:-1]
    if arguments and draw(st.integers(0, 29)) == 0:
        arguments[-1:] = [f"[{arguments[-1]}]..."]
    return f"{name}({', '.join(arguments)})"


@st.composite
def _conditional(draw: st.DrawFn, kind: str, depth: int) -> str:
    yes, no = draw(expression(kind, depth)), draw(expression(kind, depth))
    if draw(st.integers(0, 9)) == 0:
        no = draw(expression("any", depth))
    return f"({draw(expression('bool', depth))} ? {yes} : {no})"


@st.composite
def _guarded(draw: st.DrawFn, kind: str, depth: int) -> str:
    """A member of something, with something else in its place where there is none."""
    base = draw(expression(draw(st.sampled_from(["list", "object", "map", "texts", "numbers"])), depth))
    step = draw(st.sampled_from([
        "[0]", "[1]", '["a"]', '["0"]', ".a", ".b", ".size", "[*]", "[*].size", ".*.kind", "[*][0]", ".0",
        f"[{draw(expression(kind, 0))}]",
    ]))  # fmt: skip
    return f"{base}{step}" if draw(st.integers(0, 7)) == 0 else f"try({base}{step}, {draw(expression(kind, depth))})"


@st.composite
def _text(draw: st.DrawFn, _kind: str, depth: int) -> str:
    parts = [draw(_part(depth)) for _ in range(draw(st.integers(1, 3)))]
    return f'"{"".join(parts)}"'


@st.composite
def _part(draw: st.DrawFn, depth: int) -> str:
    left, right = draw(st.sampled_from(["", "~"])), draw(st.sampled_from(["", "~"]))
    inner = draw(expression(draw(st.sampled_from(["text", "text", "number", "bool", "any"])), depth))
    match draw(st.integers(0, 4)):
        case 0:
            return draw(st.sampled_from([" x ", "a", r" \n ", "$", "%", "$$", "%%{x}", "$${y}", "- ", "$$$${z}"]))
        case 1:
            condition = draw(expression("bool", depth))
            return f"%{{{left} if {condition} {right}}} ${{{inner}}} %{{{left} else {right}}} no %{{ endif {right}}}"
        case 2:
            over = draw(expression(draw(st.sampled_from(["texts", "numbers", "map"])), depth))
            return f"%{{ for k, v in {over} {right}}} ${{k}} ${{{left}v}} %{{{left} endfor }}"
        case _:
            return f"${{{left} {inner} {right}}}"


@st.composite
def _arithmetic(draw: st.DrawFn, _kind: str, depth: int) -> str:
    left, right = draw(expression("number", depth)), draw(expression("number", depth))
    operator = draw(st.sampled_from(["+", "-", "*", "/", "%"]))
    return draw(st.sampled_from([f"({left} {operator} {right})", f"{left} {operator} {right} + 1", f"-{left}"]))


@st.composite
def _logic(draw: st.DrawFn, _kind: str, depth: int) -> str:
    if draw(st.booleans()):
        left, right = draw(expression("bool", depth)), draw(expression("bool", depth))
        return draw(st.sampled_from([f"({left} && {right})", f"({left} || {right})", f"!{left}"]))
    if draw(st.booleans()):
        left, right = draw(expression("number", depth)), draw(expression("number", depth))
        return f"({left} {draw(st.sampled_from(['<', '<=', '>', '>=']))} {right})"
    kind = draw(st.sampled_from([*KINDS, "any"]))
    left, right = draw(expression(kind, depth)), draw(expression(kind, depth))
    return f"({left} {draw(st.sampled_from(['==', '!=']))} {right})"


@st.composite
def _list(draw: st.DrawFn, kind: str, depth: int) -> str:
    inner = {"texts": "text", "numbers": "number"}.get(kind, "any")
    if draw(st.booleans()):
        return f"[{', '.join(draw(expression(inner, depth)) for _ in range(draw(st.integers(0, 3))))}]"
    over = draw(expression(draw(st.sampled_from([kind, "list", "object", "map", "texts"])), depth))
    values = {"texts": ["v", '"${k}"', "upper(v)", '"${k}=${v}"'], "numbers": ["k", "v", "k + 1", "length(v)"]}
    value = draw(st.sampled_from(values.get(kind, ["v", "[k, v]", "k == v", "{ k = v }", "v.size"])))
    clause = draw(st.sampled_from(["", "", ' if v != "a"', " if k != 0", f" if {draw(expression('bool', depth))}"]))
    names = draw(st.sampled_from(["k, v", "k, v", "k, v", "v"]))
    return f"[for {names} in {over} : {value}{clause}]"


@st.composite
def _object(draw: st.DrawFn, kind: str, depth: int) -> str:
    inner = "text" if kind == "map" else "any"
    if draw(st.booleans()):
        keys = st.sampled_from(["a", "b", "size", '"k-1"', "1", "(var.word)", '"${var.count}"', "true", "us-east-1"])
        members = [f"{draw(keys)} = {draw(expression(inner, depth))}" for _ in range(draw(st.integers(0, 3)))]
        return f"{{ {', '.join(members)} }}"
    over = draw(expression(draw(st.sampled_from(["texts", "numbers", "map", "object"])), depth))
    key = draw(st.sampled_from(["v", "k", "upper(v)", '"x${k}"', "length(v)"]))
    return f"{{ for k, v in {over} : {key} => {draw(st.sampled_from(['v', 'k', 'v...', '[k, v]...', 'v', 'v...']))} }}"


_OF_KIND = {
    "text": (_text,), "number": (_arithmetic,), "bool": (_logic,), "texts": (_list,), "numbers": (_list,),
    "list": (_list,), "map": (_object,), "object": (_object,),
}  # fmt: skip
