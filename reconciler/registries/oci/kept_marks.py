"""Marks as an earlier run read them on this machine, so that of what has not changed a HEAD is enough.

A HEAD says which digest a tag has, and hosted registries don't count it as a pull. What is kept is believed of no more
than its bytes: they are those of the digest that the registry names now, or they are read anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from reconciler.model.json_text import json_object
from reconciler.model.values import sha256_of
from reconciler.ports.machine import cache_of
from reconciler.registries.allowance import noted
from reconciler.registries.oci.client import MANIFEST, Client, Manifest
from reconciler.registries.oci.marks import Marks, marks_manifest, parse_marks, tag_of
from reconciler.registries.oci.reference import repository
from reconciler.registries.oci.transport import translated

_MOST = 32 << 20
"""Bytes of a file: twice what marks of a repository may take, for what JSON makes of them."""


class KeptMarks:
    """Manifests of marks by repository and tag, in a folder of this user's. Without one nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def of(self, place: str) -> Mapping[str, Manifest]:
        """What is kept of a repository, by tag; nothing where that can't be read."""
        file = self._file(place)
        try:
            content = file.read_bytes() if file is not None and file.stat().st_size <= _MOST else b""
        except OSError:
            return {}
        return {tag: _manifest(body) for tag, body in json_object(content).items() if isinstance(body, str)}

    def keep(self, place: str, marks: Mapping[str, Manifest]) -> None:
        """Have these in place of what is kept of a repository. What can't be kept is read anew."""
        file = self._file(place)
        if file is None:
            return
        # Of text alone: what else somebody pushes there is read each time.
        texts = {tag: text for tag, one in sorted(marks.items()) if (text := _text(one)) is not None}
        with suppress(OSError):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as draft:
                try:
                    json.dump(texts, draft, ensure_ascii=False)
                    draft.flush()
                    Path(draft.name).replace(file)
                except BaseException:
                    Path(draft.name).unlink(missing_ok=True)
                    raise

    def _file(self, place: str) -> Path | None:
        name = hashlib.sha256(place.encode()).hexdigest()
        return self._folder / f"{name}.json" if self._folder is not None else None


class Reading:
    """The marks in one repository, as a run reads them. May be used by several threads."""

    def __init__(self, client: Client, location: str, kept: KeptMarks) -> None:
        self._client, self._at, self._kept = client, repository(location), kept
        self._known = kept.of(self._at.repository)
        self._read: dict[str, Manifest] = {}

    def marks(self, digest: str) -> Marks | None:
        """The marks of an image; None where it has none. What is kept of them is taken where they are still that.

        It counts as what is received does. Raises as `read_marks` does.
        """
        tag = tag_of(digest)
        own, found = self._at.by(tag), self._known.get(tag)
        if found is None or self._client.digest(own) != found.digest:
            found = marks_manifest(self._client, self._at, digest)
        else:
            with translated(own):
                noted(len(found.body))
        if found is None:
            return None
        marks = parse_marks(digest, found, at=own)
        self._read[tag] = found
        return marks

    def keep(self) -> None:
        """Keep what was read for a later run, in place of what was kept."""
        if self._read != self._known:
            self._kept.keep(self._at.repository, self._read)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where marks are kept; None where there is no place for caches."""
    return cache_of(environment, "marks")


def _manifest(text: str) -> Manifest:
    body = text.encode(errors="replace")
    return Manifest(sha256_of(body), MANIFEST, body)


def _text(manifest: Manifest) -> str | None:
    with suppress(UnicodeDecodeError):
        return manifest.body.decode() if manifest.media_type == MANIFEST else None
    return None
