"""What an expression comes to: text, a number, truth, None, a list, a dict, or UNKNOWN."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final


class Unknown(enum.Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "not known"


UNKNOWN: Final = Unknown.UNKNOWN
MAX_TEXT = 64 * 1024
"""Longer text is not known: a template must not make gigabytes of a few doublings."""


def as_text(value: object) -> str | None:
    """Text as HCL would make of a value, or None if that isn't known."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case _:
            return None


def joined(separator: str, values: Iterable[object]) -> str | Unknown:
    """The values as one text; UNKNOWN if one of them is, or if it is too long."""
    texts = []
    length = 0
    for value in values:
        text = as_text(value)
        length += len(text or "") + len(separator)
        if text is None or length > MAX_TEXT:
            return UNKNOWN
        texts.append(text)
    return separator.join(texts)
