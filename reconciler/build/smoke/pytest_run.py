"""One run of pytest against an instance, in an environment of its own: followed, and ended when it has to be."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import reconciler
from reconciler.build.output import RawLine, Splitter, logged
from reconciler.build.process import MOST_OUTPUT, Clock, Command, follow
from reconciler.build.secrets import LineRedactor, Redactor
from reconciler.build.smoke.client import ALIAS, ClientConfig
from reconciler.build.smoke.records import LIMIT, PLUGIN, Began, Broken, Ended, Finished, Found, read
from reconciler.build.smoke.waiting import Watch
from reconciler.model.text import visible
from reconciler.ports.bench import Reached

# One run of pytest against an instance: followed, told of test by test, and ended when it has to be.

TAIL = 20
"""Lines of output that are shown of a failure."""

_MOST_LOGGED = 8 << 20
"""Characters of output that the log holds; a failed test shows all that it was answered."""
_PIECE = 1 << 16

_GRACE = 20.0
"""Seconds after SIGTERM for the `supervisor`, which needs less: killed, it would leave what it is there to end."""


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


# What the tests of an image run in: a pytest of their own, that nothing around it has an influence on.

# All that tests are handed. A suite is code from the repository, and needs no credentials: no AWS_*, no CI's tokens,
# no agent's socket, no proxy.
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_GRACE_OF_SUPERVISOR = 3.0
"""Seconds for tests to end after SIGTERM. They hold nothing that a kill would leave behind."""

_LATE = 30
"""Seconds after its time a run ends itself: whoever follows it is to end it first, and to know why."""


def bare(inherited: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """The environment of the OpenSSH client, and what that of tests is made of."""
    kept = {name: inherited[name] for name in _KEPT if name in inherited}
    return {**kept, "HOME": str(home)}


def _host(config: ClientConfig, reached: Reached | None) -> tuple[str, ...]:
    if reached is not None:
        return (f"--hosts={reached.host}",)
    # testinfra would share a connection in its own way, and override our settings.
    return f"--hosts=ssh://{ALIAS}?controlpersist=0", f"--ssh-config={config.file}"


def pytest_command(
    target: Path,
    config: ClientConfig,
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float,
    reached: Reached | None = None,
) -> Command:
    """Run the tests in a file or folder against the instance, by whatever Python runs us.

    Of the repository only the suite's own conftest.py files count: the settings are an empty file of ours, and nothing
    above the suite is looked at. Plugins that happen to be installed here are not loaded (a suite may ask for some by
    `pytest_plugins`). `limit` is in seconds; `reached` is for an instance without SSH. A `supervisor` of this process
    runs it, and ends all that the tests start.
    """
    root = target if target.is_dir() else target.parent
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    arguments = [
        sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), str(_GRACE_OF_SUPERVISOR),
        sys.executable, "-B", "-P", "-u", "-m", "pytest",
        "-p", PLUGIN, "-p", "testinfra.plugin", "-p", "no:cacheprovider",
        "-c", str(settings), "--rootdir", str(root), "--confcutdir", str(root),
        "--basetemp", str(folder / "tmp"),
        *_host(config, reached),
        "--continue-on-collection-errors", "--color=no", "--tb=short", "--verbose", "-rfEsP",
        f"{LIMIT}={int(limit) + _LATE}",
        str(target),
    ]  # fmt: skip
    return Command(
        arguments,
        root,
        {
            **environment,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONUTF8": "1",
            # Where we are not installed but run from a checkout.
            "PYTHONPATH": str(Path(reconciler.__file__).parents[1]),
        },
    )
