"""What of one build is proven, and which build left an AMI, in a fleet of a thousand images with twenty builds each."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Artifact, Build, Channels, Lockfile
from reconciler.state.lockfiles import path_of, read_lockfile, read_lockfiles, render
from reconciler.words.messages import build_commit
from tests.bench import fleet, stub
from tests.bench.measure import Command, interleaved
from tests.bench.rows import Row, at_most, below, told

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
    yield from _which_rows(root, environment)


def _which_rows(root: Path, environment: Mapping[str, str]) -> Iterator[Row]:
    """The build that left an AMI: one that a lockfile holds, and one that only git's history does."""
    reconciler, name = (sys.executable, "-m", "reconciler"), f"image-{IMAGES // 2:05}"
    lock = read_lockfile(Repository.open(root).tree(), name)
    if lock is None:
        raise RuntimeError(f"nothing is recorded of {name}")
    today = lock.builds[0].artifacts[0].id
    before = _id(lock.builds[0].artifacts[0], IMAGES // 2)
    cost = interleaved(
        {
            "today": Command((*reconciler, "which", today), root, environment),
            "history": Command((*reconciler, "which", before), root, environment),
            "pickaxe": Command(("git", "log", "--format=%H", f"-S{before}", "--", "state/"), root, environment),
        },
        rounds=_ROUNDS,
    )
    what = f"which of {IMAGES:,} images, {_COMMITS:,} commits"
    yield below(f"{what}, an AMI of today: wall", measured=cost["today"].wall, target=1, unit="s")
    yield at_most(
        f"{what}, an AMI in history: wall", measured=cost["history"].wall, against=cost["pickaxe"].wall, target=1.5,
        unit="s", floor="git log -S",
    )  # fmt: skip


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
        locks[name] = lock = _built_again(locks[name], at, commit=tree.oid, number=number)
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


def _built_again(lock: Lockfile, at: datetime, *, commit: str, number: int) -> Lockfile:
    """The lockfile with one more build of the same content, and without those that are no longer kept."""
    last = lock.builds[0]
    started = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    build_id = f"{at:%Y%m%dT%H%M%SZ}-{last.id[-7:]}"
    artifacts = tuple(one.model_copy(update={"id": _id(one, number)}) for one in last.artifacts)
    new = last.model_copy(update={"id": build_id, "started": started, "commit": commit, "artifacts": artifacts})
    older = tuple(_superseded(build) for build in lock.builds[: _KEPT - 1])
    channels = Channels(candidate=build_id, stable=build_id)
    return lock.model_copy(update={"builds": (new, *older), "channels": channels})


def _id(artifact: Artifact, number: int) -> str:
    """The id of the AMI that the build of this number left where another one is."""
    return f"ami-{hashlib.sha256(f'{artifact.location} {number}'.encode()).hexdigest()[:17]}"


def _superseded(build: Build) -> Build:
    return build.model_copy(update={"phase": "superseded", "was_stable": True, "files": None})
