"""Is what state/ names ours? Not on a lockfile's word alone: its marks say so, or owner, name and annotated tag do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import Seen
from reconciler.plan.messages import tag_name
from reconciler.plan.planning import Known, lock_of
from reconciler.plan.trust import is_in_record, is_marked
from reconciler.registry.protocol import Registry
from reconciler.state.lockfiles import path_of
from reconciler.steps.artifacts import is_own
from reconciler.steps.observe import asked
from reconciler.steps.proof.previewed import built

Records = Callable[[str, str], Sequence[Artifact]]
"""What a build of an image left, by its annotated tag; nothing where there is none that counts."""


def records_in(repository: Repository, *, sign: bool) -> Records:
    """The records in this clone's tags, and those that it can fetch. With `sign` only signed ones count."""

    def left(image: str, build_id: str) -> Sequence[Artifact]:
        name = tag_name(image, build_id)
        message = repository.annotated_tag(name, signed=sign)
        build = built(message, name) if message is not None else None
        return build.artifacts if build is not None and build.id == build_id else ()

    return left


def with_doubts(known: Known, registry: Registry, records: Records | None) -> Known:
    """The same without what an attempt is said to have left and is not ours, and with a doubt about all else.

    Costs calls only for what does not carry its marks.
    """
    doubts: dict[str, tuple[str, ...]] = {}
    locks = dict(known.locks)
    unlisted = dict(known.unlisted)
    places = {(one.location, one.id): one for one in known.observation.artifacts}
    for name in asked(known):
        image = known.fleet.images.get(name)
        if image is None:
            continue
        lock, former = lock_of(known, image)
        found = places | {(one.location, one.id): one for one in unlisted.get(name, ())}
        doubted = tuple(_doubts(known, registry, records, image, lock=lock, found=found))
        if doubted:
            doubts[name] = doubted
        strangers = frozenset(_not_left_by(lock, image, registry, known=known, found=found))
        if strangers and lock.failure is not None:
            failure = lock.failure.model_copy(update={"artifacts": (), "made": None})
            locks[former or name] = known.locks[former or name].model_copy(update={"failure": failure})
            unlisted[name] = [one for one in unlisted.get(name, ()) if (one.location, one.id) not in strangers]
    return replace(known, doubts=doubts, locks=locks, unlisted=unlisted)


def _doubts(
    known: Known,
    registry: Registry,
    records: Records | None,
    image: Image,
    *,
    lock: Lockfile,
    found: dict[tuple[str, str], Seen],
) -> Iterator[str]:
    """Why each artifact that counts today may be somebody else's: of the newest build, and of those in a channel."""
    looked_up = (lock.builds[0] if lock.builds else None, lock.kept)
    counting = (*looked_up, *map(lock.build, _channels(lock)))
    for build in {one.id: one for one in counting if one is not None}.values():
        for artifact in build.artifacts:
            place = (artifact.location, artifact.id)
            if artifact.location in known.observation.unreadable:
                continue
            unknown = place not in found and build not in looked_up and artifact.location in image.regions
            try:
                seen = registry.find(*place) if unknown else found.get(place)
                if seen is None or is_marked(seen, fleet=known.fleet_name, names=_names(image), build_id=build.id):
                    continue
                why = _stranger(seen, registry, records, image=image.name, build=build)
            except ReconcilerError as error:
                why = f"whether it is ours is not known: {error.what}"
            if why:
                path = path_of(image.name)
                yield f"{artifact.location}: {path} names {artifact.id}, and {why} (`git log -- {path}` shows who did)"


def _stranger(seen: Seen, registry: Registry, records: Records | None, *, image: str, build: Build) -> str:
    """Why an artifact without its marks is not taken for a build's; empty where owner, name and tag say that it is."""
    if not is_own(registry, seen):
        return "it belongs to another account"
    if records is None or not is_in_record(seen, records(image, build.id), build_id=build.id):
        marked = f"its tags say {seen.own('build')} of {seen.own('image')}" if seen.own("build") else "its tags don't"
        return f"{marked}, nor does the tag {tag_name(image, build.id)} say that it is this build's"
    return ""


def _not_left_by(
    lock: Lockfile, image: Image, registry: Registry, *, known: Known, found: dict[tuple[str, str], Seen]
) -> Iterator[tuple[str, str]]:
    """What a recorded failure names and nothing else says that the attempt left: neither its marks nor its name."""
    failure = lock.failure
    for artifact in failure.artifacts if failure is not None else ():
        seen = found.get((artifact.location, artifact.id))
        if seen is None or failure is None:
            continue
        if is_marked(seen, fleet=known.fleet_name, names=_names(image), build_id=failure.build):
            continue
        try:
            ours = seen.own("fleet") is None and seen.name == f"{image.name}-{failure.build}"
            if not ours or not is_own(registry, seen):
                yield seen.location, seen.id
        except ReconcilerError:
            yield seen.location, seen.id


def _names(image: Image) -> tuple[str | None, ...]:
    return image.name, image.declaration.moved_from


def _channels(lock: Lockfile) -> tuple[str | None, str | None]:
    return lock.channels.candidate, lock.channels.stable
