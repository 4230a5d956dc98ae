"""What disks are in a bucket: objects under their digests, and beside each an object of marks."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

from reconciler.model.errors import Terminal
from reconciler.model.values import Instant, Model, format_instant
from reconciler.registries.disk.dialect import BUCKET, DISK, SHA256
from reconciler.registries.disk.folder import changed

_ID = re.compile(DISK.id_form)


class Marks(Model):
    """What stands beside a disk. `seen` is the object's size and ETag when its bytes were last looked at."""

    id: str
    name: str
    created: Instant
    seen: tuple[int, str]
    tags: dict[str, str]


Stamp = tuple[int, str]
"""An object's size and ETag."""


def split(location: str) -> tuple[str, str]:
    """Bucket and prefix. Raises Terminal for what is no such location: a lockfile may say anything."""
    bucket, _, prefix = location.removeprefix(BUCKET).partition("/")
    if not location.startswith(BUCKET) or not bucket or not prefix:
        raise Terminal(f"{location!r} is no prefix of a bucket")
    return bucket, prefix


def key_of(location: str, artifact_id: str) -> str:
    """The key of a disk's object. Raises Terminal for an id that is none: a lockfile may say anything."""
    if not _ID.fullmatch(artifact_id):
        raise Terminal(f"{artifact_id!r} in {location} is no id of a disk")
    return f"{split(location)[1]}/{artifact_id}"


def unmarked(artifact_id: str, stamp: Stamp) -> Marks:
    """The marks that a disk begins with which somebody else laid there: its bytes were not looked at."""
    now = format_instant(datetime.now(UTC))
    return Marks(id=artifact_id, name=artifact_id, created=now, seen=(stamp[0], ""), tags={})


def checksum_of(body: bytes) -> str:
    """The SHA-256 of an object's bytes, as S3 is sent it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def refuse_changed(file: Path, digest: str, artifact_id: str) -> None:
    """Raise Terminal for a file whose digest, in hexadecimals, is not what it had: it was changed meanwhile."""
    found = f"{SHA256}{digest}"
    if found != artifact_id.partition(".")[0]:
        raise changed(file, found)
