"""Where in a JSON text things stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.errors import Place
from reconciler.model.json_text import Node, Places, TooDeep, find, members, read

TEXT = '{\n  "a": [1, {"b": "x\\"}"}],\n  "a": null\n}\n'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def plain(node: Node) -> Any:
    match node.value:
        case tuple():
            return {member.key: plain(member.node) for member in node.value}
        case list():
            return [plain(item) for item in node.value]
        case str():
            return node.value
        case None:
            return json.loads(node.word or "")


def test_each_key_and_element_is_found_in_order_and_a_key_given_twice_is_there_twice() -> None:
    places = Places(TEXT, "f.json")

    found = [(path, places.at(offset)) for path, offset in members(read(TEXT))]

    assert found == [
        (("a",), Place("f.json", 2, 3)),
        (("a", 0), Place("f.json", 2, 9)),
        (("a", 1), Place("f.json", 2, 12)),
        (("a", 1, "b"), Place("f.json", 2, 13)),
        (("a",), Place("f.json", 3, 3)),
    ]


def test_of_what_is_not_there_the_innermost_thing_around_it_is_found() -> None:
    assert find(TEXT, ("a", 1, "c")) == TEXT.index('{"b"')
    assert find(TEXT, ("z",)) == 0


def test_what_is_nested_too_deeply_is_refused_where_it_begins() -> None:
    read("[[1]]", deepest=2)
    with pytest.raises(TooDeep) as refused:
        read("[ [[1]]]", deepest=2)
    assert refused.value.at == 4


@given(value=JSON, indent=st.sampled_from([None, 2]))
def test_any_json_is_read_as_python_reads_it(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert plain(read(text)) == json.loads(text)
