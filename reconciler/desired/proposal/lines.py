"""The lines of a script as a shell has them, and what is known of the variables in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_LONGEST_LINE = 16_384
"""Characters of a line that is looked at: people write no longer one."""
_QUOTED_OR_COMMENT = re.compile(r"""\\.|"(?:[^"\\]|\\.)*"|'[^']*'|(?<!\S)\#""")
_PRINTED = re.compile(r"\s*@?cat\s+(?:[12]?>&[12]\s*)?<<-?\s*([\"']?)(\w+)\1\s*(?:[12]?>&[12]\s*)?$")
_REFERENCE = re.compile(r"\$(?:\(([A-Za-z_]\w*)\)|\{([A-Za-z_]\w*)(?:[^{}]*)\}|([A-Za-z_]\w*))")
_EVERY = re.compile(r"\"?\$\{([A-Za-z_]\w*)\[[@*]\]\}\"?")
"""What an array of bash has: its words stay words."""
# Make's automatic variables, positional arguments, calls of functions and of commands, and a CI's own expressions.
_UNKNOWN = re.compile(
    r"\$\{\{.{0,256}?\}\}|\{\{.{0,256}?\}\}|<<.{0,256}?>>|\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\$\{[^{}]*\}|"
    r"\$+[A-Za-z_@*<^?%#0-9]\w*|`[^`]*`"
)


@dataclass
class Left:
    """How much of a file is still read, in lines of code. Whoever writes by hand comes to a hundredth of it.

    A line counts each time that it is read: for each run of a job, and for each call of make.
    """

    of_shells: int = 8_000
    of_make: int = 80_000
    characters: int = 800_000
    runs: int = 8_000
    """Of steps in each of the runs of their jobs."""

    def takes(self, line: str) -> bool:
        """Whether a line of a shell is read; it is taken off then."""
        self.of_shells -= 1
        self.characters -= len(line)
        return self.of_shells >= 0 and self.characters >= 0


def lines_of_code(text: str) -> Iterator[tuple[int, str]]:
    """Lines without their comments, with those that a backslash continues, each with the number of its first."""
    for number, line in _logical_lines(text):
        if len(line) > _LONGEST_LINE:
            continue
        comment = next((found.start() for found in _QUOTED_OR_COMMENT.finditer(line) if found[0] == "#"), None)
        yield number, line[:comment]


_ARRAY_BEGINS = re.compile(r"\s*(?:local\s+|declare\s+-a\s+)?[A-Za-z_]\w*\+?=\([^()]*$")
"""An array of bash that goes on in the lines below it."""


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues, each with the number of its first."""
    began, parts = 0, list[str]()
    printed = ""  # what ends a text that `cat` prints
    for number, line in enumerate(text.splitlines(), start=1):
        if printed:
            printed = "" if line.strip() == printed else printed
            continue
        if "<<" in line and len(line) <= _LONGEST_LINE and (here := _PRINTED.match(line)):
            printed = here[2]
        began = began if parts else number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        if _ARRAY_BEGINS.match(line) or (parts and _ARRAY_BEGINS.match(parts[0]) and ")" not in line):
            comment = next((found.start() for found in _QUOTED_OR_COMMENT.finditer(line) if found[0] == "#"), None)
            parts.append(line[:comment])
            continue
        yield began, " ".join([*parts, line])
        parts = []
    if parts:
        yield began, " ".join(parts)


_SET = re.compile(
    r"\s*(?:(?:export|local|readonly)\s+)?[A-Za-z_]\w*="
    r"(?:\"[^\"$`]*\"|'[^']*'|\$\{?\w+\}?|\$\([^()]*\)|[^\s;&|()\"'$`])*\s*(?:;|&&)"
)


def statements(line: str) -> Iterator[str]:
    """What a line of a shell sets before anything else, each by itself, and then the rest of it."""
    begin = 0
    while found := _SET.match(line, begin):
        yield found[0].rstrip(";& \t")
        begin = found.end()
    if begin == 0 or line[begin:].strip():
        yield line[begin:]


_LONGEST = 65_536
"""Characters that variables put into a text, at most: eight rounds of them can make terabytes of a line."""


def replaced(text: str, known: Mapping[str, str]) -> str:
    """The text with the variables that the file itself sets, and `*` for all that is only known when it is run."""
    left = _LONGEST

    def value(it: re.Match[str]) -> str:
        nonlocal left
        found = known.get(it[1] or it[2] or it[3], it[0])
        left -= len(found)
        return found if left >= 0 else it[0]

    text = _EVERY.sub(lambda it: known.get(f"{it[1]}[@]", "*"), text)
    text = _settled(text, lambda one: _REFERENCE.sub(value, one))
    return _settled(text, lambda one: _UNKNOWN.sub("*", one))  # from the inside: calls stand in calls


def _settled(text: str, change: Callable[[str], str]) -> str:
    for _ in range(8):
        text, before = change(text), text
        if text == before:
            break
    return text


_DIR = re.compile(r"\bdir\s*\(?\s*(?:path\s*:\s*)?(['\"])([^'\"\n]*)\1\s*\)?\s*\{")
_BRACE = re.compile(r"\$\{[^{}]*\}|[{}]")


def of_jenkins(text: str) -> Iterator[str]:
    """The lines of a pipeline with `dir('packer') { … }` as a shell has it: `pushd`, and `popd` where it ends."""
    opened: list[bool] = []

    def as_popd(it: re.Match[str]) -> str:
        if it[0] == "{":
            opened.append(False)
        elif it[0] == "}":
            return " ; popd ; " if opened and opened.pop() else it[0]
        return it[0]

    for line in text.splitlines():
        said, end = "", 0
        for it in _DIR.finditer(line):
            said += _BRACE.sub(as_popd, line[end : it.start()]) + f"; pushd '{it[2]}' ; "
            opened.append(True)
            end = it.end()
        yield said + _BRACE.sub(as_popd, line[end:])
