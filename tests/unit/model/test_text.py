"""What a text holds is shown on a terminal, and never sent to it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.text import counted, visible, visible_json


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
