"""A hundred builds in a graph: does the run take as long as its longest chain, and no longer?"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from reconciler.controller import look
from reconciler.git.export import Export
from reconciler.git.objects import Recorded
from reconciler.git.recorder import Recorder, Regenerate
from reconciler.git.repository import Repository
from reconciler.git.tags import TagObject
from reconciler.model.events import Event
from reconciler.model.lockfile import Artifact
from reconciler.model.plan import PlanOptions
from reconciler.model.tree import Tree
from reconciler.plan.planning import FleetPlan
from reconciler.ports.builder import BuildRequest
from reconciler.steps.act import act
from reconciler.steps.observe import find_target, read_repository
from reconciler.steps.run import Request, Run
from tests.bench.fleet import commit, git
from tests.bench.rows import Row, at_most
from tests.doubles.builder import SimulatedBuilder
from tests.doubles.registry import MemoryRegistry, Upstream
from tests.doubles.tester import SimulatedTester
from tests.integration.loop.adapters import WorldAdapters
from tests.integration.loop.world import Controller, World

_LEVELS = 5
_WIDTH = 20
_SHORTEST, _LONGEST = 0.5, 1.0
_AMI = "ami-0123456789abcdef0"
_DEBIAN = "136693071363"


def graph_rows(folder: Path) -> Iterator[Row]:
    """Through the controller, with a registry in memory; recording and exporting cost nothing here, only order does.

    Nothing is smoke-tested: a test would be a part of its build's wait.
    """
    parents = _graph()
    dice = random.Random(100)  # noqa: S311 - the same graph each time, nothing secret
    waits = {name: dice.uniform(_SHORTEST, _LONGEST) for name in parents}
    run, plan = _run(_repository(folder, parents), waits)
    begun = time.perf_counter()
    report = act(run, plan)
    seconds = time.perf_counter() - begun
    built = sum(result.status == "built" for result in report.results)
    if built != len(parents):
        raise RuntimeError(f"{built} of {len(parents)} were built: {report.results[0].why}")
    longest = max(_chain(name, parents, waits) for name in parents)
    yield at_most(
        f"{built} simulated builds on {_LEVELS} levels, unbounded", measured=seconds, against=longest, target=1.05,
        floor="longest chain",
    )  # fmt: skip


def _graph() -> dict[str, str | None]:
    """Each image to its parent; every third image of a level has the same one."""
    return {
        f"image-{level}-{place:02}": f"image-{level - 1}-{place // 3:02}" if level else None
        for level in range(_LEVELS)
        for place in range(_WIDTH)
    }


def _chain(name: str, parents: dict[str, str | None], waits: dict[str, float]) -> float:
    parent = parents[name]
    return waits[name] + (_chain(parent, parents, waits) if parent else 0)


def _repository(root: Path, parents: dict[str, str | None]) -> Path:
    for name, parent in parents.items():
        folder = root / "desired" / name
        folder.mkdir(parents=True)
        source = f"image: {parent}" if parent else f"ami: {{ id: {_AMI} }}"
        (folder / "image.yaml").write_text(f"source: {{ {source} }}\n", encoding="utf-8")
        (folder / "template.pkr.hcl").write_text(_TEMPLATE.replace("@name@", name), encoding="utf-8")
    (root / "desired" / "reconciler.yaml").write_text(_SETTINGS, encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root, "Declare a graph")
    return root


def _run(root: Path, waits: dict[str, float]) -> tuple[Run, FleetPlan]:
    repository = Repository.open(root)
    registry = MemoryRegistry("bench/graph")
    registry.upstreams.append(
        Upstream("us-east-1", _AMI, "debian-12", "2026-11-01T06:00:00Z", owners=(_DEBIAN,))
    )  # fmt: skip
    known = read_repository(repository.tree(), fleet_name="bench/graph", now=_now(), options=PlanOptions())

    def artifacts(request: BuildRequest) -> tuple[Artifact, ...]:
        name = f"{request.image.name}-{request.build_id}"
        return (registry.seed("us-east-1", name, tags=request.image_tags).as_artifact("amazon-ebs.image"),)

    builder = SimulatedBuilder(artifacts, during=lambda request: time.sleep(waits[request.image.name]))
    simulation = Controller(World(root, registry), root, builder=builder, tester=SimulatedTester())
    adapters = _NothingKept(simulation)
    looked = look(adapters, known, asks=False)
    run = Run(
        adapters=adapters,
        request=Request("bench"),
        known=looked.known,
        target=find_target(repository),
        registry=registry,
        recorder=_NothingRecorded(known.tree),
        listener=_unheard,
    )
    return run, looked.planned


class _NothingKept(WorldAdapters):
    @cached_property
    def repository(self) -> Repository:
        here = Repository.open(self.of.root)
        return _NothingExported(here.root, here.git)


class _NothingExported(Repository):
    def export(self, commit: str, directory: Path, *, used: Collection[str] = ()) -> Export:
        del commit, used
        return Export(directory, ())

    def annotated_tag(self, name: str, *, remote: str = "origin") -> TagObject | None:
        del name, remote
        return None


class _NothingRecorded(Recorder):
    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def record(self, regenerate: Regenerate) -> Recorded | None:
        regenerate(self._tree)
        return Recorded(commit=self._tree.oid, branch="main", pushed=False, changed=True, tries=1)


def _unheard(event: Event) -> None:
    del event


def _now() -> datetime:
    return datetime.now(UTC)


_SETTINGS = """\
defaults:
  regions: [us-east-1]
  smoke_test: { boot: false }
limits:
  parallel_builds: 1000
"""
_TEMPLATE = """\
variable "source_ami" {
  type = string
}

source "amazon-ebs" "image" {
  region       = "us-east-1"
  source_ami   = var.source_ami
  ssh_username = "admin"
  ami_name     = "@name@"
}

build {
  sources = ["source.amazon-ebs.image"]
}
"""
