"""What a run of pytest says of the image, also as JUnit XML."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconciler.build.smoke.pytest_run import TAIL, PytestRun
from reconciler.build.smoke.records import Ended, Found, brief
from reconciler.model.errors import Terminal
from reconciler.model.smoke_test import FailedTest, HygieneFinding
from reconciler.model.text import visible
from reconciler.model.values import format_duration
from reconciler.ports.tester import Hygiene
from reconciler.words import junit

# What a run of pytest says of the image: the tests that count, those that failed, and what no test can say itself.

ONCE_OVER = "once-over"

_PROGRESS = re.compile(r"collecting \.\.\.|\S+\.py::\S")
"""What pytest prints before it reads tests, and before it runs one: that is said by where it was."""


@dataclass(frozen=True)
class Case:
    """One test as it is told of, under the name that people know it by, and what it found that breaks nothing."""

    name: str
    ended: Ended
    findings: tuple[HygieneFinding, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A run's part of the result. `why` is what no single test can say; a run passed that has neither.

    `tests` counts those that ran: a skipped one shows nothing.
    """

    cases: tuple[Case, ...]
    tests: int
    failed: tuple[FailedTest, ...]
    why: str | None = None
    tail: tuple[str, ...] = ()
    lost: bool = False

    @property
    def passed(self) -> bool:
        """Whether there is nothing against the image."""
        return not self.failed and self.why is None

    @property
    def findings(self) -> tuple[HygieneFinding, ...]:
        """What was found that breaks nothing; none of an instance that was lost, as nobody knows what it was then."""
        return () if self.lost else tuple(found for case in self.cases for found in case.findings)


def once_over_name(test: str) -> str:
    """`test_the_clock_is_right` as people read it: `once-over: the clock is right`."""
    return f"{ONCE_OVER}: {test.rpartition('::')[2].removeprefix('test_').replace('_', ' ')}"


def once_over_step(test: str) -> str:
    """The same while it is being found out: `once-over: checking that the clock is right`."""
    return once_over_name(test).replace(": ", ": checking that ", 1)


def in_suite(suite: str, test: str, *, is_file: bool) -> str:
    """A test's name from the repository's root. `suite` is the path of a folder, or of the one file."""
    return posixpath.join(posixpath.dirname(suite) if is_file else suite, test)


def judge_once_over(run: PytestRun, *, timeout: float, hygiene: Hygiene = "warn") -> Judged:
    """What the once-over says. With `hygiene: fail` what it found fails the test that found it.

    Raises:
        Terminal: it could not be run, or broke off. It is ours, so that is no fault of the image.
    """
    if run.lost is None and not run.timed_out and run.finished not in {0, 1}:
        raise Terminal(f"the once-over could not be run here{_how(run, run.running)}")
    run = _with_failures(run) if hygiene == "fail" else run
    cases = tuple(Case(once_over_name(ended.test), ended, _findings(run, ended.test)) for ended in run.ended)
    running = once_over_name(run.running) if run.running else None
    return _judged(run, cases, running=running, what="the once-over", timeout=timeout)


def judge_suite(run: PytestRun, *, suite: str, is_file: bool, timeout: float) -> Judged:
    """What the image's own tests say. A suite that tests nothing has failed: somebody believes that it does."""
    cases = tuple(Case(in_suite(suite, ended.test, is_file=is_file), ended) for ended in run.ended)
    running = in_suite(suite, run.running, is_file=is_file) if run.running else None
    judged = _judged(run, cases, running=running, what=f"the suite {visible(suite)}", timeout=timeout)
    broken = tuple(
        FailedTest(
            test=visible(in_suite(suite, one.path, is_file=is_file) + (f":{one.line}" if one.line else "")),
            what=_shown(one.what),
        )
        for one in run.broken
    )
    if judged.lost or not broken:
        return judged if judged.why or judged.failed or judged.tests else _nothing_tested(judged, suite)
    tail = judged.tail or _last_lines(run.broken[0].details)
    return Judged(judged.cases, judged.tests, (*broken, *judged.failed), judged.why, tail)


def _with_failures(run: PytestRun) -> PytestRun:
    """The run with whatever was found as a failure of the test that found it."""
    ended = tuple(
        replace(one, outcome="failed", what="; ".join([*([one.what] if one.what else []), *found]))
        if (found := [f"{each.text} ({each.hint})" for each in run.found if each.test == one.test])
        else one
        for one in run.ended
    )
    return replace(run, ended=ended, found=())


def _findings(run: PytestRun, test: str) -> tuple[HygieneFinding, ...]:
    return tuple(_finding(found) for found in run.found if found.test == test)


def _finding(found: Found) -> HygieneFinding:
    return HygieneFinding(code=found.code, text=_shown(found.text), hint=_shown(found.hint), keys=tuple(found.keys))


def _judged(run: PytestRun, cases: tuple[Case, ...], *, running: str | None, what: str, timeout: float) -> Judged:
    ran = [case for case in cases if case.ended.outcome != "skipped"]
    if run.lost is not None:
        # What failed meanwhile failed for that.
        where = f" (in {visible(running)})" if running else ""
        return Judged(cases, len(ran), (), f"{run.lost}{where}", lost=True)
    failing = [case for case in ran if case.ended.outcome == "failed"]
    failed = tuple(FailedTest(test=visible(case.name), what=_shown(case.ended.what)) for case in failing)
    tail = _last_lines(failing[0].ended.details) if failing else ()
    if run.timed_out:
        took = f"timed out after {format_duration(int(timeout))}"
        if running:
            hung = FailedTest(test=visible(running), what=took)
            return Judged(cases, len(ran) + 1, (*failed, hung), tail=tail or run.tail)
        return Judged(cases, len(ran), failed, f"{what} {took}", tail or run.tail)
    if run.finished is None or run.finished in {2, 3, 4}:
        left = run.finished is None and run.code >= 0
        why = None if run.broken else f"{what} {'ended itself' if left else 'broke off'}{_how(run, running)}"
        return Judged(cases, len(ran), failed, why, tail or run.tail)
    return Judged(cases, len(ran), failed, tail=tail)


def _how(run: PytestRun, running: str | None) -> str:
    where = f", in {visible(running)}" if running else ""
    code = f"signal {-run.code}" if run.code < 0 else f"exit code {run.code}"
    last = f": {_shown(run.tail[-1])}" if run.tail and not _PROGRESS.match(run.tail[-1]) else ""
    return f"{where} ({code}){last}"


def _nothing_tested(judged: Judged, suite: str) -> Judged:
    if judged.cases:
        why = f"the suite {visible(suite)} tested nothing: all {len(judged.cases)} of its tests were skipped"
    else:
        why = f"the suite {visible(suite)} holds no test"
    return Judged(judged.cases, 0, (), why, judged.tail)


def _shown(text: str) -> str:
    return visible(brief(text))


def _last_lines(text: str) -> tuple[str, ...]:
    return tuple(visible(line.rstrip()) for line in text.splitlines() if line.strip())[-TAIL:]


# A smoke test as JUnit XML, for the test tab of a CI.
#
# pytest could write it, but only at the end of a run: of one that hangs there would be nothing.


def document(image: str, parts: Sequence[tuple[str, Judged]], *, why: str | None) -> str:
    """The whole test, a `testsuite` per part. `why` is what kept it from its end, as an error of its own."""
    suites = [_suite(name, judged) for name, judged in parts]
    if why is not None:
        ended = junit.Case("smoke test", "error", why)
        suites.append(junit.Suite(image, [ended], {"tests": "1", "failures": "0", "errors": "1"}))
    return junit.write(suites, name=image)


_VERDICTS: dict[str, junit.Verdict] = {"passed": "passed", "failed": "failure"}


def _suite(name: str, judged: Judged) -> junit.Suite:
    told = {visible(case.name) for case in judged.cases}
    cases = [
        junit.Case(
            case.name,
            _VERDICTS.get(case.ended.outcome, "skipped"),
            case.ended.what,
            (case.ended.details,),
            f"{case.ended.seconds:.3f}",
            tuple(f"finding: {one.text}\n  {one.hint}" for one in case.findings),
        )
        for case in judged.cases
    ]
    # A file that could not be read, a test that hung: they failed, and never ended.
    cases += [junit.Case(one.test, "error", one.what) for one in judged.failed if one.test not in told]
    seconds = sum(case.ended.seconds for case in judged.cases)
    return junit.Suite(name, cases, junit.counted_by_verdict(cases, time=f"{seconds:.3f}"))
