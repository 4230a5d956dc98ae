"""Find the builds that names stand for under which consumers look: tags of images, and parameters.

By the record, as all that reads a clone alone: what stands there now, only who can reach it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from reconciler.desired.fleet import read_image
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.publish import Published
from reconciler.model.source import Channel
from reconciler.model.text import first_few
from reconciler.model.tree import Tree
from reconciler.plan.publishing import names_of
from reconciler.state.lockfiles import images_with, read_lockfile

_MOST_NAMED = 4


@dataclass(frozen=True)
class Pointed:
    """What a name stands for: the build of a channel, and those of its artifacts that the name is of."""

    image: str
    lock: Lockfile
    channel: Channel | None
    """None where the name is the artifact's own."""
    build: Build
    artifacts: tuple[Artifact, ...]


def pointed_by(tree: Tree, asked: str) -> Pointed | None:
    """What a name stands for, as `REPOSITORY:TAG`, `/the/parameter` or `LOCATION:/the/parameter`; None for no such.

    Of a tag also the artifact's own, which it has from its build.

    Raises:
        UserError: a channel is published there, and points to nothing that is there.
    """
    location, _, name = asked.rpartition(":")
    if not name or not asked.isprintable():
        return None
    for image, lock in _locks_with(tree, f'"{name}"'):
        places = tuple(one for one in lock.published if _is_asked(one, location, name))
        if places:
            return _of_channel(tree, lock, asked, places)
        for build in lock.recorded if location else ():
            own = tuple(one for one in build.artifacts if (one.location, one.name) == (location, name))
            if own:
                return Pointed(image, lock, None, build, own)
    return None


def _locks_with(tree: Tree, text: str) -> Iterator[tuple[str, Lockfile]]:
    """The lockfiles that have a text, each with its image's name, but for those that can't be read."""
    for image in images_with(tree, text):
        with suppress(UserError):
            lock = read_lockfile(tree, image)
            if lock is not None:
                yield image, lock


def _is_asked(one: Published, location: str, name: str) -> bool:
    return bool(one.called) and one.called == name and (one.location == location or bool(not one.tag and not location))


def _of_channel(tree: Tree, lock: Lockfile, asked: str, places: tuple[Published, ...]) -> Pointed:
    channel = _channel(tree, lock.image, places[0].called)
    build = lock.build(getattr(lock.channels, channel)) if channel is not None else None
    there = [build.artifact_in(one.location) for one in places] if build is not None else []
    artifacts = tuple(one for one in there if one is not None)
    if build is None or not artifacts:
        why = "is declared no more" if channel is None else f"is its {channel}, which points to nothing there"
        raise UserError(
            f"{asked} is published by {lock.image}, and {why}",
            hint=f"`reconciler history {lock.image}` says what it was",
        )
    return Pointed(lock.image, lock, channel, build, artifacts)


def _channel(tree: Tree, image: str, name: str) -> Channel | None:
    """The channel that is declared to be published under a name; None where that can't be read, or is not."""
    try:
        declared = read_image(tree, image)
    except ReconcilerError:
        return None
    return names_of(declared).get(name) if isinstance(declared, Image) else None


def published_near(tree: Tree, asked: str) -> Iterator[str]:
    """What to say of a name that nothing is published under, in a location of which something is recorded."""
    location, _, tag = asked.rpartition(":")
    if not location or not tag or "/" in tag:
        return
    for image, lock in _locks_with(tree, f'"{location}"'):
        names = [one.text for one in lock.published if one.location == location]
        told = f"published there: {first_few(names, most=_MOST_NAMED)}" if names else "none of its tags is published"
        yield f"{location} is of {image}, {told}; `reconciler artifact {image}` names what is stable"
