"""Artifacts of one build: tagged as complete, copied to where they are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Conversion, Lockfile
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.plan import Restated
from reconciler.model.values import digest
from reconciler.plan.channels import NO_VERDICT, said_wrongly
from reconciler.plan.tags import as_text, at_birth, differing, in_no_channel, of_preview, of_recorded, own, standing
from reconciler.ports.registry import Registry
from reconciler.steps.retire import retire
from reconciler.steps.run import LateTags, Run

SETTLING = 60.0
"""Seconds for which a registry may not list what was just made."""
_COPY_TRIES = 3
COPY_TIMEOUT = 3 * 3600
"""Seconds. A large image takes over an hour between continents; Packer's own ten minutes are too short."""


def is_own(registry: Registry, seen: Seen) -> bool:
    """Whether this account owns an artifact, in the registry's own word: others' may be seen, where they are shared."""
    return any(one.id == seen.id for one in registry.named(seen.location, seen.name))


@dataclass(frozen=True)
class Copies:
    """What became of the copies: the complete ones, and why the others failed, by location."""

    done: tuple[Artifact, ...] = ()
    failed: tuple[tuple[str, ReconcilerError], ...] = ()


def with_copies(build: Build, copies: Copies) -> Build:
    """The build with the copies that are complete, in order of location."""
    artifacts = sorted([*build.artifacts, *copies.done], key=lambda one: (one.location, one.id))
    return build.model_copy(update={"artifacts": tuple(artifacts)})


@dataclass(frozen=True)
class Conversions:
    """What became of the conversions: the artifacts with those that are there, and why the others failed."""

    artifacts: tuple[Artifact, ...] = ()
    made: tuple[tuple[str, Conversion], ...] = ()
    """Those that this run made, with their locations."""
    failed: tuple[tuple[str, ReconcilerError], ...] = ()
    """By location and format, as words say it: `vmdk in /srv/images`."""


NO_CONVERSIONS = Conversions()


def with_conversions(build: Build, conversions: Conversions) -> Build:
    """The build with its artifacts in all the formats that are there."""
    now = {(one.location, one.id): one for one in conversions.artifacts}
    artifacts = tuple(now.get((one.location, one.id), one) for one in build.artifacts)
    return build.model_copy(update={"artifacts": artifacts})


def convert_missing(run: Run, image: Image, build: Build, artifacts: Sequence[Artifact]) -> Conversions:
    """Have artifacts of one build in every format that is declared; one that fails leaves the others as they are.

    Each format is made once, where it is first asked for, and copied from there: a converter may write another file
    each time. What is recorded of other artifacts of the build is copied, too.
    """
    found = {(one.location, one.id): {each.format: each for each in one.conversions} for one in artifacts}
    recorded = {(one.location, each.format): each.id for one in build.artifacts for each in one.conversions}
    made: list[tuple[str, Conversion]] = []
    failed: list[tuple[str, ReconcilerError]] = []
    for form in image.formats:
        known = [(location, one) for (location, each), one in recorded.items() if each == form]
        for artifact in artifacts:
            try:
                conversion = _converted(run, image, build, artifact, form=form, known=known)
            except ReconcilerError as error:
                failed.append((f"{form} in {artifact.location}", error))
                continue
            found[artifact.location, artifact.id][form] = conversion
            if (artifact.location, conversion.id) not in known:
                known.append((artifact.location, conversion.id))
                made.append((artifact.location, conversion))
                run.listener(
                    events.Converted(
                        image=image.name, build=build.id, location=artifact.location, artifact=conversion.id,
                        format=form,
                    )
                )  # fmt: skip
    kept = {place: tuple(sorted(each.values(), key=lambda one: one.format)) for place, each in found.items()}
    with_all = (one.model_copy(update={"conversions": kept[one.location, one.id]}) for one in artifacts)
    return Conversions(tuple(with_all), tuple(made), tuple(failed))


def _converted(
    run: Run, image: Image, build: Build, artifact: Artifact, *, form: str, known: Sequence[tuple[str, str]]
) -> Conversion:  # fmt: skip
    if run.cancelled.is_set():
        raise Transient("the run was cancelled")
    tags = at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build.id, run_id=run.request.run_id)
    name = f"{artifact.name or f'{image.name}-{build.id}'}.{form}"
    return run.registry.convert(artifact, form=form, name=name, tags=tags, known=known)


def complete_tags(run: Run, image: Image, build: Build) -> Mapping[str, str]:
    """The tags of a build's complete artifacts; of a preview, with whose it is."""
    if run.branch is None:
        return of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    return of_preview(
        fleet=run.known.fleet_name, image=image, build=build, branch=run.branch.name,
        pull_request=run.branch.pull_request,
    )  # fmt: skip


def tag_complete(
    run: Run, image: Image, build: Build, artifacts: Sequence[Artifact | Seen], *, lock: Lockfile | None = None,
    begins: bool = False, also: Mapping[str, str] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Write a build's tags on its artifacts. The key comes with them: from now on they count as complete.

    With the `lock` that records it come its phase and channel. Where it `begins` to wait for a verdict, one that is
    there already is taken off: who builds does not judge. `also` comes with them.
    """
    tags = {**of_recorded(fleet=run.known.fleet_name, image=image, build=build), **also}
    if lock is not None:
        tags |= standing(lock, build)
    if begins:
        tags |= NO_VERDICT
    for artifact in artifacts:
        run.registry.tag(artifact, tags)


def tag_recorded(
    run: Run, image: Image, *, before: Lockfile, after: Lockfile, build_id: str, late: bool = False
) -> None:
    """Tag a build that is recorded now, and those from which it took a channel.

    What is only proposed says its own phase: the channels that count are those of the branch.
    """
    recorded = after.build(build_id)
    if run.proposes:
        if recorded is not None:
            _tag(run, image, recorded, own(phase=recorded.phase), late=late, is_new=True)
        return
    moved = tag_moved(run, image, before=before, after=after, also=(build_id,), late=late)
    others = [one for one in run.known.observation.of(image.name) if (one.location, one.id) not in moved]
    restate(run, image.name, said_wrongly(others, after), late=late)


def restate(run: Run, image: str, wrong: Iterable[Restated], *, late: bool = False) -> None:
    """Tag anew what says wrongly how far it has come, many in one call. What fails is told: the next plan sees it."""
    tags = run.late_tags if late else LateTags()
    for one in wrong:
        tags.add(image, [one.seen], one.tags)
    if not late:
        tags.write(run.registry, run.listener)


def tag_moved(
    run: Run, image: Image, *, before: Lockfile, after: Lockfile, also: Collection[str] = (), late: bool = False,
    made: bool = True,
) -> Collection[tuple[str, str]]:  # fmt: skip
    """Tag the artifacts of each build whose phase or channel is another by now, and of those that are named as well.

    These this run `made`, or found to be the build's. Else it is asked once more: a location may not have been read.
    The build that a channel came to is tagged before the one that it left, so that there always is one to be found.
    `late` is at the end of the run, many in one call. Returns the artifacts, as (location, id).
    """
    moved = tuple(_moved(before, after, also=also))
    for build, tags in moved:
        _tag(run, image, build, tags, late=late, is_new=made and build.id in also)
    return {(one.location, one.id) for build, _ in moved for one in build.artifacts}


def _tag(run: Run, image: Image, build: Build, tags: Mapping[str, str], *, late: bool, is_new: bool) -> None:
    """Tag a build's artifacts. What fails is told, and what is gone left to the next plan.

    With their parts as the registry has them: those that only state/ names may be anybody's.
    """
    if late:
        listed = {one.place: one for one in run.known.observation.of(image.name)}
        found = ((one, listed.get((one.location, one.id))) for one in build.artifacts)
        known = [seen or one for one, seen in found if is_new or (seen is not None and _is_of(seen, build))]
        run.late_tags.add(image.name, known, tags)
        return
    for artifact in build.artifacts:
        try:
            # What is gone would be asked for again and again: for all that a registry says, it may be too new.
            ours = artifact if is_new else _ours(run, image, artifact, build)
            if ours is not None:
                run.registry.tag(ours, tags)
        except ReconcilerError as error:
            what = f"{artifact.id} is not tagged {as_text(tags)}: {error.what}"
            run.listener(events.Warned(image=image.name, what=what))


def _ours(run: Run, image: Image, artifact: Artifact, build: Build) -> Seen | None:
    """A recorded artifact that is there, and says itself that it is the image's: a lockfile's word is not enough."""
    seen = run.registry.find(artifact.location, artifact.id)
    if seen is None or not _is_of(seen, build):
        return None
    return seen if seen.own("fleet") == run.known.fleet_name and seen.own("image") in image.names else None


def _is_of(seen: Seen, build: Build) -> bool:
    """Whether an artifact does not say that it is another build's: one that came out the same took its place then."""
    return seen.own("build") in (None, build.id)


def _moved(
    before: Lockfile, after: Lockfile, *, also: Collection[str]
) -> Iterator[tuple[Build, Mapping[str, str]]]:  # fmt: skip
    """Builds with the tags that they are to carry now: first those that are recorded, the newest first."""
    for build in after.builds:
        was, tags = before.build(build.id), standing(after, build)
        if build.id in also or was is None or standing(before, was) != tags:
            yield build, tags
    for build in before.builds:
        if after.build(build.id) is None and before.channel_of(build.id) is not None:
            yield build, in_no_channel("superseded")


def lacks_standing_alone(run: Run, image: Image, build: Build, adopted: Sequence[Seen]) -> bool:
    """Whether what is adopted carries all of the build's tags but those of its standing, as a pull request's does."""
    tags = of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    phase = f"{TAG_PREFIX}phase"
    return all(
        seen.own("verdict") is None
        and all(seen.tags.get(name) == value for name, value in tags.items() if name != phase)
        for seen in adopted
    )


def stands_as_declared(run: Run, image: Image, build: Build, *, lock: Lockfile) -> bool:
    """Whether a recorded build is there in every declared location and format, with all its tags."""
    tags = of_recorded(fleet=run.known.fleet_name, image=image, build=build) | standing(lock, build)
    for location in image.locations:
        recorded = build.artifact_in(location)
        seen = run.registry.find(location, recorded.id) if recorded is not None else None
        if recorded is None or seen is None or seen.state != "available" or differing(tags, seen):
            return False
        if any(recorded.conversion(form) not in seen.conversions for form in image.formats):
            return False
    return True


def tag_with_new_name(run: Run, image: Image, lock: Lockfile) -> None:
    """Write an image's tags anew on all that is recorded of it: an artifact under a former name can't be retired."""
    for build in lock.recorded:
        for artifact in build.artifacts:
            seen = _ours(run, image, artifact, build)
            if seen is not None:
                tag_complete(run, image, build, [seen], lock=lock)


def copy_missing(
    run: Run, image: Image, build: Build, *, source: Artifact, locations: Sequence[str], lock: Lockfile | None = None
) -> Copies:
    """Copy one artifact to each location, all at once; one that fails leaves the others as they are.

    With the `lock` that records the build the copies say at once which channel it is in.
    """
    begun: list[tuple[str, str]] = []
    failed: list[tuple[str, ReconcilerError]] = []
    for location in locations:
        try:
            begun.append((location, _begin_copy(run, image, build, source=source, location=location)))
        except ReconcilerError as error:
            failed.append((location, error))
    done: list[Artifact] = []
    for location, artifact_id in begun:
        try:
            seen = run.registry.wait_available(location, artifact_id, timeout=COPY_TIMEOUT)
            run.registry.complete_copy(seen, of=source)
            tag_complete(run, image, build, [seen], lock=lock)
        except ReconcilerError as error:
            failed.append((location, error))
        else:
            done.append(seen.as_artifact(source.builder))
            run.listener(events.Copied(image=image.name, build=build.id, location=location, artifact=artifact_id))
    return Copies(done=tuple(done), failed=tuple(failed))


def _begin_copy(run: Run, image: Image, build: Build, *, source: Artifact, location: str) -> str:
    # A registry may answer a token it has seen with the first copy's id, for a day, even when that copy failed or was
    # deregistered since. With the id of what is replaced the next copy is another one, and after a crash the same.
    recorded = build.artifact_in(location)
    replaced = recorded.id if recorded else None
    for _ in range(_COPY_TRIES):
        token = digest([build.id, source.location, source.id, location, replaced])
        begun = run.registry.copy(
            source,
            to=location,
            name=source.name or f"{image.name}-{build.id}",
            tags=at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build.id, run_id=build.id),
            token=token.removeprefix("sha256:"),
        )
        seen = run.registry.find(location, begun, patience=SETTLING)
        if seen is not None and seen.state in ("pending", "available"):
            return begun
        if seen is not None:
            retire(run, image.name, seen)
        replaced = begun
    raise Terminal(f"{location} answers a new copy of {source.id} with {replaced}, which failed or is gone")
