"""Is what was recorded still there, in every declared location, with its tags?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations
from urllib.parse import unquote

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Reason
from reconciler.model.observation import Observation, Seen
from reconciler.model.plan import Situation, recorded_at
from reconciler.model.values import format_duration
from reconciler.plan.key import adoptable
from reconciler.plan.tags import as_text, as_they_were, differing, of_recorded, standing
from reconciler.plan.trust import certain


@dataclass
class Presence:
    """What the registry has of one recorded build."""

    reasons: list[Reason] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Declared locations without a usable artifact."""
    present: list[Seen] = field(default_factory=list)
    unrecorded: list[Seen] = field(default_factory=list)
    """Complete copies of this build, in declared locations, that the lockfile doesn't name."""
    retag: list[Seen] = field(default_factory=list)
    unconverted: list[Seen] = field(default_factory=list)
    """Present artifacts that are not in all the formats that are declared, or not as it is recorded."""
    outdated: list[Artifact] = field(default_factory=list)
    """Recorded conversions to formats that are declared no more, as artifacts of their own: those that are to go."""
    disabled: list[Seen] = field(default_factory=list)
    """Recorded artifacts that are there and can't be used; they are enabled (plan/care.py)."""
    extra: list[Artifact] = field(default_factory=list)
    """Recorded artifacts in locations that are no longer declared. They still serve as sources of a copy."""
    sources: list[Seen] = field(default_factory=list)
    """Usable artifacts anywhere, to copy from."""


def presence(situation: Situation, build: Build) -> Presence:
    """Compare a recorded build with the registry, location by location. Unknown is never taken for missing."""
    found = Presence()
    by_id = {(one.location, one.id): one for one in situation.seen}
    complete = _unrecorded(situation, build, by_id)
    tags = {
        **of_recorded(fleet=situation.fleet, image=situation.image, build=build), **standing(situation.lock, build)
    }  # fmt: skip
    recorded_in = {artifact.location: artifact for artifact in build.artifacts}
    for location in situation.image.locations:
        recorded = recorded_in.get(location)
        # A copy that was complete when its run was killed stands in for the one that it was to replace.
        seen = (by_id.get((location, recorded.id)) if recorded else None) or complete.get(location)
        if location in situation.unreadable:
            found.unknown.append(f"{location}: {situation.unreadable[location]}")
        elif seen is None:
            _note_missing(found, situation, build=build, location=location, recorded=recorded)
        else:
            is_recorded = recorded is not None and recorded.id == seen.id
            _note_seen(found, seen, tags=tags, is_recorded=is_recorded)
            _note_formats(found, seen, situation.image.formats, recorded=recorded if is_recorded else None)
            if recorded is not None and is_recorded:
                _note_outdated(found, seen, situation, recorded=recorded)
    if not situation.image.copied_elsewhere:
        _note_extra(found, build=build, locations=situation.image.locations)
    recorded_ids = {(artifact.location, artifact.id) for artifact in build.artifacts}
    usable = [one for place, one in by_id.items() if place in recorded_ids and one.state == "available"]
    found.sources = [*found.present, *(one for one in usable if one not in found.present)]
    if found.missing and not found.sources:
        found.unknown.extend(_unknown_elsewhere(found, situation, build=build, by_id=by_id))
    _settle(found, build)
    return found


def of_another_fleet(situation: Situation) -> tuple[str, ...]:
    """Why nothing is done about an image: what is recorded of it carries the name of another fleet.

    Another clone may call this fleet so, or the repository was renamed or forked. That nobody can tell but a person,
    who says it by `fleet:`; then the artifacts are tagged as that says.
    """
    if situation.fleet_is_declared:
        return ()
    recorded = {(artifact.location, artifact.id) for build in situation.lock.builds for artifact in build.artifacts}
    fleets = ((one.location, one.own("fleet")) for one in situation.seen if (one.location, one.id) in recorded)
    others = {(place, theirs) for place, theirs in fleets if theirs and not same_fleet(theirs, situation.fleet)}
    # The same words for every image, so that a plan tells them once.
    return tuple(
        f"{place}: what is recorded carries the fleet {theirs}, and this clone's remote makes it {situation.fleet}: "
        f"`fleet: {theirs}` in desired/reconciler.yaml keeps it so"
        for place, theirs in sorted(others)
    )


def same_fleet(one: str, other: str) -> bool:
    """Whether two names may be one fleet's, reached in two ways: by case, escapes, or what hosts add to a path."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> list[str]:
    parts = unquote(name).lower().split("/")
    while len(parts) > 1 and parts[0] in _ADDED:
        parts = parts[1:]
    return [part for part in parts if part and part != "_git"]


_ADDED = frozenset({"scm", "a", "v3", "defaultcollection"})


def _unrecorded(situation: Situation, build: Build, by_id: Mapping[tuple[str, str], Seen]) -> Mapping[str, Seen]:
    """The complete copies of this build by location; not looked for where every declared one has its own."""
    recorded = (build.artifact_in(location) for location in situation.image.locations)
    if all(artifact is not None and (artifact.location, artifact.id) in by_id for artifact in recorded):
        return {}
    same_build = certain(
        (one for one in situation.seen if one.own("build") == build.id),
        ((artifact.location, artifact.id) for artifact in build.artifacts),
    )
    return {one.location: one for one in adoptable(same_build, key=build.key)}


def _note_missing(
    found: Presence, situation: Situation, *, build: Build, location: str, recorded: Artifact | None
) -> None:
    young = _too_young(situation, build, recorded) if recorded else None
    if young is not None:
        found.unknown.append(young)
        return
    found.missing.append(location)
    found.reasons.append(
        Reason(code="region-missing", was=f"{location} {recorded.id}", now=f"{location} nothing")
        if recorded
        else Reason(code="region-missing", was=f"nothing in {location}", now=f"{location} is declared")
    )


def _too_young(situation: Situation, build: Build, artifact: Artifact) -> str | None:
    """A registry may be eventually consistent: what was recorded moments ago may not be listed yet."""
    recorded = recorded_at(build, artifact)
    if recorded is None or situation.now - recorded >= timedelta(seconds=situation.grace_seconds):
        return None
    left = format_duration(situation.grace_seconds - int((situation.now - recorded).total_seconds()))
    return f"{artifact.location}: {artifact.id} is not listed (new, or deleted): counts as missing in {left}"


def _unknown_elsewhere(
    found: Presence, situation: Situation, *, build: Build, by_id: Mapping[tuple[str, str], Seen]
) -> Iterator[str]:
    """What may still be there to copy from: what is enabled first, and in locations that are no longer declared."""
    yield from (f"{one.location}: {one.id} is disabled, and enabled before it is copied" for one in found.disabled)
    for artifact in found.extra:
        seen = by_id.get((artifact.location, artifact.id))
        young = _too_young(situation, build, artifact)
        if artifact.location in situation.unreadable:
            yield f"{artifact.location}: {situation.unreadable[artifact.location]}"
        elif seen is not None and seen.state in ("pending", "disabled"):
            yield f"{artifact.location}: {artifact.id} is {seen.state}"
        elif seen is None and young is not None:
            yield young


def _note_seen(found: Presence, seen: Seen, *, tags: Mapping[str, str], is_recorded: bool) -> None:
    if seen.state == "pending":
        found.unknown.append(f"{seen.location}: {seen.id} is pending")
        return
    if seen.state == "disabled" and is_recorded:
        found.disabled.append(seen)
        return
    if seen.state != "available":
        found.missing.append(seen.location)
        found.reasons.append(
            Reason(code="region-missing", was=f"{seen.location} {seen.id}", now=f"{seen.location} {seen.state}")
        )
        return
    found.present.append(seen)
    if not is_recorded:
        found.unrecorded.append(seen)
        found.reasons.append(
            Reason(code="region-missing", was=f"{seen.location} not recorded", now=f"{seen.location} {seen.id}")
        )
    differs = differing(tags, seen)
    if differs:
        found.retag.append(seen)
        was = f"{seen.location}: {as_they_were(differs, seen)}"
        found.reasons.append(Reason(code="tags-changed", was=was, now=as_text(differs)))


def _note_formats(found: Presence, seen: Seen, formats: Sequence[str], *, recorded: Artifact | None) -> None:
    """A format counts as there where it is recorded, and what is recorded is whole."""
    if seen not in found.present:
        return
    lacking = []
    for form in formats:
        known = recorded.conversion(form) if recorded is not None else None
        if known is None:
            lacking.append(Reason(code="format-missing", was=f"{seen.location} no {form}", now=f"{form} is declared"))
        elif known not in seen.conversions:
            was, now = f"{seen.location} {form} {known.id}", f"{seen.location} nothing whole"
            lacking.append(Reason(code="format-missing", was=was, now=now))
    if lacking:
        found.unconverted.append(seen)
        found.reasons.extend(lacking)


def _note_outdated(found: Presence, seen: Seen, situation: Situation, *, recorded: Artifact) -> None:
    """A conversion that is wanted no more goes with its build; earlier where it is not whole, and where that is asked.

    Nobody makes it anew, so what is recorded of it would never be true again.
    """
    for one in recorded.conversions if seen in found.present else ():
        is_whole = one in seen.conversions
        if one.format in situation.image.formats or (is_whole and not situation.options.prune):
            continue
        found.outdated.append(
            Artifact(kind=recorded.kind, builder=recorded.builder, location=recorded.location, id=one.id)
        )
        now = f"{one.format} is not declared" if is_whole else f"{one.format} is not declared, and nothing whole there"
        found.reasons.append(Reason(code="format-extra", was=f"{seen.location} {one.format} {one.id}", now=now))


def seen_once(
    observation: Observation, *, recorded: Collection[tuple[str, str]], declared: Mapping[str, Collection[str]]
) -> Observation:  # fmt: skip
    """The observation without what a second name of its place shows as well: a registry may go by several.

    That is what another location has just so, by its id, its marks and when these were made, and is the image's own
    there: recorded (by location and id), or in a location that is `declared` of it, by its name; else by the first. To
    mark what is there for what it is in one place would mark it in the other. A copy has marks of its own.
    """
    alike: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in observation.artifacts:
        alike[one.id].append(one)
    if len(alike) == len(observation.artifacts):
        return observation
    again: set[tuple[str, str]] = set()
    for several in alike.values():
        for one in several if len(several) > 1 else ():
            twins = [each for each in several if replace(each, location=one.location) == one]
            own = [each for each in twins if each.place in recorded
                   or each.location in declared.get(each.own("image") or "", ())]  # fmt: skip
            if one not in (own or twins[:1]):
                again.add(one.place)
    kept = tuple(one for one in observation.artifacts if one.place not in again)
    return replace(observation, artifacts=kept) if again else observation


def seen_by_two_names(image: Image, seen: Collection[Seen]) -> Iterator[str]:
    """What is to be known of declared locations that show the very same: they may be one place under two names.

    By what was read anyway. A copy has marks of its own, from birth: its run is its build. What was taken over as it
    was may have been marked in two places at once.
    """
    if len({each.id for each in seen}) == len(seen):
        return  # nothing is anywhere twice
    shown: dict[str, dict[str, Seen]] = {location: {} for location in image.locations}
    for each in seen:
        if each.location in shown:
            shown[each.location][each.id] = each
    for one, other in combinations((location for location in shown if shown[location]), 2):
        here, there = shown[one], shown[other]
        if here.keys() != there.keys() or any(replace(there[each.id], location=one) != each for each in here.values()):
            continue
        if any(each.own("run") not in (None, each.own("build")) and not each.own("adopted") for each in here.values()):
            yield (
                f"{one} and {other} show the very same, marks and all, as one place under two names does: if they are, "
                "there is one copy and not two, so name it once"
            )


def _note_extra(found: Presence, *, build: Build, locations: Sequence[str]) -> None:
    for artifact in build.artifacts:
        if artifact.location not in locations:
            found.extra.append(artifact)
            found.reasons.append(
                Reason(code="region-extra", was=f"{artifact.location} {artifact.id}", now="not declared")
            )


def _settle(found: Presence, build: Build) -> None:
    """With nothing left to copy from, the build as a whole is missing."""
    if found.missing and not found.sources and not found.unknown:
        others = [reason for reason in found.reasons if reason.code not in ("region-missing", "tags-changed")]
        was = ", ".join(f"{artifact.location} {artifact.id}" for artifact in build.artifacts)
        found.reasons = [Reason(code="artifact-missing", was=was, now="nothing in any declared location"), *others]
