"""Regular expressions made of what others wrote, matched in a time that grows with the text and not with its ways.

Python's own tries every way in which the parts of a pattern can share a text: of `a*a*a*a*b` and a name of three
hundred letters there are millions of millions. Google's library, RE2, keeps to one pass.
"""

from __future__ import annotations

from typing import Any

LONGEST = 1024
"""Characters of a pattern of paths: a longer one than any path is no pattern that somebody wrote."""
# RE2 takes UTF-8, and a name in git need not be in it: half of a character is one of its own here.
_HALVES = {code: 0xF0000 + code for code in range(0xD800, 0xE000)}


class Pattern:
    """An expression that matches whole texts."""

    def __init__(self, expression: str) -> None:
        """Compile it.

        Raises:
            ValueError: it is none, as `[z-a]`, or it is longer than patterns are.
        """
        import re2  # noqa: PLC0415 - 5 ms, for the few that have a pattern

        if len(expression) > 16 * LONGEST:
            raise ValueError("the pattern is too long")
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled: Any = re2.compile(_whole(expression), options)
        except re2.error as error:
            raise ValueError("this is no pattern") from error

    def matches(self, text: str) -> bool:
        """Tell whether all of a text is as the pattern says."""
        return self._compiled.fullmatch(_whole(text)) is not None

    def first_group(self, text: str) -> str | None:
        """What the pattern's first group stands for in a text; None if that does not match."""
        match = self._compiled.fullmatch(_whole(text))
        return None if match is None else text[slice(*match.span(1))]


def _whole(text: str) -> str:
    return text if text.isascii() else text.translate(_HALVES)
