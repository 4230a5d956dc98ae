"""A smoke test in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.model.lockfile import HygieneFinding, SmokeTestResult
from reconciler.model.printable import visible


def outcome(result: SmokeTestResult) -> str:
    """What came of a test, in one line.

    `9 passed, 1 finding`, `not tested: …`, `smoke test failed: test_web.py::…: assert …`.
    """
    match result.status:
        case "passed":
            return f"{result.tests} passed" + (f", {counted(result.findings)}" if result.findings else "")
        case "skipped":
            return f"not tested: {visible(result.why or 'nobody said why')}"
        case _:
            return f"smoke test failed: {_first(result)}"


def lines(result: SmokeTestResult) -> tuple[str, ...]:
    """Every test that failed, one a line; of one that never came to its tests, why."""
    failed = tuple(visible(f"{one.test}: {one.what}") for one in result.failed)
    return failed or ((visible(result.why),) if result.why else ())


def counted(findings: tuple[HygieneFinding, ...]) -> str:
    """How many there are: `1 finding`."""
    return f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"


def texts(findings: Iterable[HygieneFinding]) -> tuple[str, ...]:
    """Each finding in a line, without its hint."""
    return tuple(f"finding: {visible(one.text)}" for one in findings)


def with_hints(findings: Iterable[HygieneFinding], *, given: set[str]) -> Iterator[str]:
    """Each finding in a line, and below it how to get rid of it: once for each code, which is `given` from then on."""
    for one in findings:
        yield from texts([one])
        if one.code not in given:
            given.add(one.code)
            yield f"  {visible(one.hint)}"


def _first(result: SmokeTestResult) -> str:
    found = lines(result)
    if not found:
        return "nothing says why"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}"
