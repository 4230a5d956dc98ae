from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.window import parse_window

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
WINDOWS = st.sampled_from(
    [
        "tue 02:00-05:00 UTC",
        "mon-fri 22:00-02:00 UTC",
        "sat-mon 23:59-00:00 UTC",
        "daily 00:00-23:59 UTC",
        "sun 23:00-22:59 UTC",
    ]
)
MOMENTS = st.integers(0, 2 * 366 * 86400).map(lambda seconds: MONDAY + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("window", "day", "time", "expected"),
    [
        ("tue 02:00-05:00 UTC", 1, "02:00", True),
        ("tue 02:00-05:00 UTC", 1, "04:59", True),
        ("tue 02:00-05:00 UTC", 1, "05:00", False),
        ("tue 02:00-05:00 UTC", 2, "03:00", False),
        ("mon-fri 22:00-02:00 UTC", 4, "23:00", True),
        ("mon-fri 22:00-02:00 UTC", 5, "01:59", True),  # Friday's window, on Saturday morning
        ("mon-fri 22:00-02:00 UTC", 5, "22:00", False),
        ("sat-mon 10:00-11:00 UTC", 6, "10:30", True),
        ("sat-mon 10:00-11:00 UTC", 1, "10:30", False),
        ("mon,wed 10:00-11:00 UTC", 2, "10:30", True),
        ("daily 10:00-11:00 UTC", 3, "10:30", True),
    ],
)
def test_a_window_is_open_from_its_beginning_to_before_its_end(
    window: str, day: int, time: str, *, expected: bool
) -> None:
    hours, minutes = map(int, time.split(":"))
    assert parse_window(window).is_open(MONDAY + timedelta(days=day, hours=hours, minutes=minutes)) is expected


@given(WINDOWS, MOMENTS)
def test_the_next_opening_is_open_and_no_earlier_moment_is(window: str, moment: datetime) -> None:
    week = parse_window(window)
    opening = week.opening(moment)

    assert moment <= opening <= moment + timedelta(days=7)
    assert week.is_open(opening)
    if opening > moment:
        assert not week.is_open(moment)
        assert not week.is_open(opening - timedelta(seconds=1))


def test_a_moment_counts_in_utc_wherever_it_was_taken() -> None:
    at_three = MONDAY + timedelta(days=1, hours=3)
    assert parse_window("tue 02:00-05:00 UTC").is_open(at_three.astimezone())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tuesday 02:00-05:00 UTC", "mon, tue"),
        ("tue 2:00-5:00 UTC", "a window is days"),
        ("tue 02:00-05:00", "a window is days"),
        ("tue 02:00-05:00 CET", "a window is days"),
        ("tue 25:00-05:00 UTC", "00:00 to 23:59"),
        ("tue 02:60-05:00 UTC", "00:00 to 23:59"),
        ("tue 02:00-02:00 UTC", "leave it out"),
        ("tue, 02:00-05:00 UTC", "is not a day"),
        ("tue 0\u0662:00-05:00 UTC", "a window is days"),
        ("", "a window is days"),
    ],
)
def test_what_is_no_window_says_what_one_looks_like(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_window(text)
