"""What a run of the tests left out of the kinds beside AMIs, as `make test` tells at its end (`TELL_KINDS`).

A plugin of pytest's: each report says of which kinds its test is, also where another process ran it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator

import pytest

from reconciler.model.text import counted

KINDS = {
    "containers": "container images (oci)",
    "disks": "disks (disk)",
    "vsphere": "templates in a vCenter (vsphere)",
    "terraform": "the Terraform module",
}
"""By the mark of their tests."""
_LEFT = "left to make test-all"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the kinds of a test in its report."""
    report = yield
    kinds = [mark for mark in KINDS if item.get_closest_marker(mark) is not None]
    vars(report)["kinds"] = kinds  # a report takes whatever else is known of a test
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell it, where that is asked for."""
    if os.environ.get("TELL_KINDS"):
        terminalreporter.section("kinds beside AMIs")
        for line in told(one for some in terminalreporter.stats.values() for one in some):
            terminalreporter.line(line)


def told(reports: Iterable[object]) -> Iterator[str]:
    """A line for each kind: how many of its tests ran, and why others did not; of what takes its time none did."""
    ran: Counter[str] = Counter()
    skipped: dict[str, Counter[str]] = {mark: Counter() for mark in KINDS}
    for report in reports:
        for mark in getattr(report, "kinds", ()):
            if getattr(report, "outcome", "") == "skipped":
                skipped[mark][_reason(report)] += 1
            elif getattr(report, "when", "") == "call":
                ran[mark] += 1
    for mark, kind in KINDS.items():
        out = sum(skipped[mark].values())
        why = "; ".join(skipped[mark])
        if not ran[mark]:
            yield f"{kind}: left out: {why}" if out else f"{kind}: {_LEFT}"
        else:
            yield f"{kind}: {counted(ran[mark], 'test')} ran" + (f", {out} left out: {why}" if out else "")
    yield f"What takes its time, of every kind, is {_LEFT}, which installs what is missing."


def _reason(report: object) -> str:
    """Why a test was skipped: `Skipped: …`, behind its file and line."""
    found = getattr(report, "longrepr", None)
    return str(found[2]).removeprefix("Skipped: ") if isinstance(found, tuple) else "skipped"
