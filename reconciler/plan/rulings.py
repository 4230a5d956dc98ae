"""What image.yaml rules of builds that are there: the one that `stable` is held to, and those nobody may use.

A hold binds the channel, not the build: builds, tests and verdicts go on. A revocation is inherited by what was built
on the revoked build, through every child of the fleet. Both end when their lines are taken away.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Build, Lockfile, Reason
from reconciler.model.plan import Affected, Cause, Decision, Ruling, Situation
from reconciler.model.source import Pin
from reconciler.model.text import first_few
from reconciler.model.usage import Usage
from reconciler.model.values import format_instant
from reconciler.plan.channels import moves, with_action
from reconciler.plan.graph import REPLACING
from reconciler.plan.key import NEVER_AGAIN
from reconciler.plan.transitions import as_ruled, first_phase

_MOST_NAMED = 4
_MOST_USES = 20


def in_force(image: Image, *, now: datetime) -> Image:
    """The image without a hold whose day has come."""
    hold = image.declaration.hold
    if hold is None or hold.until is None or now.date() < hold.until:
        return image
    return replace(image, declaration=image.declaration.model_copy(update={"hold": None}))


BuildOf = tuple[str, str]
"""An image's name and a build's id."""


def revocations(
    images: Mapping[str, Image], locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Pin]
) -> Mapping[str, Mapping[str, Cause]]:
    """Why builds are revoked, by image and id: as declared, and for what they were built on, at any depth.

    What was built on what stands in the lockfiles, also in those of images that are declared no more, and is told of
    what these have `forgotten`. What is recorded as inherited from an image that is not declared, or not validly, stays
    so: what that would say is not known.
    """
    recorded = [
        (name, build.id, build.revoked)
        for name, lock in sorted(locks.items())
        for build in lock.recorded
        if build.revoked is not None and build.revoked.by is not None
    ]
    if not recorded and not any(image.declaration.revoke for image in images.values()):
        return {}
    built_on = _built_on(locks, forgotten, names := _renamed(images))
    found: defaultdict[str, dict[str, Cause]] = defaultdict(dict)
    waiting: deque[tuple[str, str]] = deque()
    for name, image in sorted(images.items()):
        for one in image.declaration.revoke:
            found[name][one.build] = Cause(one.reason, origin=(name, one.build))
            waiting.append((name, one.build))
    for name, build, revoked in recorded:
        parent = (revoked.by or "").partition(" ")[0]
        if names.get(parent, parent) not in images:
            cause = Cause(revoked.reason, origin=(parent, (revoked.by or "").partition(" ")[2]), by=revoked.by)
            found[names.get(name, name)].setdefault(build, cause)
            waiting.append((names.get(name, name), build))
    while waiting:
        parent, parent_build = waiting.popleft()
        for child, build in built_on.get((parent, parent_build), ()):
            if build not in found[child]:
                found[child][build] = replace(found[parent][parent_build], by=f"{parent} {parent_build}")
                waiting.append((child, build))
    return found


def _renamed(images: Mapping[str, Image]) -> Mapping[str, str]:
    """What images are called now, by what they were called before."""
    return {former: name for name, image in images.items() if (former := image.declaration.moved_from) is not None}


def _built_on(
    locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Pin], names: Mapping[str, str]
) -> Mapping[BuildOf, list[BuildOf]]:  # fmt: skip
    """The builds that were built on each build of the fleet. `names` are today's, by former ones."""
    children: defaultdict[BuildOf, list[BuildOf]] = defaultdict(list)
    recorded = (((name, build.id), build.source) for name, lock in sorted(locks.items()) for build in lock.recorded)
    for (name, build_id), pin in (*recorded, *sorted(forgotten.items(), key=lambda one: one[0])):
        if (parent := _named(pin, names)) is not None:
            children[parent].append((names.get(name, name), build_id))
    return children


def _named(pin: Pin | None, names: Mapping[str, str]) -> BuildOf | None:
    """The build of the fleet that a pin names; None where it names none."""
    if pin is None or pin.image is None or pin.build is None:
        return None
    return names.get(pin.image, pin.image), pin.build


def unrecorded(
    images: Mapping[str, Image], locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Pin]
) -> frozenset[BuildOf]:
    """The builds that others stand on, and of which no lockfile says any more on what they stand.

    None where nothing is revoked: nobody asks then. Of what is `forgotten` that is known already.
    """
    if not any(image.declaration.revoke for image in images.values()):
        return frozenset()
    names = _renamed(images)
    recorded = {(names.get(name, name), build.id) for name, lock in locks.items() for build in lock.recorded}
    return frozenset(_built_on(locks, forgotten, names)) - recorded - forgotten.keys()


Causes = Mapping[str, Mapping[str, Cause]]
"""Why builds are revoked, by image and id."""


@dataclass(frozen=True)
class Weighed:
    """Revocations, held against what uses the builds that are not recorded as revoked yet."""

    causes: Causes
    """Those that are carried out."""
    refused: Mapping[str, UserError]
    """Why one that an image declares is not, by that image."""
    notes: Mapping[str, tuple[str, ...]]
    """What will lose what it uses, by the image that declares it so."""
    affects: Mapping[str, tuple[Affected, ...]] = field(default_factory=dict)
    """All of what a revocation takes something away from, by the image that declares it."""


def newly_revoked(causes: Causes, locks: Mapping[str, Lockfile]) -> Iterator[tuple[Build, Cause]]:
    """The recorded builds that are not recorded as revoked yet."""
    for name, of_image in causes.items():
        for build in locks[name].recorded if name in locks else ():
            if build.id in of_image and build.phase != "revoked":
                yield build, of_image[build.id]


def left_standing(fleet: Fleet, causes: Causes, locks: Mapping[str, Lockfile]) -> Mapping[str, tuple[str, ...]]:
    """What inherits a revocation, and stays as it is: where nothing valid is declared. By the image that revokes."""
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for name, of_image in sorted(causes.items()):
        if name in fleet.images:
            continue
        why = f"{name} is invalid" if name in fleet.problems else f"{name} is declared no more, and --prune removes it"
        for build, cause in newly_revoked({name: of_image}, locks):
            found[cause.origin[0]] += (f"{name} {build.id} is built on {cause.by}, and is not revoked: {why}",)
    return found


def weigh(
    causes: Causes, usage: Usage, *, images: Mapping[str, Image], locks: Mapping[str, Lockfile]
) -> Weighed:  # fmt: skip
    """Refuse each revocation as a whole of which something uses, or may use, a build, if it is not declared so."""
    told: defaultdict[tuple[str, str], list[Affected]] = defaultdict(list)
    for name, of_image in causes.items():
        hold = images[name].declaration.hold if name in images else None
        for build, cause in newly_revoked({name: of_image}, locks):
            held = place_of(images[name], "hold") if hold is not None and hold.build == build.id else None
            told[cause.origin] += _affected(name, build, cause, usage, held=held)
    refused: dict[str, UserError] = {}
    notes: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    affects: defaultdict[str, tuple[Affected, ...]] = defaultdict(tuple)
    off: set[tuple[str, str]] = set()
    for (name, build_id), found in sorted(told.items()):
        declared = images[name].declaration.revoke if name in images else ()
        row = next((one for one in declared if one.build == build_id), None)
        if row is None or not found:
            continue
        affects[name] += tuple(found)
        children, uses = [one for one in found if one.is_child], [one for one in found if not one.is_child]
        if not uses:
            continue
        whole = f"`reconciler plan {name} --json` lists all of them (`affects`)"
        if row.even_if_in_use:
            said = [f"{build_id} is revoked although in use: {use}" for use in uses]
            notes[name] += _cut(said, whole=f"{build_id} is revoked although in use: {whole}")
            continue
        off.add((name, build_id))
        refused[name] = UserError(
            f"{build_id} can't be revoked yet: it is in use", where=place_of(images[name], build_id),
            hint=(*_cut(list(map(str, uses)), whole=whole), *_cut(list(map(str, children)), whole=whole),
                  "to revoke it all the same: `even_if_in_use: true` beside it"),
        )  # fmt: skip
    recorded = {
        (name, build.id) for name, lock in locks.items() for build in lock.recorded if build.phase == "revoked"
    }  # fmt: skip
    kept = {
        name: {one: cause for one, cause in of_image.items() if cause.origin not in off or (name, one) in recorded}
        for name, of_image in causes.items()
    }
    return Weighed(kept, refused, notes, affects)


def _affected(name: str, build: Build, cause: Cause, usage: Usage, *, held: Place | None) -> Iterator[Affected]:
    """What becomes of a build that is to be revoked: that it inherits that, and who uses its artifacts, or may.

    `held` is where `stable` is held to it, if it is.
    """
    about = {"revoked": cause.origin[1], "image": name, "build": build.id}
    if cause.by is not None:
        hint = f"`reconciler plan {name}` says what takes its place"
        yield Affected(
            **about, by=f"{name} {build.id} would be revoked as well: it is built on {cause.by}",
            hint=f"stable is held to it ({held}), and goes back all the same; {hint}" if held is not None else hint,
        )  # fmt: skip
    for location, artifact_id in ((one.location, one.id) for one in build.artifacts):
        at = {**about, "location": location, "id": artifact_id}
        for use in usage.of((location, artifact_id)):
            yield Affected(**at, by=f"{use.by} in {location} uses {artifact_id}", hint=use.hint)
        for why in usage.unread.get(location, ()):
            yield Affected(**at, by=f"whether anything uses {artifact_id} in {location} is not known: {why}")
        if (location, artifact_id) in usage.unknown:
            why = usage.unknown[location, artifact_id]
            yield Affected(**at, by=f"whether other accounts use {artifact_id} in {location} is not known: {why}")


def _cut(said: Sequence[str], *, whole: str) -> tuple[str, ...]:
    """The first of many, how many more there are, and where all of them stand."""
    more = len(said) - _MOST_USES
    return (*said[:_MOST_USES], f"and {more} more: {whole}") if more > 0 else tuple(said)


def refused(situation: Situation) -> UserError | None:
    """Why `stable` can't be held to the build that is asked for: it is not there as a whole, or nobody may use it.

    Where `stable` points to it already, nothing is refused: what became of it since is told, and it stays.
    """
    hold, lock = situation.image.declaration.hold, situation.lock
    if hold is None:
        return None
    place = place_of(situation.image, "hold")
    if hold.build in situation.causes:
        why = situation.causes[hold.build]
        by = f", as it was built on {why.by}" if why.by is not None else ""
        return UserError(
            f"stable can't be held to {hold.build}: it is revoked{by}: {why.reason}", where=place,
            hint="hold it to another build, or take the revocation away",
        )  # fmt: skip
    gone = lock.left(hold.build)
    build = gone.build if gone is not None else lock.build(hold.build)
    if build is None:
        recorded = first_few([one.id for one in lock.recorded if one.phase not in NEVER_AGAIN], most=_MOST_NAMED)
        return UserError(
            f"stable can't be held to {hold.build}: no such build is recorded", where=place,
            hint=f"recorded are {recorded}" if recorded else "nothing is recorded of this image yet",
        )  # fmt: skip
    if build.phase in NEVER_AGAIN and build.revoked is None:
        return UserError(
            f"stable can't be held to {hold.build}: it was {build.phase}", where=place,
            hint="hold it to a build that passed",
        )  # fmt: skip
    lacks = [] if lock.channels.stable == hold.build else list(_lacking(situation, build))
    if lacks:
        return UserError(
            f"stable can't be held to {hold.build}: {'; '.join(lacks)}", where=place,
            hint="hold it to a build that is there in every location, or declare only those where it is",
        )  # fmt: skip
    return None


def _lacking(situation: Situation, build: Build) -> Iterator[str]:
    """Where a build is not to be had, and is known not to be."""
    shown = {(one.location, one.id): one for one in situation.seen}
    looks = not situation.options.offline and situation.image.kind.observed
    for location in situation.image.locations:
        recorded = build.artifact_in(location)
        seen = shown.get((location, recorded.id)) if recorded is not None else None
        if recorded is None:
            yield f"it is not in {location}"
        elif seen is not None and seen.state == "disabled" and recorded.cared_for.withheld is not None:
            continue  # as its build was revoked: it comes back with it
        elif looks and location not in situation.unreadable and (seen is None or seen.state != "available"):
            yield f"{recorded.id} in {location} is {seen.state if seen is not None else 'gone'}"


def ruling_of(situation: Situation, lock: Lockfile, *, binds: bool = True) -> tuple[Ruling | None, Lockfile]:
    """What is to be recorded of holds and revocations, and the lockfile with it; None where all of it is.

    `binds` says whether `stable` goes to the build that it is held to. Else a hold leaves it where it is, as its end
    does: only what is revoked, and what is no more, is recorded.
    """
    locations = situation.image.locations if situation.image.declaration.hold is not None else ()
    reachable = binds and situation.unreadable.keys().isdisjoint(locations)
    at = format_instant(situation.now)
    after = as_ruled(lock, situation.image, situation.causes, at=at, reachable=reachable)
    if after is lock or not (binds or _revoked_ids(after) != _revoked_ids(lock)):
        return None, lock
    revoked = bool(_revoked_ids(after) - _revoked_ids(lock))
    reasons = (*_changes(lock, after), *_moved(situation, lock, after), *_bound(situation, lock, after))
    moved = after.channels.stable not in (lock.channels.stable, None) and not revoked
    return Ruling(situation.causes, reachable, reasons, moved), after


def with_ruling(decision: Decision, ruling: Ruling | None) -> Decision:
    """The decision, which was made by the lockfile as the ruling leaves it, with its recording before all else."""
    if ruling is None:
        return decision
    acting = with_action(decision, "promote" if ruling.moves_stable else "record", *ruling.reasons)
    return replace(acting, ruling=ruling)


def _changes(before: Lockfile, after: Lockfile) -> Iterator[Reason]:
    known = {one.id: one for one in before.recorded}
    for build in after.builds:
        was = known.get(build.id)
        if was is None or (was.phase == "revoked") == (build.phase == "revoked"):
            continue
        if build.revoked is not None:
            by = f", for {build.revoked.by}" if build.revoked.by is not None else ""
            yield Reason(code="revoked", was=f"{build.id} {was.phase}", now=f"revoked{by}: {build.revoked.reason}")
        else:
            yield Reason(code="revoked", was=f"{build.id} revoked", now=build.phase)


def _moved(situation: Situation, before: Lockfile, after: Lockfile) -> Iterator[Reason]:
    hold = situation.image.declaration.hold
    for reason in moves(before, after):
        bound = hold is not None and reason.now == f"stable {hold.build}"
        said = f"{reason.now}, held by {place_of(situation.image, 'hold')}" if bound else reason.now
        yield reason.model_copy(update={"now": said})


def _bound(situation: Situation, before: Lockfile, after: Lockfile) -> Iterator[Reason]:
    """That a hold binds `stable` where it is, or no more: a commit records since when, and nothing moves."""
    if before.channels.stable != after.channels.stable:
        return
    stable, was = f"stable {after.channels.stable or 'none'}", {one.id: one.is_held for one in before.recorded}
    for build in after.builds:
        if build.is_held and not was.get(build.id, False):
            yield Reason(code="channel-moved", was=stable, now=f"{stable}, held by {place_of(situation.image, 'hold')}")
        elif was.get(build.id, False) and not build.is_held:
            yield Reason(code="channel-moved", was=f"{stable}, held", now=stable)


def _revoked_ids(lock: Lockfile) -> frozenset[str]:
    return frozenset(one.id for one in lock.builds if one.phase == "revoked")


def with_told(situation: Situation, decision: Decision) -> Decision:
    """The decision, with what a hold keeps from happening, and what became of the build that it binds `stable` to."""
    notes = tuple(_told(situation, decision))
    planned = decision.planned
    told = planned.model_copy(update={"notes": (*planned.notes, *notes)})
    return replace(decision, planned=told) if notes else decision


def _told(situation: Situation, decision: Decision) -> Iterator[str]:
    image, hold = situation.image, situation.image.declaration.hold
    lock = decision.settled or situation.lock
    if hold is None:
        return
    by = f"held by {place_of(image, 'hold')}: {hold.reason}"
    released = replace(image, declaration=image.declaration.model_copy(update={"hold": None}))
    would = as_ruled(lock, released, situation.causes, at=format_instant(situation.now)).channels.stable
    if not REPLACING.isdisjoint(decision.planned.actions) and first_phase(released) == "stable":
        yield f"would promote what comes of this, {by}"
    elif would != lock.channels.stable:
        yield f"would promote {would}, {by}"
    build = lock.build(hold.build)
    if build is not None and lock.channels.stable == hold.build:
        yield from (f"stable is held to {hold.build}, and {lack}" for lack in _lacking(situation, build))
    elif not situation.unreadable.keys().isdisjoint(image.locations):
        unread = ", ".join(sorted(set(image.locations) & situation.unreadable.keys()))
        yield f"stable is held to {hold.build} once {unread} can be read"


def unknown_builds(
    situation: Situation, locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Pin]
) -> Iterator[str]:  # fmt: skip
    """What to know of revocations of builds that no lockfile names: what is there of them is not taken back yet."""
    image, named = situation.image, {one.id for one in situation.lock.recorded}
    pins = (*(one.source for other in locks.values() for one in other.recorded), *forgotten.values())
    built_on = {one.build for one in pins if one is not None and one.image in image.names}
    for one in image.declaration.revoke:
        if one.build in named or one.build in built_on:
            continue
        there = [seen for seen in situation.seen if seen.own("build") == one.build and seen.state == "available"]
        which = first_few([f"{seen.location} {seen.id}" for seen in there], most=3)
        still = f"; {which} can be used still: the run after the next `gc --apply` withdraws it" if there else ""
        yield f"{one.build} is revoked, and no lockfile names it ({place_of(image, one.build)}){still}"


def place_of(image: Image, what: str) -> Place:
    """Where image.yaml says it: `hold`, or a build that it revokes."""
    return image.ruled_at.get(what) or Place(f"{image.folder}/image.yaml")
