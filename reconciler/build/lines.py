"""Output that arrives in pieces, line by line. Of an endless line only the beginning is kept in memory."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

LONGEST = 1 << 20
"""Characters that are kept of a line. A template's script may print a file of any size as one line."""


@dataclass(frozen=True)
class RawLine:
    """One line without its end. `left_out` counts the characters that followed and were not kept."""

    text: str
    left_out: int = 0


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
