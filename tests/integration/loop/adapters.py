"""The adapters of a controller of the loop's world: git is real, the registry and the builder stand in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.workspace import Workspace, refuse_written_state
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.fleet import Image
from reconciler.model.plan import Plan, PlanOptions
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.ports.announcer import Announcer, Host
from reconciler.ports.builder import Builder
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.steps.run import Testbed
from reconciler.words.comment import Previewed

if TYPE_CHECKING:
    from tests.integration.loop.surroundings import Clock
    from tests.integration.loop.world import Controller


@dataclass(frozen=True)
class WorldAdapters:
    """What a run of a controller asks of the world: the `Adapters` of `reconciler.steps.run`."""

    of: Controller

    @cached_property
    def repository(self) -> Repository:
        return Repository.open(self.of.root)

    @cached_property
    def folder(self) -> Path:
        folder = self.of.root / ".reconciler"
        folder.mkdir(exist_ok=True)
        folder.joinpath(".gitignore").write_text("*\n")
        return folder

    @property
    def now(self) -> Clock:
        return self.of.world.clock

    @property
    def cancelled(self) -> threading.Event:
        return self.of.cancelled

    @property
    def listener(self) -> Listener:
        return self.of.hear

    def note(self, text: str) -> None:
        """Nobody reads along."""

    def planned(self, plan: Plan) -> None:
        """Nobody reads along."""

    def read(self, tree: Tree, options: PlanOptions) -> Known:
        return self.of.read(tree, options)

    def refuse_written_state(self, tree: Tree) -> None:
        refuse_written_state(Workspace(self.of.root), tree)

    def packer(self) -> str | None:
        return self.of.packer

    def branches(self, known: Known) -> frozenset[str] | None:
        return self.of.branches()

    def registry(self, known: Known) -> Registry:
        return self.of.world.for_fleet(self.of.on_registry(self.of.world.registry), known)

    def recorder(self, known: Known) -> Recorder:
        return self.of.recorder(self.repository, known)

    def builder(self) -> Builder:
        return self.of.on_builder(self.of.builder)

    def refused(self, images: Iterable[Image]) -> Mapping[str, ReconcilerError]:
        return {}

    def testbed(self, known: Known) -> Testbed:
        of = self.of
        return Testbed(of.on_instances(of.world.instances), of.on_tester(of.tester), of.keep_failed)

    def announcers(self, known: Known) -> Sequence[Announcer]:
        return self.of.announcers

    def publisher(self, known: Known) -> Publisher:
        return self.of.on_publisher(self.of.world.publisher)

    def host(self, known: Known) -> Host:
        return NobodyShows()


class NobodyShows:
    """A host of repositories that shows nothing."""

    def show(
        self, plan: Plan, previewed: Mapping[str, Previewed], *, branch: str, number: int | None, remark: str
    ) -> None:
        """Show nothing."""

    def propose(self, images: tuple[str, ...], *, branch: str, base: str, body: str) -> None:
        """Open nothing."""
