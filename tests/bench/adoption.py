"""Two hundred images that pull requests built and one merge brought: what does adopting them ask of the registry?"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from reconciler.desired.fleet import read_fleet
from reconciler.git.objects import Commit, TagRequest
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import TAG_PREFIX
from reconciler.sandbox import handle
from reconciler.sandbox.handle import Sandbox
from reconciler.state.sbom import inventory_record
from reconciler.steps.record_files import sbom_tag
from reconciler.steps.smoke_test import suite_digest
from reconciler.words.messages import build_tag, tag_name
from tests.bench import fleet, registry
from tests.bench.measure import Command
from tests.bench.rows import Row, told
from tests.doubles.tester import NOTHING_INSIDE, PASSED

MERGED = 200


def adoption_rows(folder: Path, sandbox: Sandbox, environment: Mapping[str, str]) -> Iterator[Row]:
    """The first run after the merge against the second, which finds nothing to do. No Packer is there to be run.

    Once as anybody records, and once under `git.sign`, where a record counts only under a good signature.
    """
    unsigned = _adopt(folder, sandbox, environment, sign=False)
    yield from _call_rows(unsigned, "")
    with handle.running(folder / "signed" / "sandbox") as another:
        signed = _adopt(folder / "signed", another, environment, sign=True)
    yield from _call_rows(signed, ", signed")
    # One run of each, a fleet apart: the clock of a busy machine is told, and promises nothing.
    yield told(
        f"adopting {MERGED} merged images, signed", f"{signed.seconds:.3g} s",
        against=f"{unsigned.seconds:.3g} s unsigned", ratio=f"{signed.seconds / unsigned.seconds:.2f}",
    )  # fmt: skip


@dataclass(frozen=True)
class _Adoption:
    """Calls in a region beyond those of a run that has nothing to do, and how long it took."""

    calls: int
    seconds: float


def _adopt(folder: Path, sandbox: Sandbox, environment: Mapping[str, str], *, sign: bool) -> _Adoption:
    root = fleet.make(folder / "fleet", images=MERGED, publish=partial(_publish, sandbox), phase="preliminary")
    _merge_unrecorded(root, folder / "origin.git", sign=sign)
    inside = {**environment, **registry.environment(sandbox), "PATH": _path_without_packer(folder)}
    reconcile = (sys.executable, "-m", "reconciler", "reconcile", "--json", "--max-actions", str(MERGED))
    command = Command(reconcile, root, inside)
    begun = time.perf_counter()
    adopting, statuses = _calls(sandbox, command)
    seconds = time.perf_counter() - begun
    idle, _ = _calls(sandbox, command)
    if statuses != Counter(adopted=MERGED):
        raise RuntimeError(f"{MERGED} images were to be adopted, and became {dict(statuses)}")
    return _Adoption(max(adopting[region] - idle[region] for region in fleet.REGIONS), seconds)


def _call_rows(found: _Adoption, how: str) -> Iterator[Row]:
    yield Row(
        f"adopting {MERGED} merged images{how}, no Packer: calls in a region beyond a no-op run", str(found.calls),
        "no-op run", "", "≤ 2", found.calls <= 2,
    )  # fmt: skip


def _publish(sandbox: Sandbox, unborn: Sequence[fleet.Unborn]) -> Mapping[tuple[str, str], Artifact]:
    """As previews left them: each was booted, and passed."""
    tested = {f"{TAG_PREFIX}smoke": "passed"}
    return registry.publish(sandbox, [replace(one, tags={**one.tags, **tested}) for one in unborn])


def _merge_unrecorded(root: Path, origin: Path, *, sign: bool) -> None:
    """Take state/ back, as main has it before the first run after a merge, and give the repository an origin.

    What was recorded is in annotated tags instead, where previews put it.
    """
    locks = [Lockfile.model_validate_json(file.read_bytes()) for file in sorted((root / "state").glob("*.lock.json"))]
    fleet.git(root, "rm", "-r", "--quiet", "state")
    if sign:
        _sign_from_now_on(root, root.parent / "key")
    fleet.commit(root, "Merge 200 pull requests")
    fleet.git(root, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    fleet.git(root, "remote", "add", "origin", str(origin))
    fleet.git(root, "push", "--quiet", "--set-upstream", "origin", "main")
    recorder = Repository.open(root).recorder(
        GitSettings(branch="main", sign=sign), now=lambda: datetime.now(UTC), sleep=time.sleep, random=random.random
    )
    tree = Repository.open(root).tree()
    images = read_fleet(tree).images
    suites = {name: suite_digest(image, tree, below="") for name, image in images.items()}
    tags = tuple(tag for lock in locks for tag in _preview_tags(lock.image, lock.builds[0], suites[lock.image]))
    recorder.record(lambda _: Commit(changes=(), message="Tag the previews", tags=tags))


def _sign_from_now_on(root: Path, key: Path) -> None:
    """Give the fleet a key, and `git.sign`: our own key is trusted where no file names another."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    fleet.git(root, "config", "gpg.format", "ssh")
    fleet.git(root, "config", "user.signingKey", str(key))
    settings = root / "desired" / "reconciler.yaml"
    settings.write_text(f"{settings.read_text()}git: {{sign: true}}\n")


def _preview_tags(image: str, build: Build, suite: str) -> tuple[TagRequest, TagRequest]:
    """The tag with a preview's record, and the one on its SBOM. It was tested by what is declared."""
    inventory = inventory_record(image, build.id, NOTHING_INSIDE)
    tested = build.model_copy(
        update={
            "phase": "preliminary",
            "smoke_test": PASSED.model_copy(update={"suite": suite}),
            "inventory": inventory,
        }
    )
    record = TagRequest(name=tag_name(image, build.id), target=build.commit, message=build_tag(image, tested))
    return record, sbom_tag(image, tested, NOTHING_INSIDE)


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
    """A PATH on which git and ssh are, and Packer is not."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("git", "env", "sh", "ssh", "ssh-keygen"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
        (tools / name).symlink_to(found.stdout.strip())
    return str(tools)
