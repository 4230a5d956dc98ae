"""What a text holds is shown on a terminal, and never sent to it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.text import (
    IN_BRACKETS,
    age_text,
    and_more,
    clock_time,
    counted,
    cut,
    decoded,
    did_you_mean,
    duration,
    first_few,
    first_line,
    joined,
    nearest,
    shorten,
    visible,
    visible_json,
)


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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than 1 s"), (1, "1 s"),
        (38, "38 s"), (89, "89 s"), (90, "2 min"), (360, "6 min"), (5369, "89 min"), (5370, "1 h 30 min"),
        (7200, "2 h"), (7260, "2 h 1 min"), (7229, "2 h"),
    ],
)  # fmt: skip
def test_seconds_read_as_people_say_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 min"), (300, "5 min"), (5399, "89 min"), (5400, "1 h"), (172799, "47 h"), (172800, "2 d")],
)
def test_an_age_reads_as_people_say_it(seconds: int, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(("seconds", "shown"), [(0.9, "0:00"), (72, "1:12"), (3725, "1:02:05")])
def test_durations_read_as_a_clock(seconds: float, shown: str) -> None:
    assert clock_time(seconds) == shown


def test_what_is_not_utf8_is_shown_by_its_number() -> None:
    assert decoded(b"caf\xe9") == r"caf\xe9"


def test_a_text_that_is_cut_says_so() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"


def test_a_line_of_others_steers_nothing_and_has_an_end() -> None:
    assert first_line("a\x1b[2J\n  b\t c") == "a [2J b c"
    assert first_line("x" * 201) == "x" * 199 + "…"
    assert shorten("a\nb" + "x" * 60, limit=5) == "a\ufffdbx…"


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("bsae", ["base", "web"], "base"),
        ("us-esat-1", ["us-west-1", "us-east-1"], "us-east-1"),  # two letters in the other order are the commoner slip
        ("us-weat-1", ["us-west-1", "us-east-1"], "us-west-1"),
        ("zzz", ["base", "web"], None),
        ("", ["base"], None),
        ("b" * 1000, ["b" * 999], None),
        ("base", [], None),
    ],
)
def test_a_name_that_is_nearly_right_is_told(name: str, known: list[str], meant: str | None) -> None:
    hint = did_you_mean(name, reversed(known), otherwise="look elsewhere")

    assert nearest(name, known) == meant
    assert hint == (f'did you mean "{meant}"?' if meant is not None else "look elsewhere")


def test_how_near_a_name_has_to_be_may_be_said() -> None:
    assert nearest("ami-0123abcd", ["ami-0123ffff"]) == "ami-0123ffff"
    assert nearest("ami-0123abcd", ["ami-0123ffff"], cutoff=0.85) is None
