"""Which builds are revoked, and why: as declared, and inherited by what was built on them; and whom that concerns.

A revocation is inherited through every child of the fleet, and by a build that has an artifact in common with another.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Fleet, Image
from reconciler.model.lockfile import Build, Lockfile, Revoked
from reconciler.model.observation import Seen
from reconciler.model.plan import Affected, Cause
from reconciler.model.source import Pin
from reconciler.model.text import first_few
from reconciler.model.usage import Usage

_MOST_USES = 20
_MOST_NAMED = 3


BuildOf = tuple[str, str]
"""An image's name and a build's id."""


@dataclass(frozen=True)
class Past:
    """What is known of a build that no lockfile names any more: what it stands on of the fleet, and what it left."""

    source: Pin | None = None
    places: frozenset[tuple[str, str]] = frozenset()


def revocations(
    images: Mapping[str, Image], locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Past]
) -> Mapping[str, Mapping[str, Cause]]:
    """Why builds are revoked, by image and id: as declared, and for what they were built on, at any depth.

    What was built on what, and what came out the same, stands in the lockfiles, also in those of images that are
    declared no more, and is told of what these have `forgotten`. What is recorded as inherited from an image that is
    not declared, or not validly, stays so: what that would say is not known.
    """
    recorded = list(_inherited(locks))
    if not recorded and not any(image.declaration.revoke for image in images.values()):
        return {}
    built_on = _built_on(locks, forgotten, names := _renamed(images))
    twins = _alike(locks, forgotten, names)
    found: defaultdict[str, dict[str, Cause]] = defaultdict(dict)
    waiting: deque[tuple[str, str]] = deque()
    for name, image in sorted(images.items()):
        for one in image.declaration.revoke:
            found[name][one.build] = Cause(one.reason, origin=(name, one.build))
            waiting.append((name, one.build))
    for name, build, revoked in recorded:
        parent, _, parent_build = (revoked.by or "").partition(" ")
        if names.get(parent, parent) not in images:
            cause = Cause(revoked.reason, origin=(parent, parent_build), by=revoked.by)
            found[names.get(name, name)].setdefault(build, cause)
            waiting.append((names.get(name, name), build))
    while waiting:
        parent, parent_build = waiting.popleft()
        cause = found[parent][parent_build]
        child_of = replace(cause, by=f"{parent} {parent_build}", twin=None)
        concerned = [(one, child_of) for one in built_on.get((parent, parent_build), ())]
        twin_of = replace(cause, twin=parent_build)
        concerned += [((parent, one), twin_of) for one in twins.get((parent, parent_build), ())]
        for (name, build), why in concerned:
            if build not in found[name]:
                found[name][build] = why
                waiting.append((name, build))
    return found


def _inherited(locks: Mapping[str, Lockfile]) -> Iterator[tuple[str, str, Revoked]]:
    """What is recorded as revoked for what it was built on: an image's name, a build's id, and why."""
    for name, lock in sorted(locks.items()):
        for build in lock.recorded:
            if build.revoked is not None and build.revoked.by is not None:
                yield name, build.id, build.revoked


def twins_of(lock: Lockfile, build: Build, place: tuple[str, str]) -> Iterator[Build]:
    """The other builds of which a lockfile records the artifact at a place as well, by its location and id.

    Where ids are digests, what was lost and came out of a later build byte for byte the same is that of both.
    """
    for one in lock.recorded:
        if one.id != build.id and any((each.location, each.id) == place for each in one.artifacts):
            yield one


def alike(lock: Lockfile) -> Mapping[str, Sequence[str]]:
    """The builds that have an artifact in common with another, by its id; no build that has all of its own."""
    return _in_common((build.id, places_of(build)) for build in lock.recorded)


def places_of(build: Build) -> frozenset[tuple[str, str]]:
    """Where the artifacts of a build are, and their ids there."""
    return frozenset((one.location, one.id) for one in build.artifacts)


def _in_common(builds: Iterable[tuple[str, frozenset[tuple[str, str]]]]) -> Mapping[str, Sequence[str]]:
    at: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for build_id, places in builds:
        for place in sorted(places):
            at[place].append(build_id)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for several in at.values():
        for build_id in several if len(several) > 1 else ():
            found[build_id] += [one for one in several if one != build_id]
    return found


def _alike(
    locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Past], names: Mapping[str, str]
) -> Mapping[BuildOf, Sequence[str]]:  # fmt: skip
    """The same of a fleet, `names` as above. Who may not use one of such builds may not use the other."""
    left: defaultdict[str, list[tuple[str, frozenset[tuple[str, str]]]]] = defaultdict(list)
    for name, lock in locks.items():
        left[names.get(name, name)] += [(build.id, places_of(build)) for build in lock.recorded]
    for (name, build_id), past in forgotten.items():
        left[names.get(name, name)].append((build_id, past.places))
    return {(name, one): twins for name, builds in left.items() for one, twins in _in_common(builds).items()}


def _renamed(images: Mapping[str, Image]) -> Mapping[str, str]:
    """What images are called now, by what they were called before."""
    return {former: name for name, image in images.items() if (former := image.declaration.moved_from) is not None}


def _built_on(
    locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Past], names: Mapping[str, str]
) -> Mapping[BuildOf, list[BuildOf]]:  # fmt: skip
    """The builds that were built on each build of the fleet. `names` are today's, by former ones."""
    children: defaultdict[BuildOf, list[BuildOf]] = defaultdict(list)
    recorded = (((name, build.id), build.source) for name, lock in sorted(locks.items()) for build in lock.recorded)
    past = ((one, forgotten[one].source) for one in sorted(forgotten))
    for (name, build_id), pin in (*recorded, *past):
        if (parent := _named(pin, names)) is not None:
            children[parent].append((names.get(name, name), build_id))
    return children


def _named(pin: Pin | None, names: Mapping[str, str]) -> BuildOf | None:
    """The build of the fleet that a pin names; None where it names none."""
    if pin is None or pin.image is None or pin.build is None:
        return None
    return names.get(pin.image, pin.image), pin.build


def unrecorded(
    images: Mapping[str, Image], locks: Mapping[str, Lockfile], forgotten: Mapping[BuildOf, Past]
) -> frozenset[BuildOf]:
    """The builds that others stand on, and of which no lockfile says any more on what they stand.

    And those that are revoked where another may have come out the same: of which no lockfile says what they left. None
    where nothing is revoked: nobody asks then. Of what is `forgotten` that is known already.
    """
    if not any(image.declaration.revoke for image in images.values()):
        return frozenset()
    names = _renamed(images)
    recorded = {(names.get(name, name), build.id) for name, lock in locks.items() for build in lock.recorded}
    again = [image for image in images.values() if image.kind.ids_are_digests]
    revoked = {(image.name, one.build) for image in again for one in image.declaration.revoke}
    return (frozenset(_built_on(locks, forgotten, names)) | revoked) - recorded - forgotten.keys()


def reached(
    causes: Causes, seen: Iterable[Seen], *, images: Mapping[str, Image], locks: Mapping[str, Lockfile]
) -> frozenset[BuildOf]:  # fmt: skip
    """The builds that a revocation is about and that no lockfile names, by the marks of what is there and can be used.

    Those that are named by a line, and what their marks say was built on one, at any depth. It is a reason to look.
    """
    if not any(causes.values()):
        return frozenset()  # what is recorded of a large fleet need not be looked through
    names = {name: image.name for image in images.values() for name in image.names}
    recorded = {(names.get(name, name), build.id) for name, lock in locks.items() for build in lock.recorded}
    standing: defaultdict[BuildOf, set[BuildOf]] = defaultdict(set)
    there: set[BuildOf] = set()
    for one in seen:
        key = (names.get(one.own("image") or "", ""), one.own("build") or "")
        if key[0] and usable(one) and key not in recorded:
            parent, _, parent_build = (one.own("source") or "").partition("@")
            standing[names.get(parent, parent), parent_build].add(key)
            there.add(key)
    waiting = [(name, build_id) for name, of_image in causes.items() for build_id in of_image]
    found = {one for one in waiting if one in there}
    while waiting:
        more = standing[waiting.pop()] - found
        found |= more
        waiting += more
    return frozenset(found)


def usable(seen: Seen) -> bool:
    """Whether an artifact can be used, and is a whole build's."""
    return seen.state == "available" and seen.own("key") is not None


def _overlooked(
    causes: Causes, seen: Sequence[Seen], *, fleet: Fleet, locks: Mapping[str, Lockfile]
) -> defaultdict[str, tuple[str, ...]]:  # fmt: skip
    """What to know of builds that a revocation is about, that no lockfile names, and that can be used still."""
    proposes = fleet.settings.git.push == "pull-request"
    then = f"{'the run after the next `gc --apply`' if proposes else 'the next `reconcile`'} withdraws it"
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for name, build_id in sorted(reached(causes, seen, images=fleet.images, locks=locks)):
        image = fleet.images[name]
        own = any(one.build == build_id for one in image.declaration.revoke)
        why = f"is revoked ({place_of(image, build_id)})" if own else "stands on what is revoked"
        whole = (one for one in seen if usable(one) and one.own("image") in image.names)
        there = [one for one in whole if one.own("build") == build_id]
        which = first_few([f"{one.location} {one.id}" for one in there], most=_MOST_NAMED)
        found[name] += (f"{build_id} {why}, and no lockfile names it; {which} can be used still: {then}",)
    return found


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


def left_standing(
    fleet: Fleet, causes: Causes, locks: Mapping[str, Lockfile], *, seen: Sequence[Seen]
) -> Mapping[str, tuple[str, ...]]:  # fmt: skip
    """What a revocation is about, and stays as it is, by the image that it is to be told with.

    Where nothing valid is declared, with that which revokes; where no lockfile names it, with its own.
    """
    found = _overlooked(causes, seen, fleet=fleet, locks=locks)
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


def place_of(image: Image, what: str) -> Place:
    """Where image.yaml says it: `hold`, or a build that it revokes."""
    return image.ruled_at.get(what) or Place(f"{image.folder}/image.yaml")
