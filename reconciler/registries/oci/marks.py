"""The marks of a container image: the annotations of a small manifest of ours, with the image as its subject.

It is under one tag, `sha256-<digest>.reconciler`, beside those under which cosign and others keep what they say of an
image. So it is read by one request and replaced by one, whole; it is found by listing the tags, whether or not the
registry has the referrers of OCI 1.1; and the index under `sha256-<digest>`, which other tools write, is left to them.
A registry that has referrers shows it as one of `application/vnd.reconciler.marks.v1+json`.

Before an image is pushed nobody knows its digest. So it is announced: the same without a subject, under the tag that
the image will have and `.reconciler`. What a killed run pushed is known by that; it goes once the image is marked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.values import told_instant
from reconciler.registries.oci.client import MANIFEST, Client, Manifest
from reconciler.registries.oci.dialect import MARKS, RESERVED, SHA256
from reconciler.registries.oci.reference import TAG, Reference

ARTIFACT_TYPE = "application/vnd.reconciler.marks.v1+json"
EMPTY = b"{}"
_EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_TAG = re.compile(rf"sha256-([0-9a-f]{{64}}){re.escape(MARKS)}")
_NAME, _CREATED = f"{RESERVED}image.ref.name", f"{RESERVED}image.created"
_TRIES = 3
_MOST = 64 << 10
"""Bytes of marks, of which ours take one or two thousand: a run holds those of all images at once."""


@dataclass(frozen=True)
class Marks:
    """What is kept beside an image: its digest is `id`, its own tag `name`, and when it was stored `created`.

    An announcement has no `id` yet.
    """

    id: str
    name: str
    created: str
    tags: Mapping[str, str]

    @property
    def tag(self) -> str:
        """The tag under which they are."""
        return tag_of(self.id) if self.id else f"{self.name}{MARKS}"

    def manifest(self, subject: Mapping[str, Any] | None) -> bytes:
        """Their manifest, canonical: the same marks are the same bytes."""
        annotations = {**self.tags, _NAME: self.name, _CREATED: self.created}
        written = {
            **empty_manifest(ARTIFACT_TYPE), "annotations": annotations,
            **({"subject": dict(subject)} if subject is not None else {}),
        }  # fmt: skip
        return json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def empty_manifest(artifact_type: str) -> dict[str, Any]:
    """A manifest of a type of ours, with nothing in it ("Guidelines for Artifact Usage", OCI's image specification)."""
    empty = {"digest": _EMPTY, "size": len(EMPTY)}
    return {
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
        "config": {**empty, "mediaType": artifact_type},  # before OCI 1.1 that was what told artifacts apart
        "layers": [{**empty, "mediaType": "application/vnd.oci.empty.v1+json"}],
    }  # fmt: skip


def tag_of(digest: str) -> str:
    """The tag under which the marks of an image are."""
    return f"{digest.replace(':', '-')}{MARKS}"


def marked_by(tag: str) -> str | None:
    """The digest of the image whose marks are under a tag; None for any other tag."""
    match = _TAG.fullmatch(tag)
    return f"{SHA256}{match[1]}" if match is not None else None


def announced_by(tag: str) -> str | None:
    """The tag of the image that is announced under a tag; None for any other tag."""
    return tag.removesuffix(MARKS) if tag.endswith(MARKS) and marked_by(tag) is None else None


def parse_marks(digest: str, manifest: Manifest, *, at: Reference) -> Marks:
    """What a manifest of ours says. Raises Terminal for one that is none of ours.

    A name that is no tag is none, and so is a date that is no time: whoever may push writes what he likes there.
    """
    found = manifest.json
    annotations, subject = found.get("annotations"), found.get("subject") or {"digest": ""}
    config = found.get("config")
    of_ours = isinstance(config, dict) and config.get("mediaType") == ARTIFACT_TYPE
    ours = found.get("artifactType") == ARTIFACT_TYPE or of_ours
    if (
        not ours
        or not isinstance(annotations, dict)
        or not isinstance(subject, dict)
        or subject.get("digest") != digest
    ):
        raise Terminal(
            f"{at.repository}:{at.at} holds no marks of {digest or 'an image'}", hint="remove the tag: the name is ours"
        )
    texts = {str(key): str(value) for key, value in annotations.items()}
    tags = {key: value for key, value in texts.items() if not key.startswith(RESERVED)}
    name = texts.get(_NAME, "")
    return Marks(digest, name if re.fullmatch(TAG, name) else "", told_instant(texts.get(_CREATED)), tags)


def read_marks(client: Client, at: Reference, digest: str) -> Marks | None:
    """The marks of an image; None where it has none."""
    found = marks_manifest(client, at, digest)
    return parse_marks(digest, found, at=at.by(tag_of(digest))) if found is not None else None


def marks_manifest(client: Client, at: Reference, digest: str) -> Manifest | None:
    """What is under the tag of an image's marks; None where nothing is."""
    return client.manifest(at.by(tag_of(digest)), most=_MOST)


def read_announced(client: Client, at: Reference, name: str) -> Marks | None:
    """What is announced of the image that is to have a tag; None where nothing is."""
    own = at.by(f"{name}{MARKS}")
    found = client.manifest(own, most=_MOST)
    return parse_marks("", found, at=own) if found is not None else None


def withdraw(client: Client, at: Reference, name: str) -> None:
    """Take back an announcement; one that can't be is passed over where the image is marked."""
    found = client.manifest(at.by(f"{name}{MARKS}")) if re.fullmatch(TAG, f"{name}{MARKS}") else None
    if found is not None:
        with suppress(Terminal):  # a registry without deletion: it says nothing that the marks don't
            delete_marks(client, at, "", found)


def delete_marks(client: Client, at: Reference, digest: str, found: Manifest) -> None:
    """Delete what was under a tag of ours, the marks of an image. Raises Terminal where that is anything else.

    Whoever may push moves that tag to what he would have deleted, while we look another way.
    """
    parse_marks(digest, found, at=at.by(found.digest))
    client.delete_manifest(at.by(found.digest))


def drop_marks(client: Client, at: Reference, digest: str, *, gone: bool) -> None:
    """Delete the marks of an image, where it has any. Of one that is `gone` those stay that can't be: nobody is told.

    A registry that deletes nothing may have let somebody delete the image by other means.
    """
    written = client.manifest(at.by(tag_of(digest)))
    if written is not None:
        with suppress(Terminal) if gone else nullcontext():
            delete_marks(client, at, digest, written)


def write_marks(client: Client, at: Reference, marks: Marks, *, subject: Mapping[str, Any] | None) -> None:
    """Write the marks of an image, and read them back: another writer may have come between.

    Raises Transient where somebody else's stand there after each of some tries, Terminal for more than are read.
    """
    body, own = marks.manifest(subject), at.by(marks.tag)
    if len(body) > _MOST:
        raise Terminal(
            f"the marks of {marks.name or marks.id} in {at.repository} take {len(body):,} bytes, of {_MOST:,} at most",
            hint="declare fewer or shorter `tags`",
        )
    before = client.manifest(own)
    if before is not None and before.body == body:
        return
    client.put_blob(at, EMPTY)
    for _ in range(_TRIES):
        client.put_manifest(own, body, MANIFEST)
        now = client.manifest(own)
        if now is not None and now.body == body:
            break
    else:
        raise Transient(f"the marks of {marks.id or marks.name} in {at.repository} are being written by somebody else")
    if before is not None:
        with suppress(ReconcilerError):  # it has no tag any more, and takes no more room than a page
            delete_marks(client, at, marks.id, before)
