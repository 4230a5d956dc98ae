"""A run with nothing but memory in hand: a registry, a branch that is recorded to, and an ear."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from reconciler.git.objects import Commit, Recorded
from reconciler.model import events
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.tree import Tree, TreeEntry
from reconciler.model.values import digest
from reconciler.plan.planning import Known
from reconciler.state.lockfiles import path_of, read_lockfile, render
from reconciler.steps.run import Request, Run
from tests.doubles.registry import MemoryRegistry
from tests.doubles.tag import SimulatedTag


@dataclass(frozen=True)
class MemoryTree:
    """The files of a revision. Implements `Tree`."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    below: str = ""

    @property
    def oid(self) -> str:
        return digest(sorted((path, content.hex()) for path, content in self.files.items())).removeprefix("sha256:")[
            :40
        ]

    @property
    def entries(self) -> Mapping[str, TreeEntry]:
        return {path: TreeEntry(path, "100644", digest(text.hex())) for path, text in self.files.items()}

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        contents = {digest(text.hex()): text for text in self.files.values()}
        return {oid: contents[oid] for oid in oids if most is None or len(contents[oid]) <= most}


@dataclass
class MemoryRecorder:
    """A branch to record to. `before` is called once, when something is to be recorded: as others push meanwhile."""

    tree: MemoryTree
    commits: list[Commit] = field(default_factory=list)
    before: Callable[[MemoryTree], MemoryTree] | None = None

    def record(self, regenerate: Callable[[Tree], Commit | None]) -> Recorded | None:
        if self.before is not None:
            self.tree, self.before = self.before(self.tree), None
        commit = regenerate(self.tree)
        if commit is None:
            return None
        files = dict(self.tree.files)
        for change in commit.changes:
            files.pop(change.path, None)
            files |= {change.path: change.content} if change.content is not None else {}
        changed = files != self.tree.files
        self.tree = MemoryTree(files)
        self.commits += [commit] if changed or commit.tags else []
        return Recorded(commit=self.tree.oid, branch="main", changed=changed, pushed=True, tries=1)


@dataclass
class InHand:
    """What a step is given, and what came of it."""

    run: Run
    registry: MemoryRegistry
    recorder: MemoryRecorder
    heard: list[events.Event]
    tags: dict[str, SimulatedTag]

    def lock(self, image: str = "web") -> Lockfile | None:
        """What is recorded of an image by now."""
        return read_lockfile(self.recorder.tree, image)

    def told(self, of: type[events.Event]) -> list[Any]:
        """What was heard of a kind, in order."""
        return [one for one in self.heard if type(one) is of]


def in_hand(
    known: Known, root: Path, locks: Iterable[Lockfile] = (), *, files: Mapping[str, bytes] = MappingProxyType({})
) -> InHand:
    """A run of what is known, where these lockfiles, and files, are on the branch that is recorded to."""
    recorded = {lock.image: lock for lock in locks}
    tree = MemoryTree({**files, **{path_of(name): render(lock) for name, lock in recorded.items()}})
    known = replace(known, tree=tree, locks=recorded)
    registry, recorder = MemoryRegistry("acme/images"), MemoryRecorder(tree)
    heard: list[events.Event] = []

    def hear(event: events.Event) -> None:
        heard.append(event)

    tags: dict[str, SimulatedTag] = {}
    repository = SimpleNamespace(
        root=root, has=lambda _commit: True, annotated_tag=tags.get, tree=lambda _revision: recorder.tree,
        name=lambda _remote: "acme/images", remote=lambda _name: None,
        git=SimpleNamespace(inside=lambda path: path, below=""),
    )  # fmt: skip
    adapters = SimpleNamespace(
        repository=repository, folder=root, now=lambda: known.now, cancelled=threading.Event(), note=heard.append
    )
    run = Run(
        adapters=cast("Any", adapters), request=Request("run-1"), known=known,
        target=cast("Any", SimpleNamespace(head="9c0d1e2", branch="main")), registry=registry,
        recorder=cast("Any", recorder), listener=hear,
    )  # fmt: skip
    return InHand(run, registry, recorder, heard, tags)


def there(hand: InHand, lock: Lockfile, *, image: str = "web", **marks: str) -> Lockfile:
    """The lockfile with artifacts that the registry has, with the marks of their builds and these."""
    builds: list[Build] = []
    for build in lock.builds:
        artifacts: list[Artifact] = []
        for one in build.artifacts:
            said = {"fleet": "acme/images", "image": image, "build": build.id, "key": build.key, **marks}
            tags = {f"{TAG_PREFIX}{name}": value for name, value in said.items()}
            seen = hand.registry.seed(one.location, f"{image}-{build.id}", tags=tags)
            artifacts.append(seen.as_artifact(one.builder))
        builds.append(build.model_copy(update={"artifacts": tuple(artifacts)}))
    return lock.model_copy(update={"builds": tuple(builds)})
