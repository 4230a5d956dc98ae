"""Packer's output: line by line, as typed records, and as artifacts."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

from reconciler.model.text import visible
from reconciler.ports.dialect import Made

# Output that arrives in pieces, line by line, and the log that is kept of it.
#
# Of an endless line only the beginning is kept in memory.

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


# What `packer -machine-readable` prints, line by line, as typed records.
#
# A line is `timestamp,target,type,data...`. Packer escapes the data, and only the data (read in packer/ui.go, seen with
# 1.6.6): a comma is written `%!(PACKER_COMMA)`, CR and LF are written `\r` and `\n`, two characters each. A backslash
# is not escaped, so a backslash followed by an `n` in the original text (`C:\new`) cannot be told from a line break: it
# is read as one. A build whose name holds a comma shifts the columns; such names are refused where templates are read.

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


# The artifacts that Packer reports, put together from their lines.

# The null builder always reports an artifact, named `Null`, and leaves nothing behind.
_NULL_BUILDER = "fnoeding.null"


class ArtifactReader:
    """Takes artifact lines in order. An artifact counts once its `end` was seen.

    Post-processors that keep an artifact report it again (the manifest does): equal ones count once.
    """

    def __init__(self) -> None:
        self._unfinished: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._complete: dict[Made, None] = {}

    @property
    def complete(self) -> tuple[Made, ...]:
        """What was reported in full so far, in order."""
        return tuple(self._complete)

    def take(self, line: ArtifactField) -> None:
        """Add one line."""
        fields = self._unfinished.setdefault((line.build, line.index), {})
        if line.field == "end":
            made = _made(line.build, fields)
            if made is not None:
                self._complete.setdefault(made)
        elif line.field == "file":
            fields.setdefault("file", []).extend(line.values[1:])
        else:
            fields[line.field] = list(line.values)


def _made(build: str, fields: Mapping[str, list[str]]) -> Made | None:
    builder_id, identity = _first(fields, "builder-id"), _first(fields, "id")
    files = tuple(fields.get("file", ()))
    if "nil" in fields or builder_id == _NULL_BUILDER or not (identity or files):
        return None
    # The file builder calls every artifact `File`; artifice, checksum and compress call theirs nothing (1.6.6, 1.16.0).
    named = identity if identity and builder_id != "packer.file" else next(iter(files), identity)
    return Made(build, builder_id, named, files)


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")
