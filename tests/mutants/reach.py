"""A plugin for pytest that writes down which lines each test reaches: `-p tests.mutants.reach`.

What a test does in processes of its own is not seen. So the tests that begin a Python are written down as well: each of
them may reach anything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage, CoverageData

DECIDING = (
    "reconciler/plan/*.py",
    "reconciler/plan/proof/*.py",
    "reconciler/steps/*.py",
    "reconciler/steps/questions/*.py",
    "reconciler/git/recorder.py",
    "reconciler/git/destination.py",
    "reconciler/git/proposal.py",
    "reconciler/build/output.py",
    "reconciler/build/outcome.py",
    "reconciler/build/secrets.py",
    "reconciler/registries/ec2/*.py",
)
"""The modules that decide, as patterns below the root."""

FOLDER = "RECONCILER_REACH"
"""The variable of the environment that names the folder to write to; each process writes a file of its own."""


@dataclass
class Reach:
    """What is known of the tests, by their ids."""

    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """By module, as a path below the root, and line: the tests that ran it."""
    seconds: dict[str, float] = field(default_factory=dict)
    begin_python: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, other: dict[str, Any]) -> None:
        """Take in what another process wrote."""
        tests = other["tests"]
        for module, lines in other["lines"].items():
            mine = self.lines.setdefault(module, {})
            for line, numbers in lines.items():
                mine.setdefault(int(line), []).extend(tests[number] for number in numbers)
        self.seconds |= other["seconds"]
        self.begin_python += other["begin_python"]
        self.failed += other["failed"]


def read(folder: Path) -> Reach:
    """What all processes of a run wrote."""
    reach = Reach()
    for path in sorted(folder.glob("*.json")):
        reach.add(json.loads(path.read_text()))
    return reach


class _Watcher:
    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.reach, self.now = root, folder, Reach(), ""
        watched = [str(root / module) for module in DECIDING]
        self.coverage = Coverage(data_file=None, include=watched, config_file=False)
        self.coverage.start()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, facts: tuple[object, ...]) -> None:
        if event == "subprocess.Popen" and ("python" in str(facts[0]) or "python" in str(facts[1])):
            self.reach.begin_python.append(self.now)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.now = item.nodeid
        self.coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reach.seconds[report.nodeid] = self.reach.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.reach.failed.append(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        self.coverage.stop()
        self.reach.begin_python = sorted(set(self.reach.begin_python) - {""})
        written = asdict(self.reach) | self._lines(self.coverage.get_data())
        (self.folder / f"{os.getpid()}.json").write_text(json.dumps(written))
        return (yield)

    def _lines(self, data: CoverageData) -> dict[str, Any]:
        """The lines with the numbers of their tests: written out, the ids of thousands would be repeated for each."""
        numbers: dict[str, int] = {}
        lines = {
            str(Path(path).relative_to(self.root)): {
                line: [numbers.setdefault(test, len(numbers)) for test in tests if test]
                for line, tests in data.contexts_by_lineno(path).items()
            }
            for path in data.measured_files()
        }
        return {"lines": lines, "tests": list(numbers)}


def pytest_configure(config: pytest.Config) -> None:
    """Watch, in every process that runs tests: under xdist its workers, and not who deals the tests out."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        config.pluginmanager.register(_Watcher(config.rootpath, Path(os.environ[FOLDER])))
