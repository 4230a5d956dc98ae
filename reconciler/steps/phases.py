"""Phases that are carried to the artifacts at the end of a run, many in one call.

A merge promotes what pull requests built: their artifacts are complete, and only the phase is new. Two hundred calls
for two hundred images would meet EC2's request limits; one call a region does not. The lockfile says the phase
before: a run that is killed in between leaves tags to set right, which the next plan sees.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.lockfile import Artifact, Phase
from reconciler.plan.tags import own
from reconciler.registry.protocol import Registry


@dataclass
class LatePhases:
    """What is to be tagged with which phase. Filled from several threads, written once."""

    _waiting: defaultdict[tuple[str, Phase], list[tuple[str, Artifact]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, image: str, artifacts: Iterable[Artifact], phase: Phase) -> None:
        """Have these artifacts of an image tagged with a phase at the end of the run."""
        with self._lock:
            for artifact in artifacts:
                self._waiting[artifact.location, phase].append((image, artifact))

    def write(self, registry: Registry, listener: Listener) -> None:
        """Tag them. What fails is told: the next plan sees it, and sets it right."""
        for (location, phase), waiting in sorted(self._waiting.items()):
            try:
                registry.tag_all(location, [artifact for _, artifact in waiting], own(phase=phase))
            except ReconcilerError as error:
                for image, artifact in waiting:
                    listener(events.Warned(image=image, what=f"{artifact.id} is not tagged {phase}: {error.what}"))
        self._waiting.clear()
