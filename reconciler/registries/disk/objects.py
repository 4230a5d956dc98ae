"""The objects of a bucket that are disks and their marks: each is put, read and removed whole.

Nothing is written over: an object is put on the condition that there is none (`If-None-Match: *`), marks on the
condition that they are what was read (`If-Match`), and S3 holds what arrives to the SHA-256 that it is sent with (S3
user guide, "conditional writes" and "Checking object integrity"). What is uploaded in parts is completed or aborted, so
that nothing half is ever under a name.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import code_of
from reconciler.model.errors import Terminal, Transient
from reconciler.registries.disk.dialect import BUCKET, SHA256
from reconciler.registries.disk.files import another, changed, refuse_larger
from reconciler.registries.disk.formats import FIRST, form_of
from reconciler.registries.disk.looking import MOST_OF_MARKS, Looking
from reconciler.registries.disk.marks import MARKS, Marks, read, refuse_no_id

if TYPE_CHECKING:
    from reconciler.aws.session import Clients

_PART = 64 << 20
"""Bytes of one part, and of what is put in one call; 10,000 parts are the most (S3's quotas): 625 GiB."""
_PIECE = 1 << 20
_GONE = frozenset({"404", "NoSuchKey"})
_TAKEN = frozenset({"412", "PreconditionFailed", "409", "ConditionalRequestConflict"})

Stamp = tuple[int, str]
"""An object's size in bytes, and its ETag."""


class Objects:
    """The objects of buckets, as AWS's account shows them. Errors of AWS are its own: whoever calls translates them."""

    def __init__(self, clients: Clients, goes_on: Callable[[], None], *, largest: int) -> None:
        """Take what raises once nothing is to be read or written on, and how large a disk may be, in bytes."""
        self._clients, self._goes_on, self._largest = clients, goes_on, largest

    def listed(self, location: str) -> Iterator[Mapping[str, Stamp]]:
        """The objects of disks and of their marks below a prefix, by what follows it: page by page."""
        bucket, prefix = split(location)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/{SHA256}")
        for page in pages:
            found = page.get("Contents", ())
            yield {one["Key"].removeprefix(f"{prefix}/"): (one["Size"], one["ETag"]) for one in found}

    def stamp(self, location: str, artifact_id: str) -> Stamp | None:
        """The size and the ETag of a disk; None where there is none."""
        try:
            head = self.client.head_object(**_place(location, artifact_id))
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        return int(head["ContentLength"]), str(head["ETag"])

    def marks(
        self, location: str, artifact_id: str, looking: Looking | None = None
    ) -> tuple[Marks[str], str] | None:  # fmt: skip
        """The marks of a disk with their ETag; None where there are none. Raises Terminal for what are none of ours."""
        try:
            got = self.client.get_object(**_place(location, artifact_id, MARKS))
        except ClientError as error:
            if code_of(error) in _GONE:
                return None
            raise
        with closing(got["Body"]) as body:
            written = body.read(MOST_OF_MARKS + 1)
        if looking is not None:
            looking.had(len(written))
        place = f"{location}/{artifact_id}{MARKS}"
        return read(written, Marks[str], artifact_id=artifact_id, place=place), str(got["ETag"])

    def mark(self, location: str, marks: Marks[str], condition: Mapping[str, str]) -> bool:
        """Write marks; False where the condition does not hold any more. Raises Terminal for more than are read."""
        body = marks.written(location)
        try:
            self.client.put_object(
                **_place(location, marks.id, MARKS), Body=body, ContentType="application/json",
                ChecksumSHA256=_checksum_of(body), **condition,
            )  # fmt: skip
        except ClientError as error:
            if code_of(error) in _TAKEN:
                return False
            raise
        return True

    def remove(self, location: str, artifact_id: str, *, marks: bool) -> None:
        """Delete a disk, and its marks after it where they are to go as well."""
        for end in ("", MARKS) if marks else ("",):
            self.client.delete_object(**_place(location, artifact_id, end))

    def put(self, file: Path, location: str, artifact_id: str) -> Stamp:
        """Upload a file under an id where there is none, else see that it is the same. Returns its size and ETag."""
        place = _place(location, artifact_id)
        try:
            with file.open("rb") as read_:
                if file.stat().st_size <= _PART:
                    body = read_.read()
                    _refuse_changed(file, hashlib.sha256(body).hexdigest(), artifact_id)
                    put = self.client.put_object(
                        **place, Body=body, IfNoneMatch="*", ChecksumSHA256=_checksum_of(body)
                    )  # fmt: skip
                    return len(body), str(put["ETag"])
                return self._put_parts(file, read_, place, artifact_id)
        except ClientError as error:
            if code_of(error) not in _TAKEN:
                raise
        stamp = self.stamp(location, artifact_id)
        if stamp is None:
            raise Transient(f"{artifact_id} in {location} was there, and is gone")
        if stamp[0] != file.stat().st_size or self.digest(location, artifact_id) != artifact_id.partition(".")[0]:
            raise another(location, artifact_id)
        return stamp

    def form(self, location: str, artifact_id: str) -> str:
        """The format of a disk, by its first bytes alone."""
        got = self.client.get_object(**_place(location, artifact_id), Range=f"bytes=0-{FIRST - 1}")
        with closing(got["Body"]) as body:
            return form_of(body.read(FIRST))

    def digest(self, location: str, artifact_id: str, goes_on: Callable[[], None] | None = None) -> str:
        """The `sha256:…` of all bytes of a disk; `goes_on` is asked as in `pieces`."""
        found = hashlib.sha256()
        for piece in self.pieces(location, artifact_id, goes_on):
            found.update(piece)
        return f"{SHA256}{found.hexdigest()}"

    def pieces(
        self, location: str, artifact_id: str, goes_on: Callable[[], None] | None = None, *, size: int | None = None
    ) -> Iterator[bytes]:
        """All bytes of a disk, in order; `goes_on` is asked for each piece, and raises where it is not to.

        How many they are, S3 says before the first one. Raises Terminal where these are not the `size`, and for a byte
        more than it said; UserError for more than a disk may have.
        """
        got = self.client.get_object(**_place(location, artifact_id))
        with closing(got["Body"]) as body:
            left = int(got["ContentLength"])
            refuse_larger(left, f"{artifact_id} in {location}", most=self._largest)
            if size not in (None, left):
                raise another(location, artifact_id)
            for piece in body.iter_chunks(_PIECE):
                (goes_on or self._goes_on)()
                left -= len(piece)
                if left < 0:
                    raise another(location, artifact_id)
                yield piece

    def _put_parts(self, file: Path, opened: IO[bytes], place: Mapping[str, str], artifact_id: str) -> Stamp:
        begun = self.client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")
        upload = {**place, "UploadId": begun["UploadId"]}
        done: list[dict[str, Any]] = []
        size, whole = 0, hashlib.sha256()
        try:
            while piece := opened.read(_PART):
                self._goes_on()
                number, checksum = len(done) + 1, _checksum_of(piece)
                part = self.client.upload_part(**upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum)
                done.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": checksum})
                size += len(piece)
                whole.update(piece)
            _refuse_changed(file, whole.hexdigest(), artifact_id)
            ended = self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": done}, IfNoneMatch="*")
        except BaseException:
            self.client.abort_multipart_upload(**upload)
            raise
        return size, str(ended["ETag"])

    @property
    def client(self) -> Any:
        """The client. A bucket in another region is found by S3's own redirect."""
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return self._clients.client("s3", region, config=Config())


def split(location: str) -> tuple[str, str]:
    """Bucket and prefix. Raises Terminal for what is no such location: a lockfile may say anything."""
    bucket, _, prefix = location.removeprefix(BUCKET).partition("/")
    if not location.startswith(BUCKET) or not bucket or not prefix:
        raise Terminal(f"{location!r} is no prefix of a bucket")
    return bucket, prefix


def _place(location: str, artifact_id: str, end: str = "") -> dict[str, str]:
    """Where a disk's object is, or with an end that of its marks. Raises Terminal for what is no id, or location."""
    refuse_no_id(location, artifact_id)
    bucket, prefix = split(location)
    return {"Bucket": bucket, "Key": f"{prefix}/{artifact_id}{end}"}


def _checksum_of(body: bytes) -> str:
    """The SHA-256 of an object's bytes, as S3 is sent it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _refuse_changed(file: Path, digest: str, artifact_id: str) -> None:
    """Raise Terminal for a file whose digest, in hexadecimals, is not what it had: it was changed meanwhile."""
    found = f"{SHA256}{digest}"
    if found != artifact_id.partition(".")[0]:
        raise changed(file, found)
