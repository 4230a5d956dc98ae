"""Hearsay that is about to count: what only tags say of artifacts, and the second fact that it takes.

A plan is made first, since few artifacts count; what it would do on the word of a tag alone is then asked about, and
the plan made anew without what nothing else says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.model.source import Pin, SourceRequest
from reconciler.plan.planning import FleetPlan, Known
from reconciler.plan.trust import Place, certain, is_named
from reconciler.ports.registry import Registry
from reconciler.registries import dialect_of
from reconciler.steps.ours import Records

# The source of what is adopted for an image that has no pin yet.


def with_sources(known: Known, planned: FleetPlan, registry: Registry, records: Records | None) -> Known:
    """The same, with what is known of each source that nothing but a tag of what is to be adopted names.

    It is to become the image's pin, on which all is built from then on. So it has to be what the image asks for, in the
    registry's own word, or what the build's record says. Costs a look for each, and none where a pin is recorded.
    """
    sources: dict[str, Mapping[str, Pin | None]] = {}
    pins, unresolved = dict(known.pins), dict(known.unresolved)
    for decision in planned.decisions:
        name, resolved = decision.name, known.pins.get(decision.name)
        named = decision.wanted.pin if decision.wanted is not None and decision.adopt else None
        if decision.image is None or resolved is None or named is None or named.identity == resolved.identity:
            continue
        try:
            recorded = _in_record(records, decision, named)
            sources[name] = {_id(named): recorded or _as_asked_for(registry, decision.image, named, resolved=resolved)}
        except ReconcilerError as error:
            unresolved[name] = (
                f"whether it asks for the source {_id(named)} of what is there is not known: {error.what}"
            )
            del pins[name]
    return replace(known, sources=sources, pins=pins, unresolved=unresolved) if sources or pins != known.pins else known


def _in_record(records: Records | None, decision: Decision, named: Pin) -> Pin | None:
    """The pin as the record of what is adopted has it; None where that has another, or is of another artifact."""
    told = records(decision.name, decision.adopt[0].own("build") or "") if records is not None else None
    if told is None or told.build is None or told.places.isdisjoint(one.place for one in decision.adopt):
        return None
    source = told.build.source
    return source if source is not None and source.identity == named.identity else None


def _as_asked_for(registry: Registry, image: Image, named: Pin, *, resolved: Pin) -> Pin | None:
    """The whole pin of a thing that an image's source may have meant earlier, as its kind can tell."""
    now = resolved.upstream
    if now is None:
        return None
    _word, asked = image.source.upstream if image.source is not None and image.source.upstream else ("", None)

    def resolve(request: SourceRequest) -> Pin:
        return registry.resolve(request, location=image.build_location)

    try:
        found = dialect_of(image.kind.name).meant_earlier(asked, _id(named), now=resolved, resolve=resolve)
    except (UserError, ValueError):  # it is not there, or the tag holds no id
        return None
    return found if found is not None and found.identity == named.identity else None


def _id(pin: Pin) -> str:
    return pin.upstream.id if pin.upstream is not None else ""


# What nobody needs any more, and is to be retired without anybody asking.

_MOST_ASKED = 50
"""Builds whose records are asked for in a run. Whoever may tag artifacts names as many as he likes."""


def with_strangers(known: Known, planned: FleetPlan, records: Records | None) -> Known:
    """The same, with what is to be retired although nothing but its tags says that it is ours: it stays.

    What has the name that we give, or stands in a lockfile, in a build's record, or is a copy of what does, is ours.
    """
    strangers: set[Place] = set()
    sure: dict[tuple[str, str], frozenset[Place]] = {}
    for decision in planned.decisions:
        for one in _unnamed(decision):
            build = (decision.name, one.own("build") or "")
            if build not in sure and len(sure) < _MOST_ASKED:
                family = (each for each in known.observation.artifacts if each.own("build") == build[1])
                sure[build] = frozenset(each.place for each in certain(family, _recorded(records, *build)))
            if one.place not in sure.get(build, ()):
                strangers.add(one.place)
    return replace(known, strangers=frozenset(strangers)) if strangers else known


def _unnamed(decision: Decision) -> Iterable[Seen]:
    failure = decision.lock.failure
    left = {(one.location, one.id) for one in failure.artifacts} if failure is not None else set()
    return (one for one in decision.old_previews if one.place not in left and not is_named(one, image=decision.name))


def _recorded(records: Records | None, image: str, build_id: str) -> frozenset[Place]:
    try:
        told = records(image, build_id) if records is not None else None
    except ReconcilerError:
        return frozenset()  # the remote does not answer: it stays for now
    return told.places if told is not None else frozenset()
