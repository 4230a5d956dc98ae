"""AMIs that a failed attempt left: found, and retired where something other than Packer's words says whose they are.

What names an AMI as an attempt's: the tags that its template puts on at birth, the name that we gave, or Packer's
report beside an AMI that nobody claims and that is no older than the attempt. A line of a log alone is hearsay: what is
only mentioned there is told, for a person to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.build.failure import BuildFailed
from reconciler.model.errors import ReconcilerError, Transient
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.plan.adoption import may_be_of
from reconciler.plan.tags import at_birth
from reconciler.steps.artifacts import is_own
from reconciler.steps.run import Run

_UNKNOWN_BUILDER = "unknown"


@dataclass(frozen=True)
class Left:
    """What an attempt left, and is still there. `told` are sentences for people.

    `made` is the record of what was built as asked for, and is to be taken up.
    """

    stays: tuple[Artifact, ...] = ()
    told: tuple[str, ...] = ()
    made: Build | None = None


def retire_left(run: Run, image: Image, failed: BuildFailed, *, build_id: str) -> Left:
    """Retire what a failed attempt left, and say what became of it. Never raises: why it failed is worth more.

    Nothing is looked for where Packer made no AMI, and ended by itself.
    """
    if failed.cleaned_up and not failed.artifacts and not failed.mentioned:
        return Left()
    stays: list[Artifact] = []
    told: list[str] = []
    builder = image.template.makers[0].name if image.template.makers else _UNKNOWN_BUILDER
    found, unread = _found(run, image, failed, build_id=build_id)
    told += unread
    for seen in found:
        nobodys = _is_nobodys_and_new(seen, build_id=build_id)
        reported = any((one.location, one.id) == (seen.location, seen.id) for one in failed.artifacts)
        if not _is_its_own(run, image, seen, build_id=build_id) and not (nobodys and reported and _is_owned(run, seen)):
            if nobodys:
                told.append(
                    f"{seen.id} in {seen.location} may be what it made: nothing on it says so, so it stays; to be rid "
                    f"of it: `aws ec2 deregister-image --region {seen.location} --image-id {seen.id}`"
                )
            continue
        try:
            gone = claim_and_retire(run, image.name, seen, build_id=build_id)
        except ReconcilerError as error:
            stays.append(seen.as_artifact(builder))
            told.append(f"{seen.id} in {seen.location}, which it made, stays for now: {error.what}")
        else:
            became = "was retired" if gone else "is not whole yet: a later run retires it"
            told.append(f"{seen.id} in {seen.location}, which it had made, {became}")
            stays += [] if gone else [seen.as_artifact(builder)]
    return Left(tuple(stays), tuple(told))


def claim_and_retire(run: Run, image: str, seen: Seen, *, build_id: str) -> bool:
    """Retire an artifact of ours that may not say so yet. False where it is still being made: then it only says so.

    Raises what the registry raises, and Terminal where the artifact says that it is another fleet's or image's.
    """
    if seen.own("fleet") is None:
        # A plan may be hours old by now, and somebody else may have claimed it since.
        seen = run.registry.find(seen.location, seen.id) or seen
    if seen.own("fleet") is None:
        # Before all else: whatever goes wrong from here on, the next run's plan sees whose it is.
        tags = at_birth(fleet=run.known.fleet_name, image=image, build_id=build_id, run_id=run.run_id)
        run.registry.tag(seen, tags)
    if seen.state == "pending":
        return False  # its snapshots are not all known yet
    run.registry.retire(seen, image=image)
    return True


def _found(run: Run, image: Image, failed: BuildFailed, *, build_id: str) -> tuple[tuple[Seen, ...], tuple[str, ...]]:
    """What may be the attempt's, each once, in order of place; and which places could not be looked at."""
    regions = dict.fromkeys((*image.regions, *(one.location for one in failed.artifacts)))
    reported = [(artifact.location, artifact.id) for artifact in failed.artifacts]
    reported += [(image.build_region, ami) for ami in failed.mentioned]
    found: dict[tuple[str, str], Seen] = {}
    unread: list[str] = []
    for region in regions:
        ids = [one for place, one in reported if place == region]
        try:
            found |= {(seen.location, seen.id): seen for seen in _in(run, image, region, ids=ids, build_id=build_id)}
        except ReconcilerError as error:
            unread.append(f"what it may have left in {region} is not known: {error.what}")
    return tuple(found[place] for place in sorted(found)), tuple(unread)


def _in(run: Run, image: Image, region: str, *, ids: Iterable[str], build_id: str) -> Iterator[Seen]:
    observation = run.registry.observe([region])
    if region in observation.unreadable:
        raise Transient(observation.unreadable[region])
    yield from (seen for seen in observation.of(image.name) if seen.own("build") == build_id)
    if image.template.takes("image_name"):
        yield from run.registry.named(region, f"{image.name}-{build_id}")
    for artifact_id in ids:
        seen = run.registry.find(region, artifact_id)
        if seen is not None:
            yield seen


def _is_its_own(run: Run, image: Image, seen: Seen, *, build_id: str) -> bool:
    """Whether the registry itself says that an artifact is this attempt's: by its tags, or by the name that we gave."""
    ours = (run.known.fleet_name, image.name, build_id)
    if (seen.own("fleet"), seen.own("image"), seen.own("build")) == ours:
        return True
    named = image.template.takes("image_name") and seen.name == f"{image.name}-{build_id}"
    return named and seen.own("fleet") is None


def _is_owned(run: Run, seen: Seen) -> bool:
    """Whether it is known that this account owns it."""
    try:
        return is_own(run.registry, seen)
    except ReconcilerError:
        return False


def _is_nobodys_and_new(seen: Seen, *, build_id: str) -> bool:
    """Whether nobody's tags are on it, and it was made while the attempt ran."""
    return seen.own("fleet") is None and may_be_of(build_id, seen)
