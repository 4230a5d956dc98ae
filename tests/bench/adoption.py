"""Two hundred images that pull requests built and one merge brought: what does adopting them ask of the registry?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from reconciler.sandbox.handle import Sandbox
from tests.bench import fleet, registry
from tests.bench.measure import Command
from tests.bench.rows import Row

MERGED = 200


def adoption_rows(folder: Path, sandbox: Sandbox, environment: Mapping[str, str]) -> Iterator[Row]:
    """The first run after the merge against the second, which finds nothing to do. No Packer is there to be run."""
    root = fleet.make(
        folder / "fleet", images=MERGED, publish=partial(registry.publish, sandbox), phase="preliminary"
    )  # fmt: skip
    _merge_unrecorded(root, folder / "origin.git")
    inside = {**environment, **registry.environment(sandbox), "PATH": _path_without_packer(folder)}
    reconcile = (sys.executable, "-m", "reconciler", "reconcile", "--json", "--max-actions", str(MERGED))
    command = Command(reconcile, root, inside)
    adopting, statuses = _calls(sandbox, command)
    idle, _ = _calls(sandbox, command)
    if statuses != Counter(adopted=MERGED):
        raise RuntimeError(f"{MERGED} images were to be adopted, and became {dict(statuses)}")
    more = max(adopting[region] - idle[region] for region in fleet.REGIONS)
    yield Row(
        f"adopting {MERGED} merged images, no Packer: calls in a region beyond a no-op run", str(more), "no-op run", "",
        "≤ 2", more <= 2,
    )  # fmt: skip


def _merge_unrecorded(root: Path, origin: Path) -> None:
    """Take state/ back, as main has it before the first run after a merge, and give the repository an origin."""
    fleet.git(root, "rm", "-r", "--quiet", "state")
    fleet.commit(root, "Merge 200 pull requests")
    fleet.git(root, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    fleet.git(root, "remote", "add", "origin", str(origin))
    fleet.git(root, "push", "--quiet", "--set-upstream", "origin", "main")


def _calls(sandbox: Sandbox, command: Command) -> tuple[Counter[str], Counter[str]]:
    """Calls by region, and what became of the images."""
    sandbox.forget_calls()
    ended = subprocess.run(
        command.arguments,
        cwd=command.directory,
        env={**os.environ, **(command.environment or {})},
        capture_output=True,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"reconcile ended with {ended.returncode}: {ended.stderr.decode()[-500:]}")
    calls: Counter[str] = Counter()
    for (_service, _action, region), count in sandbox.calls().items():
        calls[region] += count
    return calls, Counter(result["status"] for result in json.loads(ended.stdout)["results"])


def _path_without_packer(folder: Path) -> str:
    """A PATH on which git is and Packer is not."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("git", "env", "sh"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        (tools / name).symlink_to(found.stdout.strip())
    return str(tools)
