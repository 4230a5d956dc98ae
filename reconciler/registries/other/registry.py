"""The registry of what no registry tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Observation, Seen
from reconciler.ports.registry import Opening, Registry
from reconciler.registries.plain import PlainRegistry

_UNKNOWN = "nothing here can tell of what only Packer knows"


def _refuse(*_asked: object, **_how: object) -> NoReturn:
    raise Terminal(_UNKNOWN, hint="look where its builder puts what it makes")


class OtherRegistry(PlainRegistry):
    """Implements `Registry`: it shows nothing, marks nothing, and takes nothing away."""

    copy = wait_available = retire = resolve = staticmethod(_refuse)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Nothing is shown. See `Registry.find`."""
        del location, artifact_id, patience
        return None

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Nothing is shown. See `Registry.named`."""
        del location, name
        return ()

    def observe(self, locations: Sequence[str]) -> Observation:
        """Nothing, and why. See `Registry.observe`."""
        return Observation(unreadable=dict.fromkeys(locations, _UNKNOWN))

    def store(self, *_made: object, **_as: object) -> Sequence[Artifact]:
        """Nothing: it is where Packer put it. See `Registry.store`."""
        return ()

    def tag(self, artifact: object, tags: Mapping[str, str]) -> None:
        """It takes no marks. See `Registry.tag`."""


def open_registry(opening: Opening) -> Registry:
    """The registry; it needs nothing to be opened."""
    del opening
    return OtherRegistry()
