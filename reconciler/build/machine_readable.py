r"""What `packer -machine-readable` prints, line by line, as typed records.

A line is `timestamp,target,type,data...`. Packer escapes the data, and only the data (read in packer/ui.go, seen with
1.6.6): a comma is written `%!(PACKER_COMMA)`, CR and LF are written `\r` and `\n`, two characters each. A backslash is
not escaped, so a backslash followed by an `n` in the original text (`C:\new`) cannot be told from a line break: it is
read as one. A build whose name holds a comma shifts the columns; such names are refused where templates are read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

COMMA = "%!(PACKER_COMMA)"

# Ten digits today. The bound keeps noise that happens to be a long number away from int().
_LINE = re.compile(r"([0-9]{1,15}),")
_COUNT = re.compile(r"[0-9]{1,9}")

SayKind = Literal["say", "message", "error"]


@dataclass(frozen=True)
class Record:
    """A line of output. `timestamp` is in seconds since 1970, UTC."""

    timestamp: int


@dataclass(frozen=True)
class Say(Record):
    """Text for people. Its build stands in the text alone (`==> web: …`), never in the target.

    From 1.13 on a `message` arrives as `say`.
    """

    kind: SayKind
    text: str


@dataclass(frozen=True)
class BuildError(Record):
    """Why a build failed, once per failed build, at the end."""

    build: str
    text: str


@dataclass(frozen=True)
class ErrorCount(Record):
    """How many builds failed; absent when none did, and after a cancelled run."""

    count: int


@dataclass(frozen=True)
class ArtifactCount(Record):
    """How many artifacts of a build follow: one for its builder and one for each post-processor that kept it."""

    build: str
    count: int


@dataclass(frozen=True)
class ArtifactField(Record):
    """One line about one artifact: `builder-id`, `id`, `string`, `files-count`, `file`, `nil` or `end`."""

    build: str
    index: int
    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class VersionField(Record):
    """A line of `packer version`: `version`, `version-prelease` (Packer's spelling) or `version-commit`."""

    field: str
    value: str


@dataclass(frozen=True)
class Other(Record):
    """A line of the right shape and of a type that is not used here, such as `template-variable`."""

    target: str
    type: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Noise:
    """A line that is no record, as it came: a log line, a panic, the output of something that is not Packer."""

    text: str


Line = Record | Noise


def unescape(text: str) -> str:
    """Undo what Packer does to a value."""
    return text.replace("\\n", "\n").replace("\\r", "\r").replace(COMMA, ",")


def parse_line(line: str) -> Line:
    """Read one line without its end. Never raises: what is no record is `Noise`."""
    match = _LINE.match(line)
    if match is None:
        return Noise(line)
    fields = line[match.end() :].split(",")
    if len(fields) < 2:
        return Noise(line)
    target, kind, *escaped = fields
    values = tuple(map(unescape, escaped))
    timestamp = int(match[1])
    return _known(timestamp, target, kind, values) or Other(timestamp, target, kind, values)


def _known(timestamp: int, target: str, kind: str, values: tuple[str, ...]) -> Record | None:
    record: Record | None = None
    match kind, values:
        case "ui", ("say" | "message" | "error" as how, text):
            record = Say(timestamp, how, text)
        case "error", (text,):
            record = BuildError(timestamp, target, text)
        case "error-count", (count,) if _COUNT.fullmatch(count):
            record = ErrorCount(timestamp, int(count))
        case "artifact-count", (count,) if _COUNT.fullmatch(count):
            record = ArtifactCount(timestamp, target, int(count))
        case "artifact", (index, field, *rest) if _COUNT.fullmatch(index):
            record = ArtifactField(timestamp, target, int(index), field, tuple(rest))
        case "version" | "version-prelease" | "version-commit", (value,):
            record = VersionField(timestamp, kind, value)
    return record


class Reader:
    """Turns output that arrives in pieces into lines. A piece may end anywhere, in a character too.

    Lines end with LF or CRLF; invalid UTF-8 is replaced.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that this piece completes, in order. The piece is taken in full even if none is looked at."""
        return iter(self._split(self._decode.decode(piece)))

    def close(self) -> Iterator[Line]:
        """The last line, if it had no end. Packer ends every line: an unended one was cut off by a signal."""
        lines = self._split(self._decode.decode(b"", final=True))
        rest = "".join(self._unfinished)
        self._unfinished.clear()
        return iter([*lines, parse_line(rest)] if rest else lines)

    def _split(self, text: str) -> list[Line]:
        # Not splitlines(): it splits at form feeds and U+2028 too, which Packer leaves as they are.
        *complete, rest = text.split("\n")
        lines: list[Line] = []
        for part in complete:
            self._unfinished.append(part)
            lines.append(parse_line("".join(self._unfinished).removesuffix("\r")))
            self._unfinished.clear()
        if rest:
            self._unfinished.append(rest)
        return lines
