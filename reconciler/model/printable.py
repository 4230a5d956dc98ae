"""Text that steers no terminal: whoever names a file or prints in a build would else write on it what they like."""

from __future__ import annotations


def visible(text: str) -> str:
    """One line of a text, with every character that is not printable written as its escape, also a line's end."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def visible_lines(text: str) -> str:
    """The same of a text of several lines, whose ends stay."""
    return "\n".join(map(visible, text.split("\n")))
