"""What a run has in hand: the adapters, the revision it works from, and what is handed in from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reconciler.build.protocol import Builder
from reconciler.build.tester import Tester
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.lockfile import CiRun
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.registry.instances.protocol import Instances
from reconciler.registry.protocol import Registry
from reconciler.steps.late_tags import LateTags
from reconciler.steps.packer_keys import PackerKeys


@dataclass(frozen=True)
class Branch:
    """The branch of a preview. `needed` says in which regions its own children need each image."""

    name: str
    pull_request: int | None = None
    needed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Testbed:
    """What boots artifacts, and what tests them. `keep_failed` is for how many seconds a failed one stays."""

    __test__ = False  # pytest would take its name for a test's

    instances: Instances
    tester: Tester
    keep_failed: int = 0


@dataclass(frozen=True)
class Run:
    """One `reconcile`. Everything in it is shared by the threads that carry out the images."""

    known: Known
    repository: Repository
    recorder: Recorder
    registry: Registry
    builder: Builder | None
    """None where the plan builds nothing: a copy needs no Packer."""
    folder: Path
    """Where logs and work folders go: `.reconciler/` in the checkout."""
    run_id: str
    now: Callable[[], datetime]
    listener: Listener
    refused: Mapping[str, ReconcilerError] = field(default_factory=dict)
    """Images that are to be built, and that the builder is sure to refuse: found out before anything is started."""
    testbed: Testbed | None = None
    """None where nothing is booted: a plan that neither builds nor adopts."""
    recorded_branch: str = "main"
    """Where state is recorded, in the end: with `git.push: pull-request` by a merge."""
    state: Tree | None = None
    """Where state/ is read from, if not from what was planned: a branch's preview meets the state of main."""
    ci: CiRun | None = None
    branch: Branch | None = None
    """Set for a preview, which records in tags alone."""
    late_tags: LateTags = field(default_factory=LateTags)
    packer_keys: PackerKeys = field(default_factory=PackerKeys)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def proposes(self) -> bool:
        """Whether what is recorded is only proposed: until it is merged, the lockfiles that count do not have it."""
        return self.known.fleet.settings.git.push == "pull-request"

    @property
    def signs(self) -> bool:
        """Whether only what is signed is ours: a tag under no good signature counts as absent then."""
        return self.known.fleet.settings.git.sign
