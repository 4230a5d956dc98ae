"""Disks below a prefix of an S3 bucket: each object under its digest, its marks as a JSON object beside it.

A disk without marks is one whose run was killed in between.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import IO

from botocore.exceptions import ClientError

from reconciler.aws.errors import translated
from reconciler.aws.session import clients_of
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import TAG_PREFIX, Seen, State
from reconciler.model.values import format_instant
from reconciler.ports.registry import Located, Opening, Remains
from reconciler.registries.disk.dialect import DISK
from reconciler.registries.disk.files import (
    another,
    cache_folder,
    changed,
    digest_of,
    is_id,
    is_still,
    refuse_larger,
    write_with_holes,
)
from reconciler.registries.disk.looking import Looking
from reconciler.registries.disk.marks import MARKS, Marks, new_marks, refuse_no_id
from reconciler.registries.disk.objects import Objects, Stamp, split
from reconciler.registries.disk.shelf import is_that
from reconciler.registries.plain import PlainRegistry

_FLEET = f"{TAG_PREFIX}fleet"
_PARALLEL, _TRIES = 16, 10
_ASKED = f"{TAG_PREFIX}retiring"
"""The mark that is set to see where it shows."""


class Buckets(PlainRegistry):
    """The disks of one fleet that are in buckets: a `Shelf`."""

    def __init__(self, opening: Opening) -> None:
        self.fleet = opening.fleet
        self._cancelled = opening.cancelled or threading.Event()
        self._largest = opening.settings.limits.largest_file
        self._objects = Objects(clients_of(opening), self._refuse_cancelled, largest=self._largest)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """See `Shelf.find`. S3 is consistent: what was written is there at once."""
        del patience
        with translated(f"looking for {artifact_id} in {location}"):
            marks = self._objects.marks(location, artifact_id)
            stamp = self._objects.stamp(location, artifact_id)
            if marks is None and stamp is None:
                return None
            told, etag = marks or (_unmarked(artifact_id, stamp), "")
            with self._looking(location) as looking:
                seen = self._seen(location, told, stamp, etag=etag, looking=looking)
            # Of those that are listed it is not asked: each would be a call.
            return replace(seen, format=self._objects.form(location, artifact_id)) if seen.size else seen

    def listed(self, location: str) -> Iterator[Seen]:
        """See `Shelf.listed`: sizes and ETags of all by one list, and the marks of each at once.

        One of another fleet is not read: where it was written anew, it counts as one that can't be used.
        """
        with translated(f"listing {location}"), self._looking(location) as looking:
            stamps: dict[str, Stamp] = {}
            for page in self._objects.listed(location):
                stamps |= page
                looking.refuse_many(len(stamps) // 2)  # a disk and its marks
            ids = [one for one in (name.removesuffix(MARKS) for name in stamps if name.endswith(MARKS)) if is_id(one)]
            looking.refuse_many(len(ids))
            with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
                for found in list(pool.map(lambda one: self._objects.marks(location, one, looking), ids)):
                    if found is not None:
                        own = looking if found[0].tags.get(_FLEET) == self.fleet else None
                        stamp = stamps.get(found[0].id)
                        yield self._seen(location, found[0], stamp, etag=found[1], looking=own)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """See `Shelf.tag`. Another writer may come between, who is then read anew."""
        location = artifact.location
        with translated(f"marking {artifact.id} in {location}"):
            for _ in range(_TRIES):
                found = self._objects.marks(location, artifact.id)
                if found is not None:
                    before, condition = found[0], {"IfMatch": found[1]}
                else:
                    stamp = self._objects.stamp(location, artifact.id)
                    if stamp is None:
                        raise Terminal(f"{artifact.id} is not in {location}")
                    before, condition = _unmarked(artifact.id, stamp), {"IfNoneMatch": "*"}
                now = before.model_copy(update={"tags": {**before.tags, **tags}})
                if self._objects.mark(location, now, condition):
                    return
        raise Transient(f"the marks of {artifact.id} in {location} are being written by somebody else")

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether a disk is one by two names of its bucket, such as an access point's alias. See `Registry.is_same`.

        An alias changes no key. Where both have the same marks, byte for byte, a change of them shows in both at once
        (S3 reads what was written last); what is replicated comes later. Without an id only what is written says it.
        """
        if location == other or not artifact_id or split(location)[1] != split(other)[1]:
            return location == other
        with translated(f"looking whether {location} is {other}"):
            found, there = self._objects.marks(location, artifact_id), self._objects.marks(other, artifact_id)
            busy = Transient(f"the marks of {artifact_id} in {location} are being written by somebody else")
            if found is None or found[0].tags.get(_FLEET) != self.fleet:
                return False
            if found != there:
                if found != self._objects.marks(location, artifact_id):
                    raise busy
                return False
            marks, etag = found
            asked = marks.model_copy(update={"tags": {**marks.tags, _ASKED: token_hex(8)}})
            if not self._objects.mark(location, asked, {"IfMatch": etag}):
                raise busy
            shown, now = self._objects.marks(other, artifact_id), self._objects.marks(location, artifact_id)
            if now is not None and now[0] == asked:
                self._objects.mark(location, marks, {"IfMatch": now[1]})
            return shown is not None and shown[0] == asked

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """See `Shelf.retire`. A bucket with versions keeps one of each."""
        with translated(f"retiring {artifact.id} in {artifact.location}"):
            found = self._objects.marks(artifact.location, artifact.id)
            if found is None:
                return Remains()
            marks = found[0]
            self.refuse_others(Seen(DISK.name, artifact.location, marks.id, marks.name, "available", marks.created,
                                    marks.tags), image)  # fmt: skip
            self._objects.remove(artifact.location, artifact.id, marks=True)
        return Remains()

    @contextmanager
    def taken(self, source: Located) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """See `Shelf.taken`: it is downloaded."""
        with translated(f"reading {source.id} in {source.location}"):
            found = self._objects.marks(source.location, source.id)
        if found is None:
            raise Terminal(f"{source.id} is not in {source.location}")
        with NamedTemporaryFile(prefix="reconciler-disk-") as file:
            self._download(source.location, source.id, file, size=found[0].seen[0])
            yield Path(file.name), found[0].tags

    def path(self, location: str, artifact_id: str, *, size: int | None = None) -> Path:
        """See `Shelf.path`: in the user's cache, where it stays for the next time."""
        refuse_no_id(location, artifact_id)
        digest = artifact_id.partition(".")[0]
        folder = cache_folder()
        kept = folder / digest
        if not is_still(kept, digest, self._refuse_cancelled):
            if size is None:
                with translated(f"reading {artifact_id} in {location}"):
                    found = self._objects.marks(location, artifact_id)
                size = found[0].seen[0] if found is not None else None
            folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(prefix=".draft-", dir=folder, delete=False) as file:
                draft = Path(file.name)
                try:
                    self._download(location, artifact_id, file, size=size)
                    draft.replace(kept)
                finally:
                    draft.unlink(missing_ok=True)
        return kept

    def keep(
        self, file: Path, location: str, *, name: str, tags: Mapping[str, str], wanted: str | None = None
    ) -> str:  # fmt: skip
        """See `Shelf.keep`."""
        refuse_larger(file.stat().st_size, file.name, most=self._largest)
        digest = digest_of(file, self._refuse_cancelled, most=self._largest)
        if wanted not in (None, digest):
            raise changed(file, digest)
        with translated(f"storing {file.name} in {location}"):
            for number in count(1):
                own = digest if number == 1 else f"{digest}.{number}"
                for _ in range(_TRIES):
                    found = self._objects.marks(location, own)
                    if found is not None:
                        break
                    stamp = self._objects.put(file, location, own)
                    created = format_instant(datetime.now(UTC))
                    marks = Marks[str](id=own, name=name, created=created, seen=stamp, tags=dict(tags))
                    if self._objects.mark(location, marks, {"IfNoneMatch": "*"}):
                        return own
                else:
                    raise Transient(f"{own} in {location} is being written by somebody else")
                if is_that(name, tags, there=found[0].name, marked=found[0].tags):
                    self._mend(file, location, *found)
                    return own
        raise AssertionError("there is always a number that is free")

    def size(self, location: str, artifact_id: str) -> int:
        """See `Shelf.size`."""
        with translated(f"looking for {artifact_id} in {location}"):
            stamp = self._objects.stamp(location, artifact_id)
        if stamp is None:
            raise Transient(f"{artifact_id} in {location} was there, and is gone")
        return stamp[0]

    def keep_draft(self, draft: Path, location: str, *, name: str, tags: Mapping[str, str]) -> str:
        """See `Shelf.keep_draft`: it is uploaded."""
        return self.keep(draft, location, name=name, tags=tags)

    @contextmanager
    def drafting(self, location: str) -> Iterator[Path]:
        """See `Shelf.drafting`: on this machine, and gone when it is through."""
        del location
        with TemporaryDirectory(prefix="reconciler-disk-") as own:
            yield Path(own)

    def _mend(self, file: Path, location: str, marks: Marks[str], etag: str) -> None:
        """Have under an id what it is called: it is what we have in hand that was asked for."""
        stamp = self._objects.stamp(location, marks.id)
        # Its marks say what whoever may write there has them say.
        same = stamp is not None and stamp[0] == file.stat().st_size
        if same and self._objects.digest(location, marks.id) == marks.id.partition(".")[0]:
            return
        if stamp is not None:
            self._objects.remove(location, marks.id, marks=False)
        now = marks.model_copy(update={"seen": self._objects.put(file, location, marks.id)})
        self._objects.mark(location, now, {"IfMatch": etag})

    def _refuse_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Transient("the run was cancelled")

    def _looking(self, location: str) -> Looking:
        return Looking(location, cancelled=self._cancelled)

    def _seen(
        self, location: str, marks: Marks[str], stamp: Stamp | None, *, etag: str, looking: Looking | None
    ) -> Seen:  # fmt: skip
        """A disk as it is now. One that was written since it was looked at is looked at again, if it is as large.

        That it was is written down in its marks, whose `etag` is given, where that is allowed. Without `looking`
        nothing of it is read, and what was written anew can't be used.
        """
        if stamp is None:
            state: State = "failed"
        elif stamp == marks.seen or (
            looking is not None
            and stamp[0] == marks.seen[0] <= self._largest
            and looking.agrees(marks.id, stamp, lambda: self._objects.digest(location, marks.id, looking.goes_on))
        ):
            state = "available"
            if stamp != marks.seen and etag:
                with suppress(ClientError, Terminal):
                    self._objects.mark(location, marks.model_copy(update={"seen": stamp}), {"IfMatch": etag})
        else:
            state = "unusable"
        seen = Seen(DISK.name, location, marks.id, marks.name, state, marks.created, marks.tags, hearsay=True)
        return replace(seen, size=stamp[0]) if stamp is not None and state == "available" else seen

    def _download(self, location: str, artifact_id: str, file: IO[bytes], *, size: int | None) -> None:
        """Write a disk to an empty file, with holes. Raises Terminal where it is not what it is called, or so large."""
        with translated(f"reading {artifact_id} in {location}"):
            write_with_holes(self._objects.pieces(location, artifact_id, size=size), file)
        file.flush()
        if not is_still(Path(file.name), artifact_id, self._refuse_cancelled):
            raise another(location, artifact_id)


def _unmarked(artifact_id: str, stamp: Stamp | None) -> Marks[str]:
    """The marks of a disk that has none. Its bytes were not looked at."""
    return new_marks(artifact_id, (stamp[0] if stamp is not None else 0, ""))
