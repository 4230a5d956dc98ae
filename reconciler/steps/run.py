"""What a run has in hand, what it keeps for its end, and what it comes to."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model import events
from reconciler.model.difference import Difference
from reconciler.model.errors import DONE, INTERRUPTED, LOST_RACE, PARTIAL, Contention, ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.lockfile import Build, CiRun, Lockfile, SmokeTestResult
from reconciler.model.plan import Plan
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.plan.tags import NO_CHANNEL, as_text
from reconciler.ports.bench import Instances
from reconciler.ports.builder import Builder
from reconciler.ports.registry import Located, Registry
from reconciler.ports.tester import Tester
from reconciler.steps.packer_keys import PackerKeys

# Tags that are carried to the artifacts at the end of a run, many in one call.
#
# A merge promotes what pull requests built: their artifacts are complete, and only phase and channel are new. Two
# hundred calls for two hundred images would meet EC2's request limits; one call a region does not. The lockfile says
# the phase before: a run that is killed in between leaves tags to set right, which the next plan sees.

_Tags = tuple[tuple[str, str], ...]


@dataclass
class LateTags:
    """What is to be tagged with what. Filled from several threads, written once."""

    _waiting: defaultdict[tuple[str, _Tags], list[tuple[str, Located]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, image: str, artifacts: Iterable[Located], tags: Mapping[str, str]) -> None:
        """Have these artifacts of an image tagged at the end of the run."""
        with self._lock:
            for artifact in artifacts:
                self._waiting[artifact.location, tuple(sorted(tags.items()))].append((image, artifact))

    def write(self, registry: Registry, listener: Listener) -> None:
        """Tag them, those first that a channel came to. What fails is told, and seen by the next plan."""
        for (location, tags), waiting in sorted(self._waiting.items(), key=lambda one: _left_last(*one[0])):
            try:
                registry.tag_all(location, [artifact for _, artifact in waiting], dict(tags))
            except ReconcilerError as error:
                for image, artifact in waiting:
                    what = f"{artifact.id} is not tagged {as_text(dict(tags))}: {error.what}"
                    listener(events.Warned(image=image, what=what))
        self._waiting.clear()


def _left_last(location: str, tags: _Tags) -> tuple[str, bool, _Tags]:
    return location, NO_CHANNEL in dict(tags).values(), tags


# What a run has in hand: the adapters, the revision it works from, and what is handed in from outside.


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


# What became of each image in a run.

Status = Literal["built", "adopted", "unchanged", "changed", "superseded", "skipped", "failed", "interrupted"]


@dataclass(frozen=True)
class Deed:
    """One thing that was done to an image beside building or adopting it, as a row says it."""

    verb: Literal["copied", "retagged", "promoted", "rejected", "renamed", "retired", "recorded"]
    what: str


@dataclass(frozen=True)
class Result:
    """One image's end. `lock` is what is recorded of it now.

    `build` is the one that counts from now on: where another run was faster with the same content, that run's.
    """

    image: str
    status: Status
    lock: Lockfile
    build: Build | None = None
    seconds: int = 0
    why: str = ""
    error: ReconcilerError | None = None
    commit: str | None = None
    tags: tuple[str, ...] = ()
    tested: SmokeTestResult | None = None
    did: tuple[Deed, ...] = ()
    """What else was done, in order; of a `changed` image, all of it."""
    difference: Difference | None = None
    """What changed inside since the build that was there; None where one of the two is not known."""

    @property
    def stands(self) -> bool:
        """Whether children may be built on it."""
        return self.status in ("built", "adopted", "unchanged", "changed") or (
            self.status == "superseded" and self.build is not None
        )


@dataclass(frozen=True)
class Report:
    """A whole run: what became of every image that was acted on, and the plan, which tells of the others."""

    results: tuple[Result, ...]
    plan: Plan

    @property
    def exit_code(self) -> int:
        """Interrupted before lost race before some failed: the most urgent thing first."""
        if any(result.status == "interrupted" for result in self.results):
            return INTERRUPTED
        if any(isinstance(result.error, Contention) for result in self.results):
            return LOST_RACE
        if any(result.status in ("failed", "skipped") for result in self.results):
            return PARTIAL
        if any(image.resting for image in self.plan.images):
            return PARTIAL  # it failed a while ago and still does not stand as declared
        return PARTIAL if self.plan.errored or not self.plan.complete else DONE
