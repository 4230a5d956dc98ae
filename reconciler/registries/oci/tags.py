"""Tags that channels are published as: each names an image, or an index, as it is under its digest.

A registry keeps no owner of a tag. So it is ours where nothing is, or where what it names carries this fleet's marks;
that it was ours before somebody moved it, state/ says.

To delete a tag alone is not to be had everywhere: some registries refuse it, and some delete the image with all its
tags. So a tag is taken back by moving it to an empty manifest, which is then deleted by its digest. Where a registry
deletes nothing the tag stays, and names that: it can't be pulled, and counts as gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import TAG_PREFIX, Held
from reconciler.model.values import sha256_of
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Opening
from reconciler.registries.oci.client import MANIFEST, Client, each_of
from reconciler.registries.oci.exchange import ImmutableTag
from reconciler.registries.oci.marks import EMPTY, empty_manifest, read_marks
from reconciler.registries.oci.reference import Reference, repository
from reconciler.registries.oci.registry import client_of
from reconciler.registries.plain import PlainPublisher

_LOOKS = 4
"""How often a tag is read until it names what was written: a registry may answer from a cache for a moment."""
WITHDRAWN = json.dumps(
    empty_manifest("application/vnd.reconciler.withdrawn.v1+json"), sort_keys=True, separators=(",", ":")
).encode()
"""What a tag names that is taken back: the same everywhere, so that it is known by its digest."""
NOTHING = sha256_of(WITHDRAWN)


class Tags(PlainPublisher):
    """One fleet's tags. Implements `Publisher`."""

    def __init__(self, client: Client, *, fleet: str) -> None:
        self._client, self._fleet = client, fleet

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        """Report the digest that each tag has: a HEAD for each. See `Publisher.read`."""
        at = repository(location)
        found = each_of(lambda name: self._digest(at, name), names)
        return {name: Held(one, 0) for name, one in zip(names, found, strict=True) if one is not None}

    def is_ours(self, location: str, name: str) -> bool:
        """Whether what a tag names carries the fleet's marks. See `Publisher.is_ours`."""
        at = repository(location)
        digest = self._digest(at, name)
        marks = read_marks(self._client, at, digest) if digest is not None else None
        return digest is None or (marks is not None and marks.tags.get(f"{TAG_PREFIX}fleet") == self._fleet)

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        """Write the manifest of a digest under a tag; no layer moves. See `Publisher.put`. A tag has no versions: 0."""
        del description  # it would be another manifest, of another digest
        at = repository(location)
        manifest = self._client.manifest(at.by(artifact_id))
        if manifest is None:
            raise Terminal(f"{location}:{name} is not written: {artifact_id} is not there")
        self._move(at, name, manifest.body, manifest.media_type)
        return 0

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        """Read a tag back until it names what was written. See `Publisher.confirm`."""
        del version
        at, found = repository(location), None
        for look in range(1, _LOOKS + 1):
            found = self._digest(at, name)
            if found == artifact_id:
                return
            if look < _LOOKS:
                self._client.exchange.wait(look)
        raise Transient(f"{location}:{name} names {found or 'nothing'} after it was written, and not {artifact_id}")

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        """A tag has no versions. See `Publisher.label`."""

    def remove(self, location: str, name: str) -> None:
        """Take a tag back, and leave what it named. See `Publisher.remove`."""
        at = repository(location)
        if self._digest(at, name) is None:
            return
        if not self.is_ours(location, name):
            raise Terminal(f"{location}:{name} is not taken back: it names an image that is none of this fleet's")
        self._client.put_blob(at, EMPTY)
        self._move(at, name, WITHDRAWN, MANIFEST)
        with suppress(Terminal):  # a registry without deletion: what stays names nothing that can be pulled
            self._client.delete_manifest(at.by(NOTHING))

    def _digest(self, at: Reference, name: str) -> str | None:
        """The digest of what a tag names; None where it names nothing, or was taken back."""
        found = self._client.digest(at.by(name))
        return found if found != NOTHING else None

    def _move(self, at: Reference, name: str, body: bytes, media_type: str) -> None:
        try:
            self._client.put_manifest(at.by(name), body, media_type)
        except ImmutableTag as error:
            said = error.what.partition(": ")[2]
            raise Terminal(
                f"{at.repository}:{name} can't be moved: its registry keeps a tag as it was written ({said})",
                hint=f"let `{name}` be moved there, as our marks' tags have to be, or take `publish.tag` away",
            ) from error


def open_publisher(opening: Opening) -> Publisher:
    """The tags of a fleet. Waits end, with Transient, once the run is cancelled."""
    return Tags(client_of(opening), fleet=opening.fleet)
