"""Runs inside pytest's process: tells of every test on stdout as it happens, and of files that can't be read."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import traceback
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from testinfra.backend.base import BaseBackend, CommandResult

from reconciler.build.smoke.exchange import AnsweredTooMuch, exchange
from reconciler.build.smoke.records import (
    FINDING,
    LIMIT,
    Began,
    Broken,
    Ended,
    Finished,
    Found,
    Record,
    brief,
    line,
    said_by,
)

# What is wrong with a file of tests that cannot be read, and in which line. pytest's process does this.

_DETAILS = 20_000


def broken(nodeid: str, raised: BaseException | None, *, root: Path, details: str) -> Broken:
    """What to say of a file. `nodeid` is what pytest was about to read, from `root`; `raised` is what came of it.

    The path is that of a conftest.py where that is what cannot be read: pytest reads it on its way.
    """
    path = nodeid.partition("::")[0]
    if raised is None:
        return Broken(path, 0, last_line(details), details[-_DETAILS:])
    # pytest's ConftestImportFailure, which has no public name, has both; its CollectError has a cause.
    conftest, cause = getattr(raised, "path", None), getattr(raised, "cause", None) or raised.__cause__ or raised
    if isinstance(conftest, Path):
        path = str(conftest.relative_to(root)) if conftest.is_relative_to(root) else conftest.name
    return Broken(path, _line(root / path, cause), _what(cause), details[-_DETAILS:] or str(cause))


def last_line(text: str) -> str:
    """The last line that says something, without the `E` that pytest puts before errors."""
    lines = [line.removeprefix("E").strip() for line in text.splitlines() if line.strip()]
    return brief(lines[-1]) if lines else "nothing says why"


def _what(cause: BaseException) -> str:
    if isinstance(cause, SyntaxError):
        return brief(f"{type(cause).__name__}: {cause.msg}")
    said = next((line for line in str(cause).splitlines() if line.strip()), "")
    # CollectError has nothing to add to what it says.
    return brief(said if type(cause).__name__ == "CollectError" else f"{type(cause).__name__}: {said}".rstrip(": "))


def _line(path: Path, cause: BaseException) -> int:
    """The line of this file where it went wrong; 0 where it is not in there."""
    if isinstance(cause, SyntaxError) and cause.filename is not None and Path(cause.filename) == path:
        return cause.lineno or 0
    frames = traceback.extract_tb(cause.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if Path(frame.filename) == path), 0)


# Tells of every test on stdout as it happens, one record a line (`records`). pytest's own output goes to stderr, and so
# does whatever the tests and their children print.

_POLL = 10.0
"""Seconds between two looks at nothing: the time of all of it is limited as a whole."""


class Reporter:
    """Collects what becomes of each test, and writes it down when it is over."""

    def __init__(self, out: io.TextIOBase, host: str) -> None:
        """`host` is what testinfra adds to the name of each test: `ssh://instance`."""
        self._out, self._host = out, host
        self._what: dict[str, str] = {}
        self._ended: dict[str, Ended] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._write(Began(self._name(nodeid)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """One of a test's three parts (setup, call, teardown) is over: keep the line that says why it failed."""
        report = yield
        if report.failed and call.excinfo is not None and item.nodeid not in self._what:
            said = said_by(call.excinfo.value, _shown(call.excinfo))
            self._what[item.nodeid] = said if report.when == "call" else f"in {report.when}: {said}"
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The same part again, as it counts. The first that failed is the one that is told."""
        if report.when == "teardown":  # the last part, which has the properties of all
            for name, value in report.user_properties:
                if name == FINDING and isinstance(value, Found):
                    self._write(replace(value, test=self._name(report.nodeid)))
        before = self._ended.get(report.nodeid, Ended(self._name(report.nodeid), "passed", 0.0))
        seconds = before.seconds + report.duration
        if before.outcome == "failed" or report.passed:
            self._ended[report.nodeid] = Ended(before.test, before.outcome, seconds, before.what, before.details)
            return
        if report.skipped:
            self._ended[report.nodeid] = Ended(before.test, "skipped", seconds, _why_skipped(report))
            return
        details = report.longreprtext[-_DETAILS:]
        what = self._what.pop(report.nodeid, "") or last_line(details)
        self._ended[report.nodeid] = Ended(before.test, "failed", seconds, what, details)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test is over, with all its parts."""
        if (ended := self._ended.pop(nodeid, None)) is not None:
            self._write(ended)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A folder, file or class was read, or could not be."""
        report = yield
        if report.failed:
            call = getattr(report, "call", None)
            raised = call.excinfo.value if call is not None and call.excinfo is not None else None
            root = collector.config.rootpath
            self._write(broken(report.nodeid, raised, root=root, details=report.longreprtext))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """The run is over."""
        self._write(Finished(int(exitstatus)))

    def broken_at_the_start(self, raised: BaseException, *, root: Path) -> None:
        """The suite's own conftest.py could not be read: pytest ends before it has begun."""
        self._write(broken("conftest.py", raised, root=root, details=""))

    def _name(self, nodeid: str) -> str:
        """The node id without the host, which is always the same: `test_a[ssh://instance-80]` is `test_a[80]`."""
        return nodeid.replace(f"[{self._host}]", "").replace(f"[{self._host}-", "[")

    def _write(self, record: Record) -> None:
        self._out.write(line(record))
        self._out.flush()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ours."""
    parser.addoption(LIMIT, type=int, default=0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Take stdout for ourselves before pytest captures it, and tell of a conftest.py that cannot be read."""
    limit = early_config.known_args_namespace.reconciler_limit
    if limit:
        signal.alarm(limit)
    hosts = str(early_config.known_args_namespace.hosts)
    BaseBackend.run_local = _run_local
    reporter = Reporter(_take_stdout(), hosts.partition("?")[0])
    early_config.pluginmanager.register(reporter, "reconciler-reporter")
    try:
        yield
    except Exception as error:
        reporter.broken_at_the_start(error, root=early_config.rootpath)
        raise


def _run_local(backend: BaseBackend, command: str, *arguments: str) -> CommandResult:
    """In place of testinfra's own, which takes all that an instance answers into memory."""
    line = backend.encode(backend.quote(command, *arguments))
    pipe = subprocess.PIPE
    with subprocess.Popen(line, shell=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:  # noqa: S602  as testinfra
        try:
            ran = exchange(process, b"", check=lambda: None, poll=_POLL)
        except AnsweredTooMuch as error:
            pytest.fail(f"`{brief(command)}`: {error.what}", pytrace=False)
        finally:
            process.kill()  # no error if it has ended
    return backend.result(ran.status, line, ran.stdout, ran.stderr)


def _take_stdout() -> io.TextIOBase:
    """Where stdout went; from now on it goes to stderr. Children don't inherit the new descriptor (PEP 446)."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")


def _shown(raised: pytest.ExceptionInfo[BaseException]) -> str:
    """What pytest says of an exception."""
    if isinstance(raised.value, pytest.FixtureLookupError):
        return raised.value.formatrepr().errorstring
    return raised.exconly(tryshort=True)


def _why_skipped(report: pytest.TestReport) -> str:
    """A skipped test has (path, line, reason) where a failed one has a traceback; an expected failure has neither."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
    return brief(reason.removeprefix("Skipped: "))
