"""What a run of Packer came to, told from its lines as they arrive, and the log that is kept of it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, TextIO

from reconciler.build.output import (
    ArtifactField,
    ArtifactReader,
    BuildError,
    Line,
    Noise,
    RawLine,
    Reader,
    Say,
    Splitter,
    escape,
    logged,
    unescape,
)
from reconciler.build.packer.versions import PROVISIONING_FAILED
from reconciler.build.provisioner import is_known_step, is_step, provisioner_of
from reconciler.build.secrets import LineRedactor, Redactor
from reconciler.model.constraint import Version
from reconciler.model.values import told_instant
from reconciler.ports.builder import Provisioner
from reconciler.ports.dialect import Dialect, Made

# What a run of Packer came to, told from its lines as they arrive, with secrets taken out of all that is kept.

TAIL = 20
"""How many last lines are kept."""
_ERRORS = 5
_MOST_LEFT = 20
_BRIEF = 1000
"""Characters of a line that are told; the log has more of it."""

# `==> web: text` for headlines and errors, four blanks for what is below them. A build's name holds no ": ".
# Packer trims the end of a text, so that its empty last line is `    web:`.
_OF_BUILD = re.compile(r"(==> (?=.*: )|    )(\S.*?):(?: (.*)|$)")

# Texts of Packer itself carry no build's prefix, so a script that prints the same words is not mistaken for it.
_CANCELLED = ("Cleanly cancelled builds after being interrupted.", "Cancelling build after receiving ")
_FRAME = ("==> ", "--> ", "Build '")


@dataclass(frozen=True)
class Shown:
    """One line of text without secrets and without its build's prefix.

    `timestamp` is in seconds since 1970, None where Packer gave none; `build` is empty for what belongs to no build.
    """

    timestamp: int | None
    build: str
    text: str
    prefix: str = ""

    @property
    def is_headline(self) -> bool:
        """Whether Packer printed it as one: a step that it enters (from 1.13 on also what scripts print)."""
        return self.prefix.startswith("==>")

    def __str__(self) -> str:
        """The line as Packer shows it to people."""
        return self.prefix + self.text


@dataclass(frozen=True)
class Failing:
    """A build that failed: Packer's error, the provisioner that caused it if one did, and the last lines before."""

    build: str
    error: str
    provisioner: Provisioner | None
    tail: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a run came to. Nothing in it is secret.

    `sources` maps a build to what it was really built on. `left` are the ids that builds printed as those of their own,
    also where they failed later. `tail` holds the last lines of all builds, `general` those that belong to no build:
    errors in the template or the flags, and noise.
    """

    exit_code: int
    artifacts: tuple[Made, ...] = ()
    failures: tuple[Failing, ...] = ()
    cancelled: bool = False
    spoke: bool = True
    """Whether anything of what was printed was Packer's."""
    sources: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """The first errors that belong to no build, each as Packer laid it out: of the template, of the flags."""


@dataclass
class _Watched:
    """What is known of one build so far."""

    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_ERRORS))
    """The last lines that came as errors: what a script prints on stderr arrives before what it printed on stdout."""
    provisioner: Provisioner | None = None
    at_failure: tuple[str, ...] | None = None
    error: str | None = None
    source: str | None = None

    def last_lines(self) -> tuple[str, ...]:
        """The last lines, the last errors among them: those that came earlier stand before the others."""
        missed = [line for line in self.errors if line not in self.tail]
        return (*missed, *list(self.tail)[len(missed) :]) if len(self.tail) == TAIL else (*missed, *self.tail)

    def failing(self, name: str) -> Failing | None:
        if self.error is None:
            return None
        tail = self.last_lines() if self.at_failure is None else self.at_failure
        return Failing(name, self.error, provisioner=self.provisioner, tail=tail)


def brief(line: str) -> str:
    """A redacted line of a length that can be told."""
    return line if len(line) <= _BRIEF else f"{line[:_BRIEF]} … ({len(line) - _BRIEF} more characters)"


class Transcript:
    """Takes the lines of one run in order; `outcome` sums them up. What it holds has an upper bound."""

    def __init__(self, redact: Redactor, dialect: Dialect) -> None:
        self._redact, self._redact_line = redact, LineRedactor(redact)
        self._dialect = dialect
        self._artifacts = ArtifactReader()
        self._builds: dict[str, _Watched] = {}
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._general: deque[str] = deque(maxlen=TAIL)
        self._left: dict[str, None] = {}
        self._wrong: list[str] = []
        self._cancelled = self._spoke = False

    def take(self, line: Line) -> tuple[Shown, ...]:
        """Add one line. Returns the text in it that is for people, line by line; records have none."""
        self._spoke = self._spoke or not isinstance(line, Noise)
        match line:
            case Say(timestamp=timestamp, kind=kind, text=text, left_out=left_out):
                text = self._redact.shortened(text, left_out=left_out)
                told = text.lstrip("\n")
                if kind == "error" and len(self._wrong) < _ERRORS and not told.startswith(_FRAME):
                    self._wrong.append(self._redact(told))
                lines = text.split("\n")
                return tuple(self._take_text(timestamp, one, error=kind == "error") for one in lines)
            case Noise(text=text, left_out=left_out):
                return (self._take_general(None, self._redact.shortened(text, left_out=left_out)),)
            case BuildError(build=build, text=text, left_out=left_out):
                error = self._redact(self._redact.shortened(text, left_out=left_out))
                self._watched(build).error = "\n".join(map(brief, error.split("\n")))
            case ArtifactField():
                self._artifacts.take(line)
        return ()

    def outcome(self, exit_code: int) -> Outcome:
        """Sum up. `exit_code` is the process's."""
        failures = (build.failing(name) for name, build in self._builds.items())
        return Outcome(
            exit_code=exit_code,
            artifacts=self._artifacts.complete,
            failures=tuple(failure for failure in failures if failure is not None),
            cancelled=self._cancelled,
            spoke=self._spoke,
            left=tuple(self._left),
            sources={name: build.source for name, build in self._builds.items() if build.source},
            tail=tuple(self._tail),
            general=tuple(self._general),
            errors=tuple(self._wrong),
        )

    def _watched(self, build: str) -> _Watched:
        return self._builds.setdefault(build, _Watched())

    def _take_text(self, timestamp: int, text: str, *, error: bool) -> Shown:
        text = text.rstrip("\r")
        match = _OF_BUILD.fullmatch(text)
        if match is None:
            self._cancelled = self._cancelled or text.startswith(_CANCELLED)
            return self._take_general(timestamp, text)
        mark, build, said = match.groups()
        shown = self._redact_line(said or "", stream=f"{build}: {'error' if error else ''}")
        self._take_output(build, shown, headline=mark == "==> " and not error, error=error)
        # An error keeps its build's name but is no headline: what a script prints on stderr comes as one.
        return Shown(timestamp, build, shown, prefix=f"{'    ' if error else mark}{build}: ")

    def _take_general(self, timestamp: int | None, text: str) -> Shown:
        shown = self._redact_line(text)
        if shown.strip() and not text.startswith(_FRAME):
            self._general.append(brief(shown))
        return Shown(timestamp, "", shown)

    def _take_output(self, name: str, text: str, *, headline: bool, error: bool) -> None:
        build = self._watched(name)
        if headline and text.startswith(PROVISIONING_FAILED):
            # What follows is the clean-up: it would push the reason out of the tail, and is no provisioner's.
            build.at_failure = build.last_lines()
        elif headline and build.at_failure is None and is_known_step(text):
            build.provisioner = provisioner_of(text)
            if build.provisioner is not None:
                build.tail.clear()  # what came before is not this provisioner's
                build.errors.clear()
        elif build.source is None and (source := self._dialect.built_on(text)) is not None:
            build.source = source  # Packer's own comes before anything that a script prints
        elif len(self._left) < _MOST_LEFT and (left := self._dialect.left(text)) is not None:
            self._left[left] = None
        if text.strip():
            told = brief(text.rstrip())
            build.tail.append(told)
            if error:
                build.errors.append(told)
            self._tail.append(told)


# Packer's own log, which PACKER_LOG turns on: each line that it prints stands there once more, behind the time and, if
# it is of a plugin, that one's name (seen with 1.6.6 and 1.16.0):
#
#     2026/11/30 03:48:14 1796010494,,ui,say,==> null.x: text
#     2026/11/30 03:48:14 packer-provisioner-shell-local plugin: 2026/11/30 03:48:14 text

_DATE = r"[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})? "
_DATED = re.compile(_DATE)
_OF_LOG = re.compile(
    rf"((?:{_DATE}|\S{{1,200}} plugin: ){{0,4}})(?:([0-9]{{1,15}},)([^,\n]{{0,1000}},ui,[a-z-]{{1,20}},))?"
)


class OwnLog:
    """Takes secrets out of Packer's own log, line by line. What is between the parts of one is the same but for times.

    So each line is read on from where the one before it with the same beginning ended, as a build's output is.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact, self._by_line = redact, LineRedactor(redact)

    def __call__(self, raw: RawLine) -> str:
        """One line without secrets, in the form in which it came."""
        text = self._redact.shortened(raw.text, left_out=raw.left_out)
        begins = _OF_LOG.match(text)
        if begins is None or not begins[0]:
            return self._by_line(text)
        said = text[begins.end() :]
        stream = _DATED.sub("", begins[1]) + (begins[3] or "")
        if begins[3] is None:
            shown = self._by_line(said, stream=stream)
        else:
            printed = unescape(said)
            told = "\n".join(self._printed(printed, stream))
            shown = said if told == printed else escape(told)
        return self._redact(begins[0] + shown)

    def _printed(self, text: str, stream: str) -> Iterator[str]:
        """The lines of a text, each without the secrets of its own and those that go over several of them."""
        known = self._redact.known(text)
        start = 0
        for line in text.split("\n"):
            match = _OF_BUILD.fullmatch(line)
            prefix = line[: match.start(3)] if match and match[3] is not None else ""
            said = line[len(prefix) :]
            begins, ends = start + len(prefix), start + len(line)
            of_line = [
                (max(first, begins) - begins, min(behind, ends) - begins)
                for first, behind in known
                if first < ends and behind > begins
            ]
            yield prefix + self._by_line(said, stream=stream + prefix, known=of_line)
            start = ends + 1


# Follows a build's output: keeps a readable log of it and tells of each step.

_NO_TIME = " " * len("2026-11-22T10:15:30Z")
_PIECE = 1 << 16
_KEY_PAIR = re.compile(r"Creating temporary keypair: (\S+)")


class OutputLog:
    """The log of what Packer prints, in pieces of any size. Nothing that it writes, tells or sums up is secret."""

    def __init__(
        self,
        log: TextIO,
        redact: Redactor,
        *,
        version: Version,
        dialect: Dialect,
        on_step: Callable[[str, str], None],
        on_key_pair: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take whom to tell.

        Args:
            log: Where the readable log is written.
            redact: Takes the secrets out of it.
            version: Packer's.
            dialect: That of the image's kind.
            on_step: Is told the build's name and the step.
            on_key_pair: Is told the name of a temporary key pair once the cloud has made it.
        """
        self._log, self._redact, self._version, self._on_step = log, redact, version, on_step
        self._on_key_pair = on_key_pair
        self._key_pairs: dict[str, str | None] = {}
        """By build, the pair that is being made; None once it is no more Packer alone who speaks."""
        self._reader = Reader()
        self._transcript = Transcript(redact, dialect)

    def feed(self, piece: bytes) -> None:
        """Take a piece of stdout."""
        for line in self._reader.feed(piece):
            self._take(line)
        # A person may be following the log.
        self._log.flush()

    def close(self, exit_code: int, *, stderr: BinaryIO) -> Outcome:
        """Take the end of stdout, append stderr to the log (Packer's own log is there, and its panics), sum up."""
        for line in self._reader.close():
            self._take(line)
        own = OwnLog(self._redact)
        for number, raw in enumerate(_lines(stderr)):
            if number == 0:
                self._log.write("--- stderr ---\n")
            self._log.write(logged(own(raw)) + "\n")
        return self._transcript.outcome(exit_code)

    def _take(self, line: Line) -> None:
        for shown in self._transcript.take(line):
            self._log.write(f"{_time(shown)} {logged(str(shown))}\n")
            if shown.build and shown.is_headline and is_step(shown.text, self._version):
                self._on_step(shown.build, brief(shown.text))
            if shown.build:
                self._follow_key_pair(shown)

    def _follow_key_pair(self, shown: Shown) -> None:
        """Tell of the temporary key pair with the step that comes after it: then it is there.

        The amazon builders make it before the instance is launched (step_key_pair.go, the same in 1.6.6 and in
        plugin 1.8). From the launch on what a provisioner prints may look like any step.
        """
        said = shown.text if shown.is_headline else ""
        pending = self._key_pairs.get(shown.build, "")
        if said and pending:
            self._on_key_pair(pending)
            self._key_pairs[shown.build] = None
        elif match := _KEY_PAIR.fullmatch(said):
            self._key_pairs.setdefault(shown.build, match[1])
        elif said.startswith("Launching ") or provisioner_of(said) is not None:
            self._key_pairs.setdefault(shown.build, None)


def _lines(file: BinaryIO) -> Iterator[RawLine]:
    splitter = Splitter()
    while piece := file.read(_PIECE):
        yield from splitter.feed(piece)
    yield from splitter.close()


def _time(shown: Shown) -> str:
    if shown.timestamp is None:
        return _NO_TIME
    return told_instant(shown.timestamp) or _NO_TIME  # digits and a comma may be a line that only looks like one
