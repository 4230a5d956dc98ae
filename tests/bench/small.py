"""How soon it answers, and how long it takes to read what is committed."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.git.repository import Repository
from reconciler.state.lockfiles import read_lockfiles
from tests.bench.measure import Command, interleaved
from tests.bench.rows import Row, at_most, told

_ROUNDS = 15


def startup_rows(environment: Mapping[str, str]) -> Iterator[Row]:
    """`reconciler --version`, as installed, against Python with click."""
    command = str(Path(sys.executable).with_name("reconciler"))
    cost = interleaved(
        {
            "click": Command((sys.executable, "-c", "import click"), environment=environment),
            "version": Command((command, "--version"), environment=environment),
        },
        rounds=_ROUNDS,
    )
    yield at_most(
        "reconciler --version", measured=cost["version"].wall * 1000, against=cost["click"].wall * 1000, target=1.5,
        unit="ms", floor="import click",
    )  # fmt: skip


def reading_rows(root: Path) -> Iterator[Row]:
    """Every template and every lockfile of the fleet, parsed."""
    tree = Repository.open(root).tree()
    paths = [path for path in tree.entries if path.endswith(".pkr.hcl")]
    contents = tree.read(tree.entries[path].oid for path in paths)

    def templates() -> None:
        for path in paths:
            file = parse_template(contents[tree.entries[path].oid], path)
            folder = path.rpartition("/")[0]
            read_template([file], "hcl2", setting=Setting(folder, folder))

    yield told(f"reading {len(paths):,} HCL templates", f"{_seconds(templates):.2f} s")
    yield told(f"reading {len(paths):,} lockfiles", f"{_seconds(lambda: read_lockfiles(tree)):.2f} s")


def _seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
