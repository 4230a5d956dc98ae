"""Measures speed and memory against stated floors: `make bench`, or `python -m tests.bench`.

One table at the end. Every ratio comes from this one run, the two sides measured in turns, and the median counts:
seconds differ from machine to machine and from hour to hour, ratios hardly. Exits with 1 when a target is missed.
Needs root and port 22, as the sandbox does. `python -m tests.bench plan startup` measures only what is named.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from tests.bench.adoption import adoption_rows
from tests.bench.cleaners import cleaner_rows
from tests.bench.containers import registry_rows
from tests.bench.controller import overhead_rows
from tests.bench.disks import disk_rows
from tests.bench.graph import graph_rows
from tests.bench.inventory import inventory_rows
from tests.bench.machine import machine
from tests.bench.noop import growth_rows, plan_rows
from tests.bench.rows import Row, table
from tests.bench.small import reading_rows, startup_rows
from tests.bench.verify import verify_rows
from tests.bench.walk import walk_rows

Part = Callable[[Path, Sandbox, Mapping[str, str]], Iterator[Row]]


def _plan(folder: Path, sandbox: Sandbox, environment: Mapping[str, str]) -> Iterator[Row]:
    yield from plan_rows(folder, sandbox, environment)
    yield from reading_rows(folder / "fleet")


PARTS: Mapping[str, Part] = {
    "plan": _plan,
    "growth": lambda folder, _sandbox, environment: growth_rows(folder / "growth", environment),
    "verify": lambda folder, _sandbox, environment: verify_rows(folder, environment),
    "adoption": lambda folder, sandbox, environment: adoption_rows(folder / "adoption", sandbox, environment),
    "startup": lambda _folder, _sandbox, environment: startup_rows(environment),
    "controller": lambda folder, sandbox, environment: overhead_rows(folder / "controller", sandbox, environment),
    "graph": lambda folder, _sandbox, _environment: graph_rows(folder / "graph"),
    "walk": lambda folder, _sandbox, _environment: walk_rows(folder / "walk"),
    "containers": lambda folder, _sandbox, environment: registry_rows(folder / "containers", environment),
    "cleaners": lambda folder, _sandbox, environment: cleaner_rows(folder / "cleaners", environment),
    "disks": lambda folder, _sandbox, _environment: disk_rows(folder / "disks"),
    "inventory": lambda _folder, _sandbox, _environment: inventory_rows(),
}


def main(names: list[str]) -> int:
    """Measure, print the table, and say by the exit code whether every target was met."""
    unknown = sorted(set(names) - PARTS.keys())
    if unknown:
        sys.stderr.write(f"there is no {', '.join(unknown)}; there are: {', '.join(PARTS)}\n")
        return 1
    where = machine()
    rows: list[Row] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as name:
        folder = Path(name)
        # Bytecode is there for whatever is installed, also where this process was told to write none.
        environment = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        for part in names or PARTS:
            sys.stderr.write(f"{time.perf_counter() - begun:4.0f} s  {part} …\n")
            place = folder / part
            place.mkdir()
            # An EC2 of its own: what one part published would be in the way of the next, or in its listings.
            with handle.running(place / "sandbox") as sandbox:
                for row in PARTS[part](place, sandbox, environment):
                    rows.append(row)
                    told = (row.measured, row.ratio, row.target, row.verdict)
                    sys.stderr.write(f"        {row.what}: {'  '.join(filter(None, told))}\n")
    sys.stdout.write(f"{where}\n\n{table(rows)}\n")
    missed = sum(row.good is False for row in rows)
    sys.stdout.write(
        f"\n{missed} target{'' if missed == 1 else 's'} missed.\n" if missed else "\nEvery target is met.\n"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
