"""When something may happen in a week: `tue 02:00-05:00 UTC`, `mon-fri 22:00-02:00 UTC`, `daily 03:00-05:00 UTC`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"([a-z,-]+) (\d\d:\d\d)-(\d\d:\d\d) UTC", re.ASCII)


@dataclass(frozen=True)
class WeeklyWindow:
    """The days on which it opens (0 is Monday), and how far into the day it opens and, perhaps the next day, closes."""

    days: frozenset[int]
    opens: timedelta
    lasts: timedelta

    def is_open(self, moment: datetime) -> bool:
        """Whether it is open then. The moment at which it closes is outside."""
        return any(opening <= moment < opening + self.lasts for opening in self._openings(moment))

    def opening(self, moment: datetime) -> datetime:
        """The moment itself if it is open then, else when it opens next."""
        return moment if self.is_open(moment) else min(one for one in self._openings(moment) if one > moment)

    def _openings(self, moment: datetime) -> Iterator[datetime]:
        """Every opening from a week before to a week after."""
        today = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = (today + timedelta(days=offset) for offset in range(-7, 8))
        return (day + self.opens for day in days if day.weekday() in self.days)


@cache
def parse_window(text: str) -> WeeklyWindow:
    """Read a window. Raises ValueError with the form that is wanted."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            'a window is days, times and UTC: "tue 02:00-05:00 UTC", "mon-fri 22:00-02:00 UTC", "daily 03:00-05:00 UTC"'
        )
    begins, ends = _time(match[2]), _time(match[3])
    if begins == ends:
        raise ValueError(f"the window opens and closes at {match[2]}; leave it out if it is never closed")
    lasts = ends - begins if ends > begins else ends - begins + timedelta(days=1)
    return WeeklyWindow(days=frozenset(_days(match[1])), opens=begins, lasts=lasts)


def _days(text: str) -> Iterator[int]:
    if text == "daily":
        yield from range(7)
        return
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = _day(first), _day(last if dash else first)
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _day(text: str) -> int:
    if text not in _DAYS:
        raise ValueError(f'"{text}" is not a day: {", ".join(_DAYS)}, or daily')
    return _DAYS.index(text)


def _time(text: str) -> timedelta:
    hours, minutes = map(int, text.split(":"))
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text} is not a time of day: 00:00 to 23:59")
    return timedelta(hours=hours, minutes=minutes)


def _check(text: str) -> str:
    parse_window(text)
    return text


Window = Annotated[
    str,
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "pattern": f"^{_FORM.pattern}$", "examples": ["tue 02:00-05:00 UTC"]}),
]
"""A weekly window, kept as it is written."""
