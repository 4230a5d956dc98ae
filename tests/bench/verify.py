"""What of one build is proven, in a fleet that has recorded twenty builds of each of a thousand images."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Build, Channels, Lockfile
from reconciler.state.lockfiles import path_of, read_lockfiles, render
from reconciler.words.messages import build_commit
from tests.bench import fleet, stub
from tests.bench.measure import Command, interleaved
from tests.bench.rows import Row, below, told

IMAGES = 1000
BUILDS = 20
_COMMITS = IMAGES * BUILDS
_ROUNDS = 5
_KEPT = 3


def verify_rows(folder: Path, environment: Mapping[str, str]) -> Iterator[Row]:
    """The stable build of one image, whose lockfile twenty of twenty thousand commits wrote. Nothing else is asked."""
    root = fleet.make(folder / "fleet", images=IMAGES, publish=partial(stub.write_listing, folder / "listing.json"))
    record_builds(root)
    reconciler = (sys.executable, "-m", "reconciler")
    cost = interleaved(
        {
            "verify": Command((*reconciler, "verify", f"image-{IMAGES // 2:05}"), root, environment),
            "log": Command(("git", "rev-list", "--count", "HEAD"), root, environment),
        },
        rounds=_ROUNDS,
    )
    what = f"verify of one build, {IMAGES:,} images, {_COMMITS:,} commits"
    yield below(f"{what}: wall", measured=cost["verify"].wall, target=1, unit="s")
    yield told(f"{what}: CPU", f"{cost['verify'].cpu:.3g} s", against=f"{cost['log'].cpu:.3g} s git rev-list")


def record_builds(root: Path) -> None:
    """Record that each image was built so many times, one commit a build, as `reconcile` words them."""
    tree = Repository.open(root).tree()
    locks = dict(read_lockfiles(tree)[0])
    stream = subprocess.Popen(["git", "-C", str(root), "fast-import", "--quiet"], stdin=subprocess.PIPE)
    if stream.stdin is None:
        raise RuntimeError("git fast-import was started without a pipe")
    begin = datetime.fromisoformat("2026-11-02T00:00:00+00:00")
    parent = tree.oid
    for number in range(_COMMITS):
        name = f"image-{number % IMAGES:05}"
        at = begin + timedelta(seconds=number)
        locks[name] = lock = _built_again(locks[name], at, commit=tree.oid)
        message = build_commit(name, lock.builds[0]).encode()
        content = render(lock)
        stream.stdin.write(
            b"commit refs/heads/main\nmark :%d\ncommitter bench <bench@localhost> %d +0000\ndata %d\n%s\n"
            % (number + 1, at.timestamp(), len(message), message)
            + (f"from {parent}\n".encode() if number == 0 else b"")
            + b"M 100644 inline %s\ndata %d\n%s\n" % (path_of(name).encode(), len(content), content)
        )
    stream.stdin.close()
    if stream.wait():
        raise RuntimeError(f"git fast-import ended with {stream.returncode}")
    fleet.git(root, "reset", "--quiet", "--hard")
    # As a clone has it, which comes without git's own index of the commits.
    fleet.git(root, "-c", "gc.writeCommitGraph=false", "gc", "--quiet")
    shutil.rmtree(root / ".git" / "objects" / "info" / "commit-graphs", ignore_errors=True)
    (root / ".git" / "objects" / "info" / "commit-graph").unlink(missing_ok=True)


def _built_again(lock: Lockfile, at: datetime, *, commit: str) -> Lockfile:
    """The lockfile with one more build of the same content, and without those that are no longer kept."""
    last = lock.builds[0]
    started = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    build_id = f"{at:%Y%m%dT%H%M%SZ}-{last.id[-7:]}"
    new = last.model_copy(update={"id": build_id, "started": started, "commit": commit})
    older = tuple(_superseded(build) for build in lock.builds[: _KEPT - 1])
    channels = Channels(candidate=build_id, stable=build_id)
    return lock.model_copy(update={"builds": (new, *older), "channels": channels})


def _superseded(build: Build) -> Build:
    return build.model_copy(update={"phase": "superseded", "was_stable": True, "files": None})
