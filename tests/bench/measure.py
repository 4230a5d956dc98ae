"""What a command costs: wall time, CPU time and peak memory, of it and of all that it starts.

Run as a program this module is the launcher: a process so small that what it starts does not inherit the bench's own
memory. (Linux counts the memory of the process that forked into the child's peak: `ru_maxrss` survives `exec`.)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Command:
    """What is run, where, and with what added to the environment."""

    arguments: tuple[str, ...]
    directory: Path = Path()
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time (user and system), and the largest resident set in MiB."""

    wall: float
    cpu: float
    peak: float


def interleaved(commands: Mapping[str, Command], *, rounds: int) -> dict[str, Cost]:
    """The median cost of each command, taken in turns (A B A B), after one round that only warms the caches."""
    taken: dict[str, list[Cost]] = {name: [] for name in commands}
    for warm in range(rounds + 1):
        for name, command in commands.items():
            cost = cost_of(command)
            if warm:
                taken[name].append(cost)
    return {name: median(costs) for name, costs in taken.items()}


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        wall=statistics.median(cost.wall for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        peak=statistics.median(cost.peak for cost in costs),
    )


def cost_of(command: Command) -> Cost:
    """Run a command once. Raises RuntimeError with its output when it fails."""
    launched = subprocess.run(
        [sys.executable, "-I", "-S", __file__, *command.arguments],
        cwd=command.directory,
        env={**os.environ, **(command.environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if launched.returncode:
        raise RuntimeError(f"{' '.join(command.arguments)} ended with {launched.returncode}:\n{launched.stderr}")
    return Cost(**json.loads(launched.stdout))


def _launch(arguments: Sequence[str]) -> int:
    begun = time.perf_counter()
    # stdout is where the cost is told; the command's own output is of interest only when it fails.
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    cost = Cost(wall=wall, cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss / 1024)
    sys.stdout.write(json.dumps(asdict(cost)))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    raise SystemExit(_launch(sys.argv[1:]))
