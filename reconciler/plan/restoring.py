"""What of a build that was removed is to be brought back, as it was last recorded; and what is recorded of it then."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from reconciler.model.care import NO_CARE, NOBODY, Grants
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.restoration import Binned
from reconciler.model.values import BUILD_ID_PATTERN
from reconciler.plan.trust import is_marked

_BUILD_ID = re.compile(BUILD_ID_PATTERN)


def as_it_was(records: Sequence[Build], image: Image) -> Build | None:
    """A build with all that it had where its image is declared to be: records of it, the newest first.

    A record that follows one that is brought back in part has less than the one before. Of two artifacts in one
    location the newer record's counts. None where no record has an artifact in a location that is declared.
    """
    found: dict[str, Artifact] = {}
    for build in records:
        for one in build.artifacts:
            if one.location in image.locations:
                found.setdefault(one.location, one)
    if not records or not found:
        return None
    artifacts = sorted(found.values(), key=lambda one: (one.location, one.id))
    return records[0].model_copy(update={"artifacts": tuple(artifacts), "files": None})


@dataclass(frozen=True)
class Whole:
    """A build as it is to be there again, and those of whom its record alone says that they could use it."""

    build: Build
    not_given_back: Grants = NOBODY


def with_confirmed_care(build: Build, image: Image, *, known: Collection[tuple[str, str]]) -> Whole:
    """The build, with no more of who could use it, or what was done to it, than what is declared now confirms.

    It is a commit's word alone, and one that a rebase brought may have said anything. What the lockfile says today is
    `known`, by location and id, and stays. What came back is not protected: it could not have been removed.
    """
    declared = image.declaration.share_with.grants
    lost, artifacts = NOBODY, list[Artifact]()
    for one in build.artifacts:
        care = one.cared_for
        if care == NO_CARE or (one.location, one.id) in known:
            artifacts.append(one)
            continue
        withheld = None
        if care.withheld is not None:
            lost, withheld = lost | (care.withheld - declared), care.withheld & declared
        update = {"withheld": withheld, "shared": care.shared & declared, "protected": False}
        artifacts.append(one.model_copy(update={"care": care.model_copy(update=update)}))
    return Whole(build.model_copy(update={"artifacts": tuple(artifacts)}), lost)


def as_enabled(artifact: Artifact, seen: Seen) -> Artifact:
    """What came back, recorded so that it is made usable again: nobody knows why else it should not be."""
    if seen.state != "disabled" or artifact.cared_for.withheld is not None:
        return artifact
    return artifact.model_copy(update={"care": artifact.cared_for.model_copy(update={"withheld": NOBODY})})


def is_meant(kept: Binned, build: Build, *, names: Iterable[str], tagged: Iterable[Artifact]) -> bool:
    """Whether what was removed is known to be the build's: by the name that we give, or by the record in its tag.

    Its name nobody could write later, as they can a lockfile of before.
    """
    given = {f"{name}-{build.id}" for name in names}
    return kept.name in given or any(
        (one.location, one.id) == (kept.location, kept.id) or one.name == kept.name for one in tagged
    )


def is_ours(seen: Seen, build: Build, *, fleet: str, names: Collection[str]) -> bool:
    """Whether what is there says itself that it is this build's."""
    return is_marked(seen, fleet=fleet, names=names, build_id=build.id)


def said_by(kept: Binned, images: Iterable[str]) -> tuple[str, str] | None:
    """The image and the build that a removed artifact's name says; None for a name that none of these images gives."""
    for image in images:
        build = kept.name.removeprefix(f"{image}-")
        if build != kept.name and _BUILD_ID.fullmatch(build):
            return image, build
    return None
