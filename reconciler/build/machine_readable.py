r"""What `packer -machine-readable` prints, line by line, as typed records.

A line is `timestamp,target,type,data...`. Packer escapes the data, and only the data (read in packer/ui.go, seen with
1.6.6): a comma is written `%!(PACKER_COMMA)`, CR and LF are written `\r` and `\n`, two characters each. A backslash is
not escaped, so a backslash followed by an `n` in the original text (`C:\new`) cannot be told from a line break: it is
read as one. A build whose name holds a comma shifts the columns; such names are refused where templates are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from reconciler.build.lines import RawLine, Splitter

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

    From 1.13 on a `message` arrives as `say`. Of a long one `left_out` characters at its end are missing.
    """

    kind: SayKind
    text: str
    left_out: int = 0


@dataclass(frozen=True)
class BuildError(Record):
    """Why a build failed, once per failed build, at the end. Of a long text `left_out` characters are missing."""

    build: str
    text: str
    left_out: int = 0


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
    """A line that is no record, as it came: a log line, a panic, the output of something that is not Packer.

    Of a long one `left_out` characters at its end are missing.
    """

    text: str
    left_out: int = 0


Line = Record | Noise


def escape(text: str) -> str:
    """What Packer makes of a value."""
    return text.replace(",", COMMA).replace("\r", "\\r").replace("\n", "\\n")


def unescape(text: str) -> str:
    """Undo what Packer does to a value."""
    return text.replace("\\n", "\n").replace("\\r", "\r").replace(COMMA, ",")


def parse_line(line: str, *, left_out: int = 0) -> Line:
    """Read one line without its end. Never raises: what is no record is `Noise`.

    So is a record of which `left_out` characters are missing, unless it is text for people: half of an id is none.
    """
    match = _LINE.match(line)
    fields = line[match.end() :].split(",") if match else []
    if match is None or len(fields) < 2:
        return Noise(line, left_out)
    target, kind, *escaped = fields
    values = tuple(map(unescape, escaped))
    timestamp = int(match[1])
    record = _known(timestamp, target, kind, values)
    if left_out:
        return replace(record, left_out=left_out) if isinstance(record, Say | BuildError) else Noise(line, left_out)
    return record or Other(timestamp, target, kind, values)


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
    """Turns output that arrives in pieces into records. A piece may end anywhere, in a character too."""

    def __init__(self) -> None:
        self._lines = Splitter()

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The records that this piece completes, in order. The piece is taken in full even if none is looked at."""
        return _parsed(self._lines.feed(piece))

    def close(self) -> Iterator[Line]:
        """The last line, if it had no end. Packer ends every line: an unended one was cut off by a signal."""
        return _parsed(self._lines.close())


def _parsed(lines: Iterable[RawLine]) -> Iterator[Line]:
    return (parse_line(line.text, left_out=line.left_out) for line in lines)
