"""Is it ours? What state/ names and what a preview's tag says, told from hearsay, and the hearsay that may count."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from reconciler.git.past import branches_with
from reconciler.git.repository import Repository
from reconciler.git.tags import tag_message
from reconciler.model.errors import Place, ReconcilerError, Terminal, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import RULED, Artifact, Build, Failure, Lockfile
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.values import BUILD_ID_PATTERN, is_commit_id
from reconciler.plan.planning import FleetPlan, Known, lock_of
from reconciler.plan.revocations import twins_of
from reconciler.plan.trust import ArtifactPlace, believed, certain, is_in_record, is_marked, is_named
from reconciler.ports.registry import Registry
from reconciler.registries import dialect_of
from reconciler.state.lockfiles import parse_build, path_of
from reconciler.steps.artifacts import is_own
from reconciler.steps.observe import asked
from reconciler.words.messages import record_in, sbom_tag_name, tag_name

# What a pull request built, as its annotated tags have it: no lockfile does.


@dataclass(frozen=True)
class Preview:
    """A build that is in no lockfile, and its annotated tag."""

    build: Build
    tag: str
    target: str
    """The commit that the tag stands on."""
    branches: tuple[str, ...]
    """Which branches have that commit, as far as this clone knows."""

    @property
    def whose(self) -> str:
        """How messages refer to it."""
        return f"a preview of branch {self.branches[0]}" if self.branches else f"a preview of {self.target[:7]}"


def find_preview(repository: Repository, image: str, asked: str) -> Preview | None:
    """The preview that an id, or the beginning of one or of its key, names; None where no one tag does.

    A tag that this clone does not have is fetched, where the whole id is given and the remote answers.
    """
    names = [one.name for one in repository.tags(f"image/{image}/")]
    wanted = [name for name in names if _fits(name.rpartition("/")[2], asked)]
    if not wanted and re.fullmatch(BUILD_ID_PATTERN, asked):
        wanted = [tag_name(image, asked)]
    if len(wanted) != 1:
        return None
    try:
        tag = repository.annotated_tag(wanted[0])
    except ReconcilerError:
        return None  # the remote does not answer: then it is what this clone knows that counts
    if tag is None:
        return None
    build = built(tag.message, wanted[0])
    if build is None or build.id != wanted[0].rpartition("/")[2]:
        return None
    target = repository.tagged_commit(wanted[0])
    return Preview(build, wanted[0], target, branches_with(repository.git, target))


_AS_MADE: Mapping[str, object] = MappingProxyType({
    "verdict": None, "recorded": None, "verified": None, "provenance": None, "was_stable": False,
    **dict.fromkeys(RULED - {"was_stable"}),
})  # fmt: skip
"""What a record says of a build that was just made. All else is written into state/ by what is seen there: whoever may
push tags would have voted, or given `stable` something to fall back to."""


def built(message: str, name: str) -> Build | None:
    """The record of a build in a tag's message; None where it has none, as that of a build that failed.

    Nor is one a record that says of no commit that it was built, or of nothing that it was left. What became of the
    build since it was made, such as a verdict on it, is not a tag's to say.
    """
    record = record_in(message)
    if record is None:
        return None
    try:
        build = parse_build(record.encode(), Place(name))
    except Terminal:
        return None
    return build.model_copy(update=_AS_MADE) if is_commit_id(build.commit) and build.artifacts else None


def failed(repository: Repository, image: str, asked: str) -> str | None:
    """What a tag says of a build that failed: why; None where this clone has no such tag."""
    names = [one.name for one in repository.tags(f"image/{image}/") if _fits(one.name.rpartition("/")[2], asked)]
    message = tag_message(repository.git, names[0]) if len(names) == 1 else None
    if message is None or "\nstatus: failed\n" not in message:
        return None
    return message.partition("\nbuilt: ")[2].partition("\n")[2].partition("\n")[0]


def preview_sbom(repository: Repository, image: str, build: Build) -> bytes | None:
    """The SBOM of a preview, from the tag that stands on it; None where there is none."""
    try:
        tag = repository.annotated_tag(sbom_tag_name(image, build.id))
    except ReconcilerError:
        return None
    return tag.file() if tag is not None else None


def _fits(build_id: str, asked: str) -> bool:
    return bool(asked) and (build_id.startswith(asked) or build_id.partition("-")[2].startswith(asked))


# Is what state/ names ours? Not on a lockfile's word alone: its marks say so, or owner, name and annotated tag do.


@dataclass(frozen=True)
class Told:
    """What a build's annotated tag records: the artifacts that it left, and itself; None for one that failed."""

    artifacts: tuple[Artifact, ...]
    build: Build | None = None

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """Where they are, and their ids there."""
        return frozenset((one.location, one.id) for one in self.artifacts)


Records = Callable[[str, str], Told | None]
"""What the annotated tag of an image's build records; None where there is none that counts."""


def records_in(repository: Repository, *, sign: bool) -> Records:
    """The records in this clone's tags, and those that it can fetch, as far as a run believes them."""

    def told(image: str, build_id: str) -> Told | None:
        name = tag_name(image, build_id)
        found = repository.annotated_tag(name) if re.fullmatch(BUILD_ID_PATTERN, build_id) else None
        tag = believed(found, sign=sign)
        if tag is None:
            return None
        build = built(tag.message, name)
        if build is not None and build.id == build_id:
            return Told(build.artifacts, build)
        attempt = _attempt(tag.message)
        return Told(attempt.artifacts) if attempt is not None and attempt.build == build_id else None

    return told


def _attempt(message: str) -> Failure | None:
    """The record of an attempt that failed in a tag's message; None where it has none."""
    try:
        return Failure.model_validate_json(record_in(message) or "")
    except ValueError:
        return None


def records_of(repository: Repository, known: Known) -> Records:
    """The same, as the fleet's settings have it."""
    return records_in(repository, sign=known.fleet.settings.git.sign)


def with_doubts(known: Known, registry: Registry, records: Records | None) -> Known:
    """The same without what an attempt is said to have left and is not ours, and with a doubt about all else.

    Costs calls only for what does not carry its marks.
    """
    doubts: dict[str, tuple[str, ...]] = {}
    locks = dict(known.locks)
    unlisted = dict(known.unlisted)
    for name in asked(known):
        image = known.fleet.images.get(name)
        if image is None:
            continue
        lock, former = lock_of(known, image)
        # Not a copy of what the whole fleet has, once for every image.
        found = ChainMap({one.place: one for one in unlisted.get(name, ())}, known.observation.by_place)
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
    found: Mapping[tuple[str, str], Seen],
) -> Iterator[str]:
    """Why each artifact that counts, or may come to, can be somebody else's.

    Those are of the newest build, of those in a channel, and of those that a channel may go back to; of the latter only
    what was listed: else it is not taken for there.
    """
    looked_up = (lock.builds[0] if lock.builds else None, lock.kept)
    in_channel = tuple(map(lock.build, _channels(lock)))
    counting = (*looked_up, *in_channel, *_may_return(lock, image))
    for build in {one.id: one for one in counting if one is not None}.values():
        for artifact in build.artifacts:
            place = (artifact.location, artifact.id)
            if artifact.location in known.observation.unreadable:
                continue
            asks = build in in_channel and build not in looked_up and artifact.location in image.locations
            try:
                seen = registry.find(*place) if asks and place not in found else found.get(place)
                why = stranger(seen, registry, records, known=known, image=image, build=build) if seen else ""
            except ReconcilerError as error:
                why = f"whether it is ours is not known: {error.what}"
            if why:
                path = path_of(image.name)
                yield f"{artifact.location}: {path} names {artifact.id}, and {why} (`git log -- {path}` shows who did)"


def _may_return(lock: Lockfile, image: Image) -> Iterator[Build]:
    """What `stable` is held to, or goes back to when nobody may use any more what is newer."""
    hold = image.declaration.hold
    yield from (one for one in lock.recorded if one.stood or (hold is not None and one.id == hold.build))


def stranger(
    seen: Seen, registry: Registry, records: Records | None, *, known: Known, image: Image, build: Build
) -> str:  # fmt: skip
    """Why an artifact that state/ names is not taken for a build's.

    Empty where its marks say that it is, or else its owner, its name and the build's annotated tag: also where it was
    lost, and made anew byte for byte the same, so that its marks say another build, of which state/ names it as well.
    """
    if is_marked(seen, fleet=known.fleet_name, names=image.names, build_id=build.id):
        return ""
    if not is_own(registry, seen):
        return "it belongs to another account"
    told = [records(name, build.id) for name in image.names] if records is not None else []
    tagged = [one for each in told if each is not None and each.build is not None for one in each.artifacts]
    twins = frozenset(one.id for one in twins_of(lock_of(known, image)[0], build, seen.place))
    ours = {one for one in twins if is_marked(seen, fleet=known.fleet_name, names=image.names, build_id=one)}
    if not is_in_record(seen, tagged, build_id=build.id, twins=ours):
        marked = f"its tags say {seen.own('build')} of {seen.own('image')}" if seen.own("build") else "its tags don't"
        return f"{marked}, nor does the tag {tag_name(image.name, build.id)} say that it is this build's"
    return ""


def _not_left_by(
    lock: Lockfile, image: Image, registry: Registry, *, known: Known, found: Mapping[tuple[str, str], Seen]
) -> Iterator[tuple[str, str]]:
    """What a recorded failure names and nothing else says that the attempt left: neither its marks nor its name."""
    failure = lock.failure
    for artifact in failure.artifacts if failure is not None else ():
        seen = found.get((artifact.location, artifact.id))
        if seen is None or failure is None:
            continue
        if is_marked(seen, fleet=known.fleet_name, names=image.names, build_id=failure.build):
            continue
        try:
            ours = seen.own("fleet") is None and seen.name == f"{image.name}-{failure.build}"
            if not ours or not is_own(registry, seen):
                yield seen.location, seen.id
        except ReconcilerError:
            yield seen.location, seen.id


def _channels(lock: Lockfile) -> tuple[str | None, str | None]:
    return lock.channels.candidate, lock.channels.stable


# Hearsay that is about to count: what only tags say of artifacts, and the second fact that it takes. A plan is made
# first, since few artifacts count; what it would do on the word of a tag alone is then asked about, and the plan made
# anew without what nothing else says.
#
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
    strangers: set[ArtifactPlace] = set()
    sure: dict[tuple[str, str], frozenset[ArtifactPlace]] = {}
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


def _recorded(records: Records | None, image: str, build_id: str) -> frozenset[ArtifactPlace]:
    try:
        told = records(image, build_id) if records is not None else None
    except ReconcilerError:
        return frozenset()  # the remote does not answer: it stays for now
    return told.places if told is not None else frozenset()
