"""Is what we have still wanted, now that the branch is where it is?"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.desired.fleet import read_image
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.tree import Tree
from reconciler.plan.key import moved
from reconciler.plan.key import wanted as want
from reconciler.state.lockfiles import FOLDER, read_lockfiles


@dataclass(frozen=True)
class Unwanted:
    """The branch moved on: what we have is not what it wants, or `instead` is there already."""

    why: str
    instead: Build | None = None


def declared_at(tree: Tree, image: Image, *, since: Tree) -> Image | Unwanted:
    """The image as the head declares it: `image` itself as long as nothing but state/ changed, which costs nothing.

    An image that is invalid there counts as unchanged: what it should be is not known.
    """
    if not _touched(since, tree):
        return image
    now = read_image(tree, image.name)
    if now is None:
        return Unwanted(f"{image.name} is no longer declared at {tree.oid[:12]}")
    return now if isinstance(now, Image) else image


def recorded_by_others(lock: Lockfile, key: str, *, before: Lockfile, mine: Build | None = None) -> Unwanted | None:
    """Whether another run recorded the same content since the lockfile was as `before`.

    `mine` is not another: a run that found it in the registry before we recorded it has adopted it. The id alone does
    not tell, since two runs that began in the same second gave the same one.
    """
    for build in lock.builds:
        if build.key == key and before.build(build.id) is None and not (mine and _shares_artifacts(build, mine)):
            return Unwanted(f"another run recorded {build.id}, which has the same key", instead=build)
    return None


def recorded_elsewhere(tree: Tree, build: Build, *, image: str) -> Unwanted | None:
    """Whether an artifact of a build is in another image's lockfile: each belongs to one."""
    places = {(artifact.location, artifact.id) for artifact in build.artifacts}
    locks, _ = read_lockfiles(tree)
    for name, lock in locks.items():
        for one in lock.recorded if name != image else ():
            taken = places & {(artifact.location, artifact.id) for artifact in one.artifacts}
            for location, artifact_id in sorted(taken):
                return Unwanted(f"{artifact_id} in {location} is {one.id} of {name}")
    return None


def changed(tree: Tree, declared: Image, *, build: Build) -> Unwanted | None:
    """Whether the head wants other content than what was built."""
    components = moved(build.components, want(declared, build.source).components)
    if not components:
        return None
    return Unwanted(f"{declared.name} changed in the meantime ({', '.join(components)}, at {tree.oid[:12]})")


def pin_moved(lock: Lockfile, *, build: Build, since: Lockfile) -> Unwanted | None:
    """Whether another run moved the upstream pin: what was built on the older one must not turn it back."""
    pinned = lock.source.pinned if lock.source else None
    if pinned is None or pinned.upstream is None or build.source is None or lock.source == since.source:
        return None
    if pinned.identity == build.source.identity:
        return None
    return Unwanted(f"another run pinned {pinned} in the meantime, and {build.id} is on {build.source}")


def _shares_artifacts(one: Build, other: Build) -> bool:
    places = {(artifact.location, artifact.id) for artifact in other.artifacts}
    return any((artifact.location, artifact.id) in places for artifact in one.artifacts)


def _touched(before: Tree, now: Tree) -> bool:
    """Whether anything changed that an image may be made of. A file that is new anywhere may be one that it names."""
    paths = before.entries.keys() | now.entries.keys()
    return any(before.entries.get(path) != now.entries.get(path) for path in paths if not path.startswith(f"{FOLDER}/"))
