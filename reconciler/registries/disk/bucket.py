"""Disks below a prefix of an S3 bucket: each object under its digest, its marks as a JSON object beside it.

Nothing is written over: an object is put on the condition that there is none (`If-None-Match: *`), marks on the
condition that they are what was read (`If-Match`), and S3 holds what arrives to the SHA-256 that it is sent with (S3
user guide, "conditional writes" and "Checking object integrity"). What is uploaded in parts is completed or aborted, so
that nothing half is ever under a name. A disk without marks is one whose run was killed in between.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import ValidationError

from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import clients_of
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import TAG_PREFIX, Seen, State
from reconciler.model.values import format_instant
from reconciler.ports.registry import Located, Opening, Remains
from reconciler.registries.disk.dialect import DISK, SHA256
from reconciler.registries.disk.files import cache_folder, digest_of, is_still, write_with_holes
from reconciler.registries.disk.folder import another, changed
from reconciler.registries.disk.formats import FIRST, form_of
from reconciler.registries.disk.looking import MOST_OF_MARKS, Looking, refuse_long
from reconciler.registries.disk.objects import Marks, Stamp, checksum_of, key_of, refuse_changed, split, unmarked
from reconciler.registries.disk.shelf import is_that
from reconciler.registries.plain import PlainRegistry

if TYPE_CHECKING:
    from reconciler.aws.session import Clients

_ID = re.compile(DISK.id_form)
_MARKS, _FLEET = ".json", f"{TAG_PREFIX}fleet"
_PART = 64 << 20
"""Bytes of one part, and of what is put in one call; 10,000 parts are the most (S3's quotas): 625 GiB."""
_PIECE = 1 << 20
_PARALLEL, _TRIES = 16, 10
_ASKED = f"{TAG_PREFIX}retiring"
"""The mark that is set to see where it shows."""
_GONE = frozenset({"404", "NoSuchKey"})
_TAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})


class Buckets(PlainRegistry):
    """The disks of one fleet that are in buckets: a `Shelf`."""

    def __init__(self, opening: Opening) -> None:
        self.fleet = opening.fleet
        self._cancelled = opening.cancelled or threading.Event()
        self._clients: Clients = clients_of(opening)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """See `Shelf.find`. S3 is consistent: what was written is there at once."""
        del patience
        key = key_of(location, artifact_id)
        with translated(f"looking for {artifact_id} in {location}"):
            marks = self._marks(location, artifact_id)
            stamp = self._stamp(location, key)
            if marks is None and stamp is None:
                return None
            told, etag = marks or (unmarked(artifact_id, stamp or (0, "")), "")
            with self._looking(location) as looking:
                return self._with_format(self._seen(location, told, stamp, etag=etag, looking=looking))

    def listed(self, location: str) -> Iterator[Seen]:
        """See `Shelf.listed`: sizes and ETags of all by one list, and the marks of each at once.

        One of another fleet is not read: where it was written anew, it counts as one that can't be used.
        """
        with translated(f"listing {location}"), self._looking(location) as looking:
            bucket, prefix = split(location)
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/{SHA256}")
            stamps: dict[str, Stamp] = {}
            for page in pages:
                for one in page.get("Contents", ()):
                    stamps[one["Key"].removeprefix(f"{prefix}/")] = one["Size"], one["ETag"]
                looking.refuse_many(len(stamps) // 2)  # a disk and its marks
            marked = [name.removesuffix(_MARKS) for name in stamps if name.endswith(_MARKS)]
            ids = [one for one in marked if _ID.fullmatch(one)]
            looking.refuse_many(len(ids))
            with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
                for found in list(pool.map(lambda one: self._marks(location, one, looking), ids)):
                    if found is not None:
                        own = looking if found[0].tags.get(_FLEET) == self.fleet else None
                        stamp = stamps.get(found[0].id)
                        yield self._seen(location, found[0], stamp, etag=found[1], looking=own)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """See `Shelf.tag`. Another writer may come between, who is then read anew."""
        location = artifact.location
        with translated(f"marking {artifact.id} in {location}"):
            for _ in range(_TRIES):
                found = self._marks(location, artifact.id)
                if found is not None:
                    before, condition = found[0], {"IfMatch": found[1]}
                else:
                    stamp = self._stamp(location, key_of(location, artifact.id))
                    if stamp is None:
                        raise Terminal(f"{artifact.id} is not in {location}")
                    before, condition = unmarked(artifact.id, stamp), {"IfNoneMatch": "*"}
                now = before.model_copy(update={"tags": {**before.tags, **tags}})
                if self._write(location, now, condition):
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
            found, there = self._marks(location, artifact_id), self._marks(other, artifact_id)
            busy = Transient(f"the marks of {artifact_id} in {location} are being written by somebody else")
            if found is None or found[0].tags.get(f"{TAG_PREFIX}fleet") != self.fleet:
                return False
            if found != there:
                if found != self._marks(location, artifact_id):
                    raise busy
                return False
            marks, etag = found
            asked = marks.model_copy(update={"tags": {**marks.tags, _ASKED: token_hex(8)}})
            if not self._write(location, asked, {"IfMatch": etag}):
                raise busy
            shown, now = self._marks(other, artifact_id), self._marks(location, artifact_id)
            if now is not None and now[0] == asked:
                self._write(location, marks, {"IfMatch": now[1]})
            return shown is not None and shown[0] == asked

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """See `Shelf.retire`. A bucket with versions keeps one of each."""
        with translated(f"retiring {artifact.id} in {artifact.location}"):
            found = self._marks(artifact.location, artifact.id)
            if found is None:
                return Remains()
            marks = found[0]
            self.refuse_others(Seen(DISK.name, artifact.location, marks.id, marks.name, "available", marks.created,
                                    marks.tags), image)  # fmt: skip
            bucket, _ = split(artifact.location)
            key = key_of(artifact.location, artifact.id)
            for one in (key, f"{key}{_MARKS}"):
                self._s3.delete_object(Bucket=bucket, Key=one)
        return Remains()

    @contextmanager
    def taken(self, source: Located) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """See `Shelf.taken`: it is downloaded."""
        with translated(f"reading {source.id} in {source.location}"):
            found = self._marks(source.location, source.id)
        if found is None:
            raise Terminal(f"{source.id} is not in {source.location}")
        with NamedTemporaryFile(prefix="reconciler-disk-") as file:
            self._download(source.location, source.id, file)
            yield Path(file.name), found[0].tags

    def path(self, location: str, artifact_id: str) -> Path:
        """See `Shelf.path`: in the user's cache, where it stays for the next time."""
        key_of(location, artifact_id)
        digest = artifact_id.partition(".")[0]
        folder = cache_folder()
        kept = folder / digest
        if not is_still(kept, digest):
            folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(prefix=".draft-", dir=folder, delete=False) as file:
                draft = Path(file.name)
                try:
                    self._download(location, artifact_id, file)
                    draft.replace(kept)
                finally:
                    draft.unlink(missing_ok=True)
        return kept

    def keep(
        self, file: Path, location: str, *, name: str, tags: Mapping[str, str], wanted: str | None = None
    ) -> str:  # fmt: skip
        """See `Shelf.keep`."""
        digest = digest_of(file)
        if wanted not in (None, digest):
            raise changed(file, digest)
        with translated(f"storing {file.name} in {location}"):
            for number in count(1):
                own = digest if number == 1 else f"{digest}.{number}"
                for _ in range(_TRIES):
                    found = self._marks(location, own)
                    if found is not None:
                        break
                    stamp = self._put(file, location, own)
                    created = format_instant(datetime.now(UTC))
                    marks = Marks(id=own, name=name, created=created, seen=stamp, tags=dict(tags))
                    if self._write(location, marks, {"IfNoneMatch": "*"}):
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
            stamp = self._stamp(location, key_of(location, artifact_id))
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

    def _mend(self, file: Path, location: str, marks: Marks, etag: str) -> None:
        """Have under an id what it is called: it is what we have in hand that was asked for."""
        key = key_of(location, marks.id)
        stamp = self._stamp(location, key)
        # Its marks say what whoever may write there has them say.
        same = stamp is not None and stamp[0] == file.stat().st_size
        if same and self._digest(location, marks.id) == marks.id.partition(".")[0]:
            return
        if stamp is not None:
            self._s3.delete_object(Bucket=split(location)[0], Key=key)
        now = marks.model_copy(update={"seen": self._put(file, location, marks.id)})
        self._write(location, now, {"IfMatch": etag})

    def _put(self, file: Path, location: str, artifact_id: str) -> Stamp:
        """Upload a file under an id where there is none, else see that it is the same. Returns its size and ETag."""
        bucket, key = split(location)[0], key_of(location, artifact_id)
        try:
            with file.open("rb") as read:
                if file.stat().st_size <= _PART:
                    body = read.read()
                    refuse_changed(file, hashlib.sha256(body).hexdigest(), artifact_id)
                    put = self._s3.put_object(
                        Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum_of(body)
                    )
                    return len(body), str(put["ETag"])
                return self._put_parts(file, read, bucket, key, artifact_id)
        except ClientError as error:
            if code_of(error) not in _TAKEN:
                raise
        stamp = self._stamp(location, key)
        if stamp is None:
            raise Transient(f"{artifact_id} in {location} was there, and is gone")
        same = stamp[0] == file.stat().st_size
        if not same or self._digest(location, artifact_id) != artifact_id.partition(".")[0]:
            raise another(location, artifact_id)
        return stamp

    def _put_parts(self, file: Path, read: IO[bytes], bucket: str, key: str, artifact_id: str) -> Stamp:
        begun = self._s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")
        upload = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        done: list[dict[str, Any]] = []
        size, whole = 0, hashlib.sha256()
        try:
            while piece := read.read(_PART):
                self._refuse_cancelled()
                number, checksum = len(done) + 1, checksum_of(piece)
                part = self._s3.upload_part(**upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum)
                done.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": checksum})
                size += len(piece)
                whole.update(piece)
            refuse_changed(file, whole.hexdigest(), artifact_id)
            ended = self._s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, IfNoneMatch="*")
        except BaseException:
            self._s3.abort_multipart_upload(**upload)
            raise
        return size, str(ended["ETag"])

    def _refuse_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Transient("the run was cancelled")

    def _looking(self, location: str) -> Looking:
        return Looking(location, cancelled=self._cancelled)

    def _marks(self, location: str, artifact_id: str, looking: Looking | None = None) -> tuple[Marks, str] | None:
        """The marks of a disk with their ETag; None where there are none. Raises Terminal for what are none of ours."""
        try:
            got = self._s3.get_object(Bucket=split(location)[0], Key=f"{key_of(location, artifact_id)}{_MARKS}")
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        with closing(got["Body"]) as body:
            written, found = body.read(MOST_OF_MARKS + 1), None
        if looking is not None:
            looking.had(len(written))
        with suppress(ValidationError):
            found = Marks.model_validate_json(written) if len(written) <= MOST_OF_MARKS else None
        if found is None or found.id != artifact_id:
            raise Terminal(
                f"{location}/{artifact_id}{_MARKS} holds no marks of a disk", hint="restore it, or move it away"
            )
        return found, str(got["ETag"])

    def _write(self, location: str, marks: Marks, condition: Mapping[str, str]) -> bool:
        """Write marks; False where the condition does not hold any more. Raises Terminal for more than are read."""
        text = f"{marks.model_dump_json(indent=2)}\n"
        refuse_long(text, marks.id, location)
        body = text.encode()
        key = f"{key_of(location, marks.id)}{_MARKS}"
        try:
            self._s3.put_object(
                Bucket=split(location)[0], Key=key, Body=body, ContentType="application/json",
                ChecksumSHA256=checksum_of(body), **condition,
            )  # fmt: skip
        except ClientError as error:
            if code_of(error) in _TAKEN:
                return False
            raise
        return True

    def _seen(
        self, location: str, marks: Marks, stamp: Stamp | None, *, etag: str, looking: Looking | None
    ) -> Seen:  # fmt: skip
        """A disk as it is now. One that was written since it was looked at is looked at again, if it is as large.

        That it was is written down in its marks, whose `etag` is given, where that is allowed. Without `looking`
        nothing of it is read, and what was written anew can't be used.
        """
        if stamp is None:
            state: State = "failed"
        elif stamp == marks.seen or (
            looking is not None
            and stamp[0] == marks.seen[0]
            and looking.agrees(marks.id, stamp, lambda: self._digest(location, marks.id, looking.goes_on))
        ):
            state = "available"
            if stamp != marks.seen and etag:
                with suppress(ClientError, Terminal):
                    self._write(location, marks.model_copy(update={"seen": stamp}), {"IfMatch": etag})
        else:
            state = "unusable"
        seen = Seen(DISK.name, location, marks.id, marks.name, state, marks.created, marks.tags, hearsay=True)
        return replace(seen, size=stamp[0]) if stamp is not None and state == "available" else seen

    def _with_format(self, seen: Seen) -> Seen:
        """A disk with what its first bytes say. Of those that are listed it is not asked: each would be a call."""
        if not seen.size:
            return seen
        place = {"Bucket": split(seen.location)[0], "Key": key_of(seen.location, seen.id)}
        got = self._s3.get_object(**place, Range=f"bytes=0-{FIRST - 1}")
        return replace(seen, format=form_of(got["Body"].read()))

    def _stamp(self, location: str, key: str) -> Stamp | None:
        try:
            head = self._s3.head_object(Bucket=split(location)[0], Key=key)
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        return int(head["ContentLength"]), str(head["ETag"])

    def _pieces(self, location: str, artifact_id: str, goes_on: Callable[[], None] | None = None) -> Iterator[bytes]:
        got = self._s3.get_object(Bucket=split(location)[0], Key=key_of(location, artifact_id))
        with closing(got["Body"]) as body:
            for piece in body.iter_chunks(_PIECE):
                (goes_on or self._refuse_cancelled)()
                yield piece

    def _digest(self, location: str, artifact_id: str, goes_on: Callable[[], None] | None = None) -> str:
        found = hashlib.sha256()
        for piece in self._pieces(location, artifact_id, goes_on):
            found.update(piece)
        return f"{SHA256}{found.hexdigest()}"

    def _download(self, location: str, artifact_id: str, file: IO[bytes]) -> None:
        """Write a disk to an empty file, with holes. Raises Terminal where it is not what it is called."""
        with translated(f"reading {artifact_id} in {location}"):
            write_with_holes(self._pieces(location, artifact_id), file)
        file.flush()
        if not is_still(Path(file.name), artifact_id):
            raise another(location, artifact_id)

    @property
    def _s3(self) -> Any:
        """The client. A bucket in another region is found by S3's own redirect."""
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return self._clients.client("s3", region, config=Config())
