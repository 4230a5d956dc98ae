"""A smoke test in words."""

from __future__ import annotations

from reconciler.model.lockfile import SmokeTestResult
from reconciler.model.printable import visible


def outcome(result: SmokeTestResult) -> str:
    """What came of a test, in one line: `9 passed`, `not tested: …`, `smoke test failed: test_web.py::…: assert …`."""
    match result.status:
        case "passed":
            return f"{result.tests} passed"
        case "skipped":
            return f"not tested: {visible(result.why or 'nobody said why')}"
        case _:
            return f"smoke test failed: {_first(result)}"


def lines(result: SmokeTestResult) -> tuple[str, ...]:
    """Every test that failed, one a line; of one that never came to its tests, why."""
    failed = tuple(visible(f"{one.test}: {one.what}") for one in result.failed)
    return failed or ((visible(result.why),) if result.why else ())


def _first(result: SmokeTestResult) -> str:
    found = lines(result)
    if not found:
        return "nothing says why"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}"
