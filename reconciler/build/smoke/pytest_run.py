"""One run of pytest against an instance: followed, told of test by test, and ended when it has to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from reconciler.build.lines import RawLine, Splitter, logged
from reconciler.build.process import MOST_OUTPUT, Clock, Command, follow
from reconciler.build.redact import LineRedactor, Redactor
from reconciler.build.smoke.records import Began, Broken, Ended, Finished, Found, read
from reconciler.build.smoke.watch import Watch
from reconciler.model.printable import visible

TAIL = 20
"""Lines of output that are shown of a failure."""

_MOST_LOGGED = 8 << 20
"""Characters of output that the log holds; a failed test shows all that it was answered."""
_PIECE = 1 << 16

_GRACE = 20.0
"""Seconds after SIGTERM for the `keeper`, which needs less: killed, it would leave behind what it is there to end."""


@dataclass(frozen=True)
class PytestRun:
    """What came of a run. Nothing in it is secret.

    Args:
        ended: The tests that ran or were skipped, in their order.
        found: What they found that breaks nothing.
        broken: The files that could not be read.
        running: The test it was in when it was ended; None between tests.
        finished: pytest's exit code, if the run came to its end.
        code: The process's exit code, negative for a signal.
        timed_out: It took too long.
        lost: Why there was no use in going on: the instance is gone, or says more than anybody reads.
        tail: The last lines of its output.
    """

    ended: tuple[Ended, ...] = ()
    found: tuple[Found, ...] = ()
    broken: tuple[Broken, ...] = ()
    running: str | None = None
    finished: int | None = None
    code: int = 0
    timed_out: bool = False
    lost: str | None = None
    tail: tuple[str, ...] = ()


def run_pytest(
    command: Command,
    *,
    name: str,
    folder: Path,
    log: TextIO,
    redact: Redactor,
    watch: Watch,
    timeout: float,
    clock: Clock,
    on_test: Callable[[str], None],
) -> PytestRun:
    """Run it to its end, or until it takes too long, is cancelled, or the instance is gone.

    `name` is for its files in `folder`; `on_test` is told of each test that begins. The output is appended to the log.
    """
    stdout, stderr = folder / f"{name}.stdout", folder / f"{name}.stderr"
    records = _Records(redact, on_test)
    with watch.running():
        ended = follow(
            command, records.feed, stdout=stdout, stderr=stderr, timeout=timeout, cancelled=watch.stop, grace=_GRACE,
            clock=clock,
        )  # fmt: skip
    tail = _append(stderr, log, redact)
    lost = f"the tests printed more than {MOST_OUTPUT >> 20} MiB" if ended.flooded else watch.found
    return replace(
        records.so_far(), code=ended.code, timed_out=ended.timed_out and lost is None, lost=lost, tail=tail
    )  # fmt: skip


class _Records:
    """Takes stdout in pieces of any size."""

    def __init__(self, redact: Redactor, on_test: Callable[[str], None]) -> None:
        self._redact, self._on_test = redact, on_test
        self._rest = b""
        self._ended: list[Ended] = []
        self._found: list[Found] = []
        self._broken: list[Broken] = []
        self._running: str | None = None
        self._finished: int | None = None

    def feed(self, piece: bytes) -> None:
        """Take a piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for one in lines:
            self._take(one.decode(errors="replace"))

    def so_far(self) -> PytestRun:
        """What is known by now."""
        return PytestRun(
            tuple(self._ended), tuple(self._found), tuple(self._broken), self._running, self._finished
        )  # fmt: skip

    def _take(self, text: str) -> None:
        match read(text):
            case Began(test=test):
                self._running = test
                self._on_test(test)
            case Ended() as ended:
                self._running = None
                what, details = self._redact(ended.what), self._redact(ended.details)
                self._ended.append(replace(ended, what=what, details=details))
            case Found(text=found_text) as found:
                self._found.append(replace(found, text=self._redact(found_text)))
            case Broken() as broken:
                what, details = self._redact(broken.what), self._redact(broken.details)
                self._broken.append(replace(broken, what=what, details=details))
            case Finished(exit_code=code):
                self._finished = code
            case None:
                return


def _append(output: Path, log: TextIO, redact: Redactor) -> tuple[str, ...]:
    """Append the beginning of the output to the log, without its secrets; returns its last lines."""
    tail: deque[str] = deque(maxlen=TAIL)
    by_line = LineRedactor(redact)
    room, left_out = _MOST_LOGGED, 0
    for line in _lines(output):
        shown = by_line(redact.shortened(line.text, left_out=line.left_out))
        if room > 0:
            log.write(f"{logged(shown)}\n")
            room -= len(shown)
        else:
            left_out += 1
        if shown.strip():
            tail.append(visible(shown.rstrip()))
    if left_out:
        log.write(f"… ({left_out} more lines)\n")
    return tuple(tail)


def _lines(output: Path) -> Iterator[RawLine]:
    splitter = Splitter()
    with output.open("rb") as file:
        while piece := file.read(_PIECE):
            yield from splitter.feed(piece)
    yield from splitter.close()
