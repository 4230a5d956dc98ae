"""Follows a build's output: keeps a readable log of it and tells of each step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, TextIO

from reconciler.build.lines import RawLine, Splitter, logged
from reconciler.build.machine_readable import Line, Reader
from reconciler.build.outcome import Outcome, Shown, Transcript, brief
from reconciler.build.provisioner import is_step, provisioner_of
from reconciler.build.redact import LineRedactor, Redactor
from reconciler.model.constraint import Version
from reconciler.model.values import format_instant

_NO_TIME = " " * len("2026-11-22T10:15:30Z")
_PIECE = 1 << 16
_KEY_PAIR = re.compile(r"Creating temporary keypair: (\S+)")


class Journal:
    """Takes what Packer prints, in pieces of any size. Nothing that it writes, tells or sums up is secret."""

    def __init__(
        self,
        log: TextIO,
        redact: Redactor,
        *,
        version: Version,
        on_step: Callable[[str, str], None],
        on_key_pair: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take whom to tell.

        Args:
            log: Where the readable log is written.
            redact: Takes the secrets out of it.
            version: Packer's.
            on_step: Is told the build's name and the step.
            on_key_pair: Is told the name of a temporary key pair once the cloud has made it.
        """
        self._log, self._redact, self._version, self._on_step = log, redact, version, on_step
        self._on_key_pair = on_key_pair
        self._key_pairs: dict[str, str | None] = {}
        """By build, the pair that is being made; None once it is no more Packer alone who speaks."""
        self._reader = Reader()
        self._transcript = Transcript(redact)

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
        redact = LineRedactor(self._redact)
        for number, raw in enumerate(_lines(stderr)):
            if number == 0:
                self._log.write("--- stderr ---\n")
            self._log.write(logged(redact(self._redact.shortened(raw.text, left_out=raw.left_out))) + "\n")
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
    try:
        return format_instant(datetime.fromtimestamp(shown.timestamp, UTC))
    except (ValueError, OverflowError, OSError):  # digits and a comma, but no time: a line that only looks like one
        return _NO_TIME
