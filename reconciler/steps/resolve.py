"""Resolve: a pin for every upstream source. A lockfile is a lock: what is pinned stays, until a refresh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.source import AmiPin, Pin
from reconciler.plan.order import graph, with_ancestors
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.renewal import is_expired, refreshes
from reconciler.registry.protocol import Registry

_PARALLEL = 16  # reads of one account: more only meets EC2's request limits sooner


def resolve(known: Known, registry: Registry | None) -> Known:
    """The same with every upstream pin: as locked, or resolved now for what has none or is refreshed.

    Images that ask for the same source in the same region cost one resolution. Without a registry (offline) only
    what is locked is known. A source that can't be resolved is that image's own trouble.
    """
    pins: dict[str, Pin] = {}
    unresolved: dict[str, str] = {}
    asking: dict[tuple[str, str], list[Image]] = {}
    for name in _asked_for(known):
        image = known.fleet.images[name]
        if image.source is None or image.parent is not None:
            continue
        lock, _ = lock_of(known, image)
        if registry is not None and _asks(known, image, lock):
            asking.setdefault((image.source.model_dump_json(), image.build_region), []).append(image)
        elif lock.source is not None and lock.source.requested == image.source:
            pins[name] = lock.source.pinned
        else:
            unresolved[name] = "its source is resolved when the registry is read"
    if registry is not None:
        for images, outcome in _resolved(registry, asking.values()):
            for image in images:
                if isinstance(outcome, Pin):
                    pins[image.name] = outcome
                else:
                    unresolved[image.name] = str(outcome)
    return replace(known, pins=pins, unresolved=unresolved)


def withdrawn_sources(planned: FleetPlan, registry: Registry) -> Mapping[str, str]:
    """Of the images that would be built: those whose upstream source is not there any more, with why.

    A pin in state/ may be of last month. Costs a look for each source that is built on, and none for a fleet in sync.
    What could not be looked at is left to the build.
    """
    asking: dict[tuple[str, str], list[str]] = {}
    pins: dict[tuple[str, str], AmiPin] = {}
    for decision in planned.decisions:
        pin = decision.wanted.pin.ami if decision.wanted is not None and decision.wanted.pin is not None else None
        if pin is not None and "build" in decision.planned.actions:
            asking.setdefault((pin.region, pin.id), []).append(decision.name)
            pins[pin.region, pin.id] = pin
    if not asking:
        return {}
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(asking))) as pool:
        found = pool.map(lambda pin: _withdrawn(registry, pin), pins.values())
        return {name: why for place, why in zip(pins, found, strict=True) if why is not None for name in asking[place]}


def _withdrawn(registry: Registry, pin: AmiPin) -> str | None:
    try:
        seen = registry.find(pin.region, pin.id)
    except ReconcilerError:
        return None
    if seen is not None and seen.state == "available":
        return None
    became = f"is {seen.state} in {pin.region}" if seen is not None else f"is not in {pin.region} any more"
    return f"its source {f'{pin.name} ' if pin.name else ''}{pin.id} {became}: `--refresh` takes what there is now"


def _asked_for(known: Known) -> tuple[str, ...]:
    """The images that the plan is about: those named with everything they are built on, else all."""
    images = known.fleet.images
    names = with_ancestors(known.options.images, graph(images)) if known.options.images else images
    return tuple(sorted(name for name in names if name in images))


def _asks(known: Known, image: Image, lock: Lockfile) -> bool:
    """Whether a source is looked up now."""
    if lock.source is None or lock.source.requested != image.source:
        return True
    refresh = image.declaration.refresh
    if not refreshes(known.options, refresh, now=known.now):
        return False
    last = lock.builds[0] if lock.builds else None
    return refresh.on_source_change or is_expired(last, refresh, now=known.now)


def _resolved(registry: Registry, groups: Iterable[list[Image]]) -> Iterable[tuple[list[Image], Pin | ReconcilerError]]:
    def one(images: list[Image]) -> tuple[list[Image], Pin | ReconcilerError]:
        source = images[0].source
        if source is None:
            raise ValueError("only images with a source are resolved")
        try:
            return images, registry.resolve(source, region=images[0].build_region)
        except ReconcilerError as error:
            return images, error

    groups = list(groups)
    if not groups:
        return []
    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(groups))) as pool:
        return list(pool.map(one, groups))
