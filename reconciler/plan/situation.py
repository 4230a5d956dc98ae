"""All that is known of one image when it is decided what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile, began_at
from reconciler.model.observation import Seen
from reconciler.model.plan import PlanOptions
from reconciler.model.source import Pin
from reconciler.model.values import parse_instant


@dataclass(frozen=True)
class Situation:
    """One declared image, what is recorded of it, and what the registry shows."""

    image: Image
    lock: Lockfile
    now: datetime
    fleet: str
    head: str
    options: PlanOptions = field(default_factory=PlanOptions)
    seen: tuple[Seen, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    pin: Pin | None = None
    pin_missing: str | None = None
    """Why there is no pin although the image has a source."""
    withdrawn: str | None = None
    """Why nothing can be built on the pin: the AMI is gone, or not shared any more."""
    parent_pending: bool = False
    awaited_parents: tuple[str, ...] = ()
    """Keys of the parent's builds that the image will be built on once a verdict says so."""
    fleet_is_declared: bool = False
    """Whether a person gave the fleet its name; else it is the remote's."""
    renamed_from: str | None = None
    grace_seconds: int = 120
    live_branches: frozenset[str] | None = None
    """Branches that the remote has; None where that was not asked."""
    doubts: tuple[str, ...] = ()
    """Why what is recorded may be somebody else's: then nothing is done about it."""

    @property
    def last(self) -> Build | None:
        """The newest recorded build: what the image is compared with."""
        return self.lock.builds[0] if self.lock.builds else None

    @property
    def forced(self) -> bool:
        """Whether a person asked for a new build."""
        return self.image.name in self.options.force


def recorded_at(build: Build, artifact: Artifact) -> datetime | None:
    """When an artifact of a build was recorded; where that is not known, when its build ended."""
    recorded = artifact.recorded or build.recorded
    return parse_instant(recorded) if recorded is not None else finished_at(build)


def finished_at(build: Build | None) -> datetime | None:
    """When a build ended, as far as it is recorded: its id tells at least when it began. None without a build."""
    if build is None:
        return None
    if build.started is None:
        return began_at(build.id)
    return parse_instant(build.started) + timedelta(seconds=build.seconds or 0)
