"""The registry of a fleet's disks: in folders, and below a prefix of a bucket."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Seen, foreign
from reconciler.model.source import Pin, SourceRequest
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Opening, Registry, Remains
from reconciler.registries.disk.conversions import FROM, Converting, conversions_of, converted
from reconciler.registries.disk.dialect import BUCKET, DISK, DiskRequest
from reconciler.registries.disk.files import (
    digest_of,
    is_file,
    is_id,
    is_same,
    is_still,
    reaching,
    reading,
    refuse_larger,
)
from reconciler.registries.disk.folder import Folders
from reconciler.registries.disk.formats import refuse_part
from reconciler.registries.disk.looking import Looking
from reconciler.registries.disk.shelf import Shelf
from reconciler.registries.plain import PlainRegistry, files_left

_SOURCE = 3600.0
"""Seconds that a plan may read a file that is built on."""


class DiskRegistry(PlainRegistry):
    """The disks of one fleet. Implements `Registry`."""

    def __init__(self, opening: Opening) -> None:
        self.fleet = opening.fleet
        self._opening = opening
        self._cancelled = opening.cancelled or threading.Event()
        self._largest = opening.settings.limits.largest_file
        self._folders: Shelf = Folders(
            fleet=opening.fleet, largest=self._largest, recorded=opening.recorded, cancelled=opening.cancelled
        )
        self._buckets: Shelf | None = None

    def of(self, location: str) -> Shelf:
        """Who keeps what is in a location."""
        if not location.startswith(BUCKET):
            return self._folders
        if self._buckets is None:
            from reconciler.registries.disk.bucket import Buckets  # noqa: PLC0415 - AWS's library, which folders lack

            self._buckets = Buckets(self._opening)
        return self._buckets

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether two folders, or two files in them, are one; or two objects. See `Registry.is_same`."""
        in_bucket = {one.startswith(BUCKET) for one in (location, other)}
        if location == other or len(in_bucket) > 1:
            return location == other
        if in_bucket == {True}:
            return self.of(location).is_same(location, other, artifact_id=artifact_id)
        return is_same(location, other, artifact_id=artifact_id)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one disk, or None. See `Registry.find`. What was written is there at once."""
        shelf = self.of(location)
        with reaching(location):
            seen = shelf.find(location, artifact_id, patience=patience)
            return converted(seen, lambda one: shelf.find(location, one)) if seen is not None else None

    def listed(self, location: str) -> Iterator[Seen]:
        """Every disk in a location, each with what was converted of it; see `PlainRegistry.listed`.

        A conversion whose disk is gone is a disk like any other.
        """
        with reaching(location):
            there = {one.id: one for one in self.of(location).listed(location)}
        return (converted(one, there.get) for one in there.values() if one.own(FROM) not in there)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report those of a name; what somebody else laid there has none, and is called by its id. See `Registry`."""
        seen = self.find(location, name) if is_id(name) else None
        if seen is not None:
            return (seen,)
        # Of what is listed, nothing of other fleets was read.
        return tuple(
            (self.find(location, one.id) or one) if one.state == "unusable" and one.own("fleet") != self.fleet else one
            for one in super().named(location, name)
        )

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Keep the file that a build left, under its digest. See `Registry.store`."""
        files = [(one.builder, file) for one in files_left(made) for file in one.files]
        if len(files) != 1:
            named = ", ".join(Path(file).name for _, file in files) or "none"
            raise UserError(
                f"a disk is one file, and Packer left {len(files)}: {named}",
                hint="have it leave one; where one is made of the other, with keep_input_artifact = false",
            )
        builder, file = files[0]
        if not is_file(Path(file)):
            raise UserError(
                f"Packer says that it left {Path(file).name}, which is no file",
                hint="see the log: something after it may have moved or removed it, or it is a folder",
            )
        with reaching(location):
            refuse_part(Path(file))
            kept = self.of(location).keep(Path(file), location, name=name, tags=tags)
        return [Artifact(kind=DISK.name, builder=builder, location=location, id=kept, name=name)]

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set marks. See `Registry.tag`."""
        self.of(artifact.location).tag(artifact, tags)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Copy to another location; it is whole when this returns. See `Registry.copy`. Its digest is the token."""
        del token
        wanted = source.id.partition(".")[0]
        with reaching(to), self.of(source.location).taken(source) as (file, before):
            return self.of(to).keep(file, to, name=name, tags={**foreign(before), **tags}, wanted=wanted)

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """Have a disk in another format beside it. See `Registry.convert`."""
        with reaching(artifact.location):
            return self._converted(artifact, form=form, name=name, tags=tags, known=known)

    def _converted(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        converting = Converting(self.of(artifact.location), artifact, form=form, cancelled=self._cancelled)
        found = converting.there({one_id.partition(".")[0] for _, one_id in known})
        if found is None:
            elsewhere = (self._held(location, one_id) for location, one_id in known if location != artifact.location)
            source = next((one for one in elsewhere if one is not None), None)
            if source is None:
                found = converting.made(name=name, tags=tags)
            else:
                with self.of(source.location).taken(source) as (file, _):
                    found = converting.taken(file, wanted=source.id.partition(".")[0], name=name, tags=tags)
        converting.drop_replaced({one_id for location, one_id in known if location == artifact.location}, by=found)
        return found

    def _held(self, location: str, artifact_id: str) -> Seen | None:
        """A disk that is whole where it is; None where that can't be said: then it is had otherwise."""
        try:
            seen = self.of(location).find(location, artifact_id)
        except ReconcilerError:
            return None
        return seen if seen is not None and seen.state == "available" else None

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Delete a disk, and first what a record names as converted of it. See `Registry.retire`.

        What only its marks say was converted of it stays: whoever may write marks can say so of any disk.
        """
        shelf = self.of(artifact.location)
        seen = shelf.find(artifact.location, artifact.id)
        if seen is not None and seen.tags:
            self.refuse_others(seen, image)
        recorded = {one.id for one in artifact.conversions} if isinstance(artifact, Artifact) else set()
        for one in conversions_of(shelf, artifact) if seen is None or seen.tags else ():
            if one.id in recorded:
                # Nobody marks a conversion anew where its image has another name by now: its disk alone says so.
                is_renamed = seen is not None and one.own("build") == seen.own("build") is not None
                shelf.retire(one, image=one.own("image") or "" if is_renamed else image)
        return shelf.retire(artifact, image=image)

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve a path to what it holds now; an address is what its checksum says. See `Registry.resolve`."""
        del location, architecture
        if request.upstream is None:
            raise ValueError("a parent image is resolved from state/, not from a registry")
        try:
            asked = DiskRequest.model_validate(request.upstream[1])
        except ValidationError as error:  # a lockfile may say anything
            what = f"{request.upstream[1]} is no source of a disk"
            raise UserError(what, hint="name a whole path or an address") from error
        if asked.url.startswith("http"):
            return DISK.pin(asked.url, str(asked.checksum), name=asked.url.rpartition("/")[2])
        looking = Looking(asked.url, cancelled=self._cancelled, seconds=_SOURCE)
        with reading(asked.url) as path:
            refuse_larger(path.stat().st_size, f"source {asked.url}", most=self._largest)
            found = digest_of(path, looking.goes_on, most=self._largest)
        if asked.checksum not in (None, found):
            raise UserError(f"source {asked.url} is {found}, and {asked.checksum} is declared", hint="declare that")
        return DISK.pin(asked.url, found, name=path.name)

    def given(self, location: str, source: str) -> str:
        """The path of what is pinned, if it is still that; an address is Packer's to look at. See `Registry.given`."""
        del location
        digest, upstream, url = source.partition(" ")
        if not upstream:
            place, _, artifact_id = source.rpartition("/")
            with reaching(place):
                return str(self.of(place).path(place, artifact_id))
        if not url.startswith("http"):
            with reading(url) as path:
                refuse_larger(path.stat().st_size, f"source {url}", most=self._largest)
                goes_on = Looking(url, cancelled=self._cancelled, seconds=math.inf).goes_on
                if not is_still(path, digest, goes_on, most=self._largest):
                    raise UserError(f"{url} was changed since it was pinned", hint="resolve it anew: --refresh")
        return url


def open_registry(opening: Opening) -> Registry:
    """The registry of a fleet's disks."""
    return DiskRegistry(opening)
