"""A disk in other formats, beside it.

A conversion is a disk like any other, under its own digest, and its marks say of which disk it is, and in what format.
That disk's marks name it once it is whole; so what a killed run made in between is found again. Marks are hearsay: what
they name is taken where it holds the same, and goes with its disk where a record names it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from reconciler.model.lockfile import Conversion
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.ports.registry import Located
from reconciler.registries.disk import formats
from reconciler.registries.disk.shelf import Shelf, size_of

FROM, _FORMAT, _IN_FORMAT = "converted-from", "format", "format-"
"""Our marks of a conversion: the id of its disk, and its format; and of its disk, one for each format."""


def converted(disk: Seen, find: Callable[[str], Seen | None]) -> Seen:
    """A disk with its conversions, as its marks name them, that are whole. `find` reports another disk beside it."""
    kept = []
    for mark in disk.tags:
        form = mark.removeprefix(f"{TAG_PREFIX}{_IN_FORMAT}")
        conversion = _named(form, disk.own(f"{_IN_FORMAT}{form}")) if form != mark else None
        seen = find(conversion.id) if conversion is not None else None
        if conversion is not None and seen is not None and _is_of(seen, disk, form) and seen.state == "available":
            kept.append(conversion)
    return replace(disk, conversions=tuple(sorted(kept, key=lambda one: one.format)))


def conversions_of(shelf: Shelf, disk: Located) -> tuple[Seen, ...]:
    """What of the fleet was converted of a disk: also what no marks of that disk name, and what is not whole."""
    there = list(shelf.listed(disk.location))
    return tuple(one for one in there if (one.own(FROM), one.own("fleet")) == (disk.id, shelf.fleet))


@dataclass(frozen=True)
class Converting:
    """One disk that is to be in another format beside it."""

    shelf: Shelf
    disk: Located
    form: str
    cancelled: threading.Event

    def there(self, known: set[str]) -> Conversion | None:
        """The conversion that is there already, and is named by its disk from now on; None where there is none.

        It is what is `known`, by the `sha256:…` of its bytes, or holds the same as the disk. What is none of both is
        left alone: it may be anything that somebody marked so.
        """
        for one in conversions_of(self.shelf, self.disk):
            if one.own(_FORMAT) == self.form and one.state == "available" and self._is_sure(one, known):
                return self._named(one.id)
        return None

    def made(self, *, name: str, tags: Mapping[str, str]) -> Conversion:
        """Convert it."""
        location = self.disk.location
        disk = self.shelf.path(location, self.disk.id, size=size_of(self.disk))
        with self.shelf.drafting(location) as folder:
            draft = folder / "disk"
            formats.convert(disk, draft, form=self.form, cancelled=self.cancelled)
            return self._named(self.shelf.keep_draft(draft, location, name=name, tags=self._marks(tags)))

    def taken(self, file: Path, *, wanted: str, name: str, tags: Mapping[str, str]) -> Conversion:
        """Copy it from where it was converted."""
        kept = self.shelf.keep(file, self.disk.location, name=name, tags=self._marks(tags), wanted=wanted)
        return self._named(kept)

    def drop_replaced(self, known: set[str], *, by: Conversion) -> None:
        """Delete what is `known`, by its id, to have been this conversion, and is no more: another one took its place.

        It would be in no record from now on, and so stay for good.
        """
        for one in conversions_of(self.shelf, self.disk):
            if one.own(_FORMAT) == self.form and one.id in known - {by.id}:
                self.shelf.retire(one, image=one.own("image") or "")

    def _is_sure(self, one: Seen, known: set[str]) -> bool:
        if one.id.partition(".")[0] in known:
            return True
        disk = self.shelf.path(self.disk.location, self.disk.id, size=size_of(self.disk))
        other = self.shelf.path(self.disk.location, one.id)
        return formats.holds_the_same(disk, other, form=self.form, cancelled=self.cancelled)

    def _marks(self, tags: Mapping[str, str]) -> dict[str, str]:
        return {**tags, f"{TAG_PREFIX}{FROM}": self.disk.id, f"{TAG_PREFIX}{_FORMAT}": self.form}

    def _named(self, conversion_id: str) -> Conversion:
        """The conversion, which its disk's marks name from now on."""
        conversion = Conversion(
            format=self.form, id=conversion_id, size=self.shelf.size(self.disk.location, conversion_id)
        )  # fmt: skip
        self.shelf.tag(self.disk, {f"{TAG_PREFIX}{_IN_FORMAT}{self.form}": f"{conversion.id} {conversion.size}"})
        return conversion


def _named(form: str, mark: str | None) -> Conversion | None:
    """The conversion that a mark names; None for whatever else somebody wrote there."""
    one_id, _, size = (mark or "").partition(" ")
    try:
        return Conversion(format=form, id=one_id, size=int(size))
    except (ValidationError, ValueError):
        return None


def _is_of(conversion: Seen, disk: Seen, form: str) -> bool:
    return (conversion.own(FROM), conversion.own(_FORMAT)) == (disk.id, form)
