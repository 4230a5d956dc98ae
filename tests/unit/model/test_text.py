"""What a text holds is shown on a terminal, and never sent to it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.text import IN_BRACKETS, and_more, counted, first_few, joined, visible, visible_json


def test_what_steers_a_terminal_is_shown_and_not_sent() -> None:
    assert visible("a\x1b[2J\u202eb\tc\u200b") == "a\\x1b[2J\\u202eb\\tc\\u200b"
    assert visible("naïve 日本語 → ok") == "naïve 日本語 → ok"


@given(text=st.text())
def test_json_that_is_shown_says_the_same_and_steers_nothing(text: str) -> None:
    whole = json.dumps({"was": text, text: [text]}, indent=2, ensure_ascii=False)

    shown = visible_json(whole)

    assert json.loads(shown) == json.loads(whole)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert shown == whole or not text.isprintable()


def test_one_is_counted_without_an_s() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert [counted(number, "try", "tries") for number in (1, 2)] == ["1 try", "2 tries"]


def test_of_many_names_the_first_are_told_and_the_others_counted() -> None:
    assert first_few(["a", "b"], most=2) == "a, b"
    assert first_few(["a", "b", "c", "d"], most=2) == "a, b and 2 more"
    assert first_few(["a", "b", "c"], most=2, more=IN_BRACKETS) == "a, b (+1 more)"
    assert first_few([], most=2) == ""


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    assert [and_more(left_out) for left_out in (-1, 0, 1)] == ["", "", " and 1 more"]


def test_words_are_joined_as_a_sentence_lists_them() -> None:
    assert [joined(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert joined(["text", "a number"], "or") == "text or a number"
