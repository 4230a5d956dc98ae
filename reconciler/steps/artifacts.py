"""Artifacts of one build: tagged as complete, copied to the regions where they are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.values import digest
from reconciler.plan.tags import at_birth, of_preview, of_recorded, own
from reconciler.plan.verdicts import NO_VERDICT
from reconciler.steps.run import Run

SETTLING = 60.0
"""Seconds for which EC2 may not list an AMI that was just made."""
_COPY_TRIES = 3
COPY_TIMEOUT = 3 * 3600
"""Seconds. A large AMI takes over an hour between continents; Packer's own ten minutes are too short."""


@dataclass(frozen=True)
class Copies:
    """What became of the copies: the complete ones, and why the others failed, by region."""

    done: tuple[Artifact, ...] = ()
    failed: tuple[tuple[str, ReconcilerError], ...] = ()


def with_copies(build: Build, copies: Copies) -> Build:
    """The build with the copies that are complete, in order of region."""
    artifacts = sorted([*build.artifacts, *copies.done], key=lambda one: (one.location, one.id))
    return build.model_copy(update={"artifacts": tuple(artifacts)})


def complete_tags(run: Run, image: Image, build: Build) -> Mapping[str, str]:
    """The tags of a build's complete artifacts; of a preview, with whose it is."""
    if run.branch is None:
        return of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    return of_preview(
        fleet=run.known.fleet_name, image=image, build=build, branch=run.branch.name,
        pull_request=run.branch.pull_request,
    )  # fmt: skip


def tag_complete(
    run: Run, image: Image, build: Build, artifacts: Sequence[Artifact | Seen], *, begins: bool = False
) -> None:
    """Write a build's tags on its artifacts. The key comes with them: from now on they count as complete.

    Where it `begins` to wait for a verdict, one that is there already is taken off: who builds does not judge.
    """
    tags = of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    if begins:
        tags |= NO_VERDICT
    for artifact in artifacts:
        run.registry.tag(artifact, tags)


def tag_recorded_phase(run: Run, image: Image, build: Build, *, recorded: Build) -> None:
    """Tag a build's artifacts with the phase that is recorded by now. What fails is told, and left to the next plan."""
    places = {(artifact.location, artifact.id) for artifact in recorded.artifacts}
    for artifact in build.artifacts:
        if (artifact.location, artifact.id) not in places:
            continue
        try:
            run.registry.tag(artifact, own(phase=recorded.phase))
        except ReconcilerError as error:
            what = f"{artifact.id} is not tagged {recorded.phase}: {error.what}"
            run.listener(events.Warned(image=image.name, what=what))


def lacks_phase_alone(run: Run, image: Image, build: Build, adopted: Sequence[Seen]) -> bool:
    """Whether what is adopted carries every tag of the build but the phase, as what a pull request built does."""
    tags = of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    phase = f"{TAG_PREFIX}phase"
    return all(
        seen.own("verdict") is None
        and all(seen.tags.get(name) == value for name, value in tags.items() if name != phase)
        for seen in adopted
    )


def stands_as_declared(run: Run, image: Image, build: Build) -> bool:
    """Whether a recorded build is there in every declared region, with all its tags."""
    tags = of_recorded(fleet=run.known.fleet_name, image=image, build=build)
    for region in image.regions:
        recorded = build.artifact_in(region)
        seen = run.registry.find(region, recorded.id) if recorded is not None else None
        if seen is None or seen.state != "available" or any(seen.tags.get(name) != tags[name] for name in tags):
            return False
    return True


def tag_with_new_name(run: Run, image: Image, lock: Lockfile) -> None:
    """Write an image's tags anew on all that is recorded of it: an artifact under a former name can't be retired."""
    for build in lock.builds:
        for artifact in build.artifacts:
            if run.registry.find(artifact.location, artifact.id) is not None:
                tag_complete(run, image, build, [artifact])


def copy_missing(run: Run, image: Image, build: Build, *, source: Artifact, regions: Sequence[str]) -> Copies:
    """Copy one artifact to each region, all at once; a region that fails leaves the others as they are."""
    begun: list[tuple[str, str]] = []
    failed: list[tuple[str, ReconcilerError]] = []
    for region in regions:
        try:
            begun.append((region, _begin_copy(run, image, build, source=source, region=region)))
        except ReconcilerError as error:
            failed.append((region, error))
    done: list[Artifact] = []
    for region, artifact_id in begun:
        try:
            seen = run.registry.wait_available(region, artifact_id, timeout=COPY_TIMEOUT)
            tag_complete(run, image, build, [seen])
        except ReconcilerError as error:
            failed.append((region, error))
        else:
            done.append(seen.as_artifact(source.builder))
            run.listener(events.Copied(image=image.name, build=build.id, location=region, artifact=artifact_id))
    return Copies(done=tuple(done), failed=tuple(failed))


def _begin_copy(run: Run, image: Image, build: Build, *, source: Artifact, region: str) -> str:
    # EC2 answers a token it has seen with the first copy's id, for a day, even when that copy failed or was
    # deregistered since. With the id of what is replaced the next copy is another one, and after a crash the same.
    recorded = build.artifact_in(region)
    replaced = recorded.id if recorded else None
    for _ in range(_COPY_TRIES):
        token = digest([build.id, source.location, source.id, region, replaced])
        begun = run.registry.copy(
            source,
            to=region,
            name=source.name or f"{image.name}-{build.id}",
            tags=at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build.id, run_id=build.id),
            token=token.removeprefix("sha256:"),
        )
        seen = run.registry.find(region, begun, patience=SETTLING)
        if seen is not None and seen.state in ("pending", "available"):
            return begun
        if seen is not None:
            run.registry.retire(seen, image=image.name)
        replaced = begun
    raise Terminal(f"{region} answers a new copy of {source.id} with {replaced}, which failed or is gone")
