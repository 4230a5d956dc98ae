"""Parents before children."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import TopologicalSorter

from reconciler.model.fleet import Image


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
