"""Parents before children, and what a child is built on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import Decision
from reconciler.model.source import Pin
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.transitions import as_declared

# What a child is built on: the build that its parent's channel points to once this run is done.

REPLACING = frozenset({"build", "adopt"})


@dataclass(frozen=True)
class ParentPin:
    """A child's pin, or why there is none. `pending` when the parent must be done first."""

    pin: Pin | None
    pending: bool = False
    missing: str | None = None


def pin_to_parent(child: Image, parent: Decision, *, preview: bool = False) -> ParentPin:
    """The pin of a child, from its parent's decision.

    A parent that this run replaces is pinned by its wanted key alone: the key is known before the build is. A preview
    follows the preview of its parent, whatever the channel: on main the child gets the same key once the channel moves.
    """
    source = child.source
    if source is None or source.image is None:
        raise ValueError(f"{child.name} is not built on another image")
    channel = source.parent_channel
    if ((preview and _replaces(parent)) or _moves(parent, channel)) and parent.wanted is not None:
        adopted = parent.adopt[0].own("build") if parent.adopt else None
        return ParentPin(Pin(image=parent.name, build=adopted, key=parent.wanted.key), pending=True)
    promoted = parent.image is not None and "promote" in parent.planned.actions
    pinned = pin_to_recorded(child, _settled(parent, promoted=promoted))
    moved = parent.settled is not None or promoted
    pending = _moves(parent, channel) or moved or _brings_to(child.locations[:1], parent, pinned.pin)
    return replace(pinned, pending=pending)


def pin_to_recorded(child: Image, parent: Lockfile | None) -> ParentPin:
    """The pin of a child to what is recorded of its parent, whatever becomes of the parent in this run."""
    source = child.source
    if source is None or source.image is None:
        raise ValueError(f"{child.name} is not built on another image")
    channel = source.parent_channel
    recorded = parent.build(getattr(parent.channels, channel)) if parent else None
    if recorded is None:
        return ParentPin(None, missing=f"waits for {source.image}: it has no {channel} build{_why_none(parent)}")
    return ParentPin(recorded.as_pin(source.image))


def _why_none(parent: Lockfile | None) -> str:
    """Why no channel of an image points to a build: ` yet`, or what became of the newest."""
    newest = parent.builds[0] if parent is not None and parent.builds else None
    return f": {newest.id} is {newest.phase}" if newest is not None and newest.phase in NEVER_AGAIN else " yet"


def awaited_keys(parent: Decision | None) -> tuple[str, ...]:
    """The keys of a parent's builds that wait for a verdict, or will: what its children are not built on yet."""
    if parent is None:
        return ()
    candidate = parent.lock.build(parent.lock.channels.candidate)
    waiting = candidate.key if candidate is not None and candidate.id != parent.lock.channels.stable else None
    coming = parent.wanted.key if parent.wanted is not None and _replaces(parent) else None
    return tuple(key for key in (waiting, coming) if key is not None)


def _settled(parent: Decision, *, promoted: bool) -> Lockfile:
    """The parent's lockfile once this run has recorded what comes first, and what its declaration promotes."""
    lock = parent.settled or parent.lock
    return as_declared(lock, parent.image) if promoted and parent.image else lock


def _brings_to(location: Sequence[str], parent: Decision, pin: Pin | None) -> bool:
    """Whether the build that a child is built on comes to the child's location only by this run."""
    kept = (parent.settled or parent.lock).kept
    if pin is None or kept is None or pin.build != kept.id or parent.planned.actions == ("none",):
        return False
    brought = {*parent.missing_locations, *(seen.location for seen in parent.adopt)}
    return not brought.isdisjoint(location)


def _replaces(parent: Decision) -> bool:
    return parent.image is not None and not REPLACING.isdisjoint(parent.planned.actions)


def _moves(parent: Decision, channel: str) -> bool:
    if parent.image is None or not _replaces(parent):
        return False
    declaration = parent.image.declaration
    return channel == "candidate" or not (declaration.validation.required or declaration.hold is not None)


# Parents before children.


def graph(images: Mapping[str, Image]) -> dict[str, set[str]]:
    """Each image to the parents it waits for. A parent that is not among the images is left out."""
    return {
        name: {image.parent} if image.parent is not None and image.parent in images else set()
        for name, image in sorted(images.items())
    }


def in_order(parents: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """All names, parents first, and by name where the graph leaves the choice. The graph has no cycle."""
    sorter = TopologicalSorter(parents)
    sorter.prepare()
    done: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        done.extend(ready)
        sorter.done(*ready)
    return tuple(done)


def with_ancestors(names: Iterable[str], parents: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The named images and everything that they are built on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(parents.get(name, ()))
    return frozenset(found)
