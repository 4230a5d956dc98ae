"""What a run has in hand, what it keeps for its end, and what it comes to."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from reconciler.git.destination import Target
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model import events
from reconciler.model.collection import Collection
from reconciler.model.difference import Difference
from reconciler.model.errors import DONE, INTERRUPTED, LOST_RACE, PARTIAL, Contention, ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, CiRun, Lockfile
from reconciler.model.plan import Plan, PlanOptions
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.plan.tags import NO_CHANNEL, as_text
from reconciler.ports.registry import Located, Registry
from reconciler.steps.packer_keys import PackerKeys

if TYPE_CHECKING:  # `plan` needs none of them
    from reconciler.ports.announcer import Announcer, Host
    from reconciler.ports.bench import Instances
    from reconciler.ports.builder import Builder
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.tester import Tester

# Tags that are carried to the artifacts at the end of a run, many in one call.
#
# A merge promotes what pull requests built: their artifacts are complete, and only phase and channel are new. Two
# hundred calls for two hundred images would meet request limits; one call a location does not. The lockfile says
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


# What a run has in hand: the adapters, what is asked, and what is known.


class ReadAdapters(Protocol):
    """What a plan is made from: of what a run asks of the world that which is only read."""

    @property
    def repository(self) -> Repository:
        """The clone that is worked in."""

    def branches(self, known: Known) -> frozenset[str] | None:
        """Every branch that the remote has now; None where there is none, or where it does not tell, which is said."""

    def packer(self) -> str | None:
        """The version of the Packer that is here, which is run to say it; None where there is none."""

    def registry(self, known: Known) -> Registry:
        """The registry where the fleet's artifacts live."""

    def publisher(self, known: Known) -> Publisher:
        """Where consumers look up what the channels point to."""


class Adapters(ReadAdapters, Protocol):
    """What a run asks of the world. What costs something is made when it is asked for, and once."""

    @property
    def folder(self) -> Path:
        """Where logs and work folders go: `.reconciler/` in the checkout. Raises UserError where none can be."""

    @property
    def now(self) -> Callable[[], datetime]:
        """The time; every step is handed it."""

    @property
    def listener(self) -> Listener:
        """Hears what happens."""

    @property
    def cancelled(self) -> threading.Event:
        """Set when the run is to end: nothing new is begun then, and what waits ends with Transient."""

    def note(self, text: str) -> None:
        """Tell a person what is no answer and of no image."""

    def planned(self, plan: Plan) -> None:
        """Take the plan that is about to be carried out."""

    def read(self, tree: Tree, options: PlanOptions) -> Known:
        """What the repository says at a revision."""

    def refuse_written_state(self, tree: Tree) -> None:
        """Raise UserError where the branch that is checked out changes state/."""

    def recorder(self, known: Known) -> Recorder:
        """Whoever records to the branch that the settings name."""

    def builder(self) -> Builder:
        """Whoever builds. Raises UserError where there is none that can be used."""

    def refused(self, images: Iterable[Image]) -> Mapping[str, ReconcilerError]:
        """The images that the builder is sure not to build here, by name, and why."""

    def testbed(self, known: Known) -> Testbed:
        """What boots and tests what was built. Raises UserError where nothing can be tested."""

    def announcers(self, known: Known) -> Sequence[Announcer]:
        """Whoever the settings ask to be told."""

    def host(self, known: Known) -> Host:
        """The host of the repository."""


@dataclass(frozen=True)
class Origin:
    """Where a preview comes from: its branch, its pull request if it is known, and why it may be a stranger's.

    `in_ci`: a CI's job says so, and not a person in front of the checkout.
    """

    branch: str
    number: int | None = None
    stranger: str = ""
    in_ci: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked of a run. `run_id` names it in what it makes, `ci` is the CI's job that it is.

    `expected` is the plan that was reviewed, and nothing else is done; `max_actions` overrides the settings' limit.
    """

    run_id: str
    options: PlanOptions = field(default_factory=PlanOptions)
    expected: Plan | None = None
    max_actions: int | None = None
    ci: CiRun | None = None


@dataclass(frozen=True)
class Branch:
    """The branch of a preview. `needed` says in which locations its own children need each image."""

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
    """One run of the loop. Everything in it is shared by the threads that carry out the images."""

    adapters: Adapters
    request: Request
    known: Known
    target: Target
    """The branch that state is recorded to, in the end: with `git.push: pull-request` by a merge."""
    registry: Registry
    recorder: Recorder
    listener: Listener
    branch: Branch | None = None
    """Set for a preview, which records in tags alone."""
    refused: Mapping[str, ReconcilerError] = field(default_factory=dict)
    """Images that are to be built, and that the builder is sure to refuse: found out before anything is started."""
    late_tags: LateTags = field(default_factory=LateTags)
    packer_keys: PackerKeys = field(default_factory=PackerKeys)

    @property
    def repository(self) -> Repository:
        """The clone that is worked in."""
        return self.adapters.repository

    @property
    def folder(self) -> Path:
        """Where logs and work folders go."""
        return self.adapters.folder

    @property
    def now(self) -> Callable[[], datetime]:
        """The time."""
        return self.adapters.now

    @property
    def cancelled(self) -> threading.Event:
        """Set when the run is to end."""
        return self.adapters.cancelled

    @cached_property
    def state(self) -> Tree:
        """Where state/ is read from: the recorded branch, also for a preview, whose branch may hold last week's."""
        return self.repository.tree(self.target.head)

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


DeedVerb = Literal[
    "copied", "converted", "retagged", "disabled", "enabled", "shared", "deprecated", "protected", "promoted",
    "rejected", "renamed", "published", "withdrawn", "retired", "recorded",
]  # fmt: skip


@dataclass(frozen=True)
class Deed:
    """One thing that was done to an image beside building or adopting it, as a row says it."""

    verb: DeedVerb
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
    target: Target
    """The branch that state is recorded to."""
    commits: tuple[str, ...] = ()
    """The commits that were recorded, oldest first; of a proposal, which holds all in one commit, that one."""
    collected: Collection | None = None
    """What was done about builds that nobody needs, where that belongs to the run."""

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
        if self.collected is not None and self.collected.failed:
            return PARTIAL
        return PARTIAL if self.plan.errored or not self.plan.complete else DONE
