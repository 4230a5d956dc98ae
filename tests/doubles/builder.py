"""A `Builder` that builds nothing: for the tests of the loop, and for measuring it without Packer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener, Started, Step
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, PackerVersions
from reconciler.ports.builder import BuildFailed, BuildRequest, BuildResult
from reconciler.ports.dialect import Made

ArtifactFactory = Callable[[BuildRequest], tuple[Artifact, ...]]
MadeFactory = Callable[[BuildRequest], tuple[Made, ...]]
STEPS = ("Launching a source AWS instance...", "Creating AMI from instance...")


@dataclass
class SimulatedBuilder:
    """Answers at once. It counts no time: `durations` (seconds by image) is only what its results say.

    `artifacts` makes what a build leaves, in a registry too if the test has one. An image in `failures` fails with that
    error. `during` is called in the middle of each build, where a test may wait for, or cause, whatever happens then.
    """

    artifacts: ArtifactFactory
    durations: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, ReconcilerError] = field(default_factory=dict)
    during: Callable[[BuildRequest], None] | None = None
    key_pair: str | None = None
    """The name of the key pair that every build logs in with."""
    version: str = "0.0.0"
    requests: list[BuildRequest] = field(default_factory=list)
    """Every request, in the order in which they came."""
    made: MadeFactory = lambda _request: ()
    """What a build leaves on this machine, where its kind is stored from there."""
    built_on: Callable[[str | None], str | None] = lambda given: given
    """What Packer says of the source that it was given."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def refused(self, _images: Iterable[Image], _environment: Mapping[str, str]) -> dict[str, ReconcilerError]:
        """Nothing: it needs nothing of the machine; see `Packer.refused`."""
        return {}

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        """Build nothing; see `Builder.build`."""
        name = request.image.name
        with self._lock:
            self.requests.append(request)
        listener(Started(name, request.build_id, request.estimate_seconds, str(request.log)))
        if self.key_pair is not None:
            request.on_key_pair(self.key_pair)
        listener(Step(name, STEPS[0]))
        if self.during is not None:
            self.during(request)
        seconds = self.durations.get(name, 0)
        if cancelled.is_set():
            raise BuildFailed("build was cancelled", cause="cancelled", seconds=seconds, log=request.log)
        if name in self.failures:
            raise self.failures[name]
        if seconds > request.timeout:
            raise BuildFailed("build timed out", cause="timed-out", seconds=int(request.timeout), log=request.log)
        listener(Step(name, STEPS[1]))
        return BuildResult(
            artifacts=self.artifacts(request),
            made=self.made(request),
            seconds=seconds,
            packer=PackerVersions(version=self.version),
            log=request.log,
            source=self.built_on(request.source),
        )
