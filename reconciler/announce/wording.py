"""How foreign text and addresses are shown: on one line, short, with nothing in them that should not be seen."""

from __future__ import annotations

from urllib.parse import urlsplit

_LONGEST = 200


def first_line(text: str) -> str:
    """The text on one printable line of at most 200 characters. It comes from outside and goes to a terminal."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def shown_url(url: str) -> str:
    """The address without login, query and fragment, which may hold secrets."""
    parts = urlsplit(url)
    return first_line(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}") if parts.netloc else ""
