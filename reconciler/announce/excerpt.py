"""Cuts Markdown that is too long out of its middle: what matters stands at both ends."""

from __future__ import annotations

LONGEST = 65_535
"""Characters; GitHub answers 422 to a comment or description of more than 65,536."""

_FENCES = ("```", "~~~")
_MOST_DETAILS = 3
_CLOSING = 100
"""Characters that closing and opening again may take: a fence each, three `</details>`, and line ends."""


def excerpt(markdown: str, *, longest: int, whole: str | None) -> str:
    """The text in at most `longest` characters, cut at line ends, with a line that says what was left out.

    A code fence or `<details>` that the cut goes through is closed before that line, and a fence opened again after
    it, so that the line is read and the rest looks as it did.

    Args:
        markdown: The text.
        longest: In characters; some hundreds at least.
        whole: Where the whole text is, if anywhere: an address.
    """
    if len(markdown) <= longest:
        return markdown
    room = longest - len(_notice(len(markdown), whole)) - _CLOSING
    head = _whole_lines(markdown[: room * 2 // 3])
    tail = _whole_lines(markdown[len(markdown) - room // 3 :], from_end=True)
    before_tail = markdown[: len(markdown) - len(tail)]
    notice = _notice(len(markdown) - len(head) - len(tail), whole)
    return "".join([head.rstrip("\n"), _closing(head), notice, _opening(before_tail), tail])


def _notice(left_out: int, whole: str | None) -> str:
    where = f"the whole is at {whole}" if whole else "the log of the job has the whole"
    return f"\n\n*{left_out} characters are left out here; {where}.*\n\n"


def _whole_lines(text: str, *, from_end: bool = False) -> str:
    """The text without the line that was cut, unless that is all there is."""
    if from_end:
        return text.partition("\n")[2] or text
    return text[: text.rfind("\n") + 1] or text


def _open_fence(text: str) -> str:
    """The fence that a code block at the end of the text began with; empty outside of code."""
    fence = ""
    for line in text.splitlines():
        mark = next((mark for mark in _FENCES if line.lstrip().startswith(mark)), "")
        if fence and mark == fence:
            fence = ""
        elif not fence:
            fence = mark
    return fence


def _closing(head: str) -> str:
    fence = _open_fence(head)
    depth = max(0, head.count("<details") - head.count("</details>"))
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * min(depth, _MOST_DETAILS)


def _opening(before: str) -> str:
    fence = _open_fence(before)
    return f"{fence}\n" if fence else ""
