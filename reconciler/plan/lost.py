"""Places that show nothing of all that is recorded there: another place, more likely, than a loss of everything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Lockfile
from reconciler.model.text import counted, first_few
from reconciler.plan.planning import Known, lock_of

_FEWEST = 2
"""Images of which nothing is there. One may well be lost: somebody removed it, and it is built anew."""
_MOST_NAMED = 3


def with_lost_places(known: Known) -> Known:
    """The same, with each place unread that shows nothing of the fleet, where several images are recorded there.

    A disk that is not mounted shows an empty folder, a registry without its storage no images, and the credentials of
    another account nothing of ours: to take that for a loss would build the whole fleet once more, into the wrong
    place. What a person calls lost is missing. An image that is lost alone is, too.
    """
    unreadable, hints = dict(known.observation.unreadable), dict(known.observation.hints)
    for place, recorded in _bare(known).items():
        images = sorted({name for names in recorded.values() for name in names})
        if len(images) < _FEWEST or not {place, *recorded}.isdisjoint(known.options.lost):
            continue
        named = first_few(images, most=_MOST_NAMED)
        for location in recorded:
            unreadable[location] = (
                f"nothing is there of all that is recorded of {counted(len(images), 'image')} in {place}: {named}"
            )
            hints[location] = (
                "see that it is the place that is meant: what is mounted there, and whose credentials these are",
                f"if it is, and all of that is lost: `--lost {place}` has it made anew",
            )
    return replace(known, observation=replace(known.observation, unreadable=unreadable, hints=hints))


def places_of(known: Known) -> frozenset[str]:
    """All that a person may call lost: each location that is declared, or recorded of an image, and what it is in."""
    every = [(image, location) for image in known.fleet.images.values() for location in image.locations]
    every += [(image, one.location) for image, one in _recorded(known)]
    return frozenset(place for image, location in every for place in (location, image.kind.place_of(location)))


def _bare(known: Known) -> dict[str, dict[str, set[str]]]:
    """The images that are recorded in each place that was read and shows nothing of the fleet, by location.

    Those that are declared there: what is left where nobody wants it may well be gone.
    """
    kinds = {image.kind.name: image.kind for image in known.fleet.images.values()}
    every = (*known.observation.artifacts, *(one for found in known.unlisted.values() for one in found))
    shown = {kinds[one.kind].place_of(one.location) for one in every if one.kind in kinds}
    found: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    for image, artifact in _recorded(known):
        place = image.kind.place_of(artifact.location)
        is_read = image.kind.observed and artifact.location not in known.observation.unreadable
        if is_read and place not in shown and artifact.location in image.locations:
            found[place].setdefault(artifact.location, set()).add(image.name)
    return found


def _recorded(known: Known) -> Iterator[tuple[Image, Artifact]]:
    """What every declared image is compared with: its newest build, and the one that is kept."""
    for image in known.fleet.images.values():
        lock: Lockfile = lock_of(known, image)[0]
        for build in {one.id: one for one in (*lock.builds[:1], lock.kept) if one is not None}.values():
            yield from ((image, artifact) for artifact in build.artifacts)
