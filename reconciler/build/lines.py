"""Output that arrives in pieces, line by line, and the log that is kept of it.

Of an endless line only the beginning is kept in memory.
"""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from reconciler.model.printable import visible

LONGEST = 1 << 20
"""Characters that are kept of a line. A template's script may print a file of any size as one line."""


@dataclass(frozen=True)
class RawLine:
    """One line without its end. `left_out` counts the characters that followed and were not kept."""

    text: str
    left_out: int = 0


def new_log(path: Path) -> TextIO:
    """A log that only its owner can read, in place of what was there: it may hold secrets that nobody knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace")


def logged(line: str) -> str:
    """A line as a log has it: whoever looks at one does so on a terminal, and `cat` obeys what it reads. Tabs stay."""
    return "\t".join(map(visible, line.split("\t")))


class Splitter:
    """Turns pieces into lines. A piece may end anywhere, in a character too.

    Lines end with LF or CRLF; invalid UTF-8 is replaced.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished: list[str] = []
        self._kept = self._left_out = 0

    def feed(self, piece: bytes) -> list[RawLine]:
        """The lines that this piece completes, in order."""
        return self._split(self._decode.decode(piece))

    def close(self) -> list[RawLine]:
        """The last line, if it had no end."""
        lines = self._split(self._decode.decode(b"", final=True))
        return [*lines, self._line()] if self._unfinished else lines

    def _split(self, text: str) -> list[RawLine]:
        # Not splitlines(): it splits at form feeds and U+2028 too, which Packer leaves as they are.
        *complete, rest = text.split("\n")
        lines: list[RawLine] = []
        for part in complete:
            self._add(part)
            line = self._line()
            lines.append(RawLine(line.text.removesuffix("\r"), line.left_out))
        self._add(rest)
        return lines

    def _add(self, part: str) -> None:
        kept = part[: LONGEST - self._kept]
        if kept:
            self._unfinished.append(kept)
        self._kept += len(kept)
        self._left_out += len(part) - len(kept)

    def _line(self) -> RawLine:
        line = RawLine("".join(self._unfinished), self._left_out)
        self._unfinished.clear()
        self._kept = self._left_out = 0
        return line
