"""Tags that are carried to the artifacts at the end of a run, many in one call.

A merge promotes what pull requests built: their artifacts are complete, and only phase and channel are new. Two hundred
calls for two hundred images would meet EC2's request limits; one call a region does not. The lockfile says the phase
before: a run that is killed in between leaves tags to set right, which the next plan sees.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.plan.tags import NO_CHANNEL, as_text
from reconciler.registry.protocol import Located, Registry

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
