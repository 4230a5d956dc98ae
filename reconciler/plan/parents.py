"""What a child is built on: the build that its parent's channel points to once this run is done."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import Decision
from reconciler.model.source import Pin

REPLACING = frozenset({"build", "adopt"})
PRECEDING = frozenset({"build", "adopt", "copy"})


@dataclass(frozen=True)
class ParentPin:
    """A child's pin, or why there is none. `pending` when the parent must be done first."""

    pin: Pin | None
    pending: bool = False
    missing: str | None = None


def pin_to_parent(child: Image, parent: Decision) -> ParentPin:
    """The pin of a child, from its parent's decision.

    A parent that this run replaces is pinned by its wanted key alone: the key is known before the build is.
    """
    source = child.source
    if source is None or source.image is None:
        raise ValueError(f"{child.name} is not built on another image")
    channel = source.parent_channel
    pending = not PRECEDING.isdisjoint(parent.planned.actions)
    if _moves(parent, channel) and parent.wanted is not None:
        adopted = parent.adopt[0].own("build") if parent.adopt else None
        return ParentPin(Pin(image=parent.name, build=adopted, key=parent.wanted.key), pending=True)
    return replace(pin_to_recorded(child, parent.lock), pending=pending)


def pin_to_recorded(child: Image, parent: Lockfile | None) -> ParentPin:
    """The pin of a child to what is recorded of its parent, whatever becomes of the parent in this run."""
    source = child.source
    if source is None or source.image is None:
        raise ValueError(f"{child.name} is not built on another image")
    channel = source.parent_channel
    recorded = parent.build(getattr(parent.channels, channel)) if parent else None
    if recorded is None:
        return ParentPin(None, missing=f"waits for {source.image}: it has no {channel} build yet")
    return ParentPin(recorded.as_pin(source.image))


def _moves(parent: Decision, channel: str) -> bool:
    if parent.image is None or REPLACING.isdisjoint(parent.planned.actions):
        return False
    return channel == "candidate" or not parent.image.declaration.validation.required
