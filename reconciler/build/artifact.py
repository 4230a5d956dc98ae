"""The artifacts that Packer reports, put together from their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.build.machine_readable import ArtifactField
from reconciler.model.lockfile import Artifact

# The amazon builders name each artifact `region:id` and join several by a comma, sorted.
_REGIONAL = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-[0-9]+):((ami|snap|vol)-[0-9a-f]+)")
_KINDS = {"ami": "ami", "snap": "ebs-snapshot", "vol": "ebs-volume"}

# The null builder always reports an artifact, named `Null`, and leaves nothing behind.
_NULL_BUILDER = "fnoeding.null"


@dataclass(frozen=True)
class Produced:
    """An artifact that Packer left. `builder` is the build's name, `location` the region, empty where there are none.

    `kind` is `ami`, `ebs-snapshot`, `ebs-volume`, `file`, or the builder's own id (`BuilderId` in its source).
    """

    builder: str
    kind: str
    location: str
    id: str
    files: tuple[str, ...] = ()

    def as_artifact(self) -> Artifact:
        """The form in which it is recorded; its name and snapshots are the registry's to tell."""
        return Artifact(kind=self.kind, builder=self.builder, location=self.location, id=self.id)


class ArtifactReader:
    """Takes artifact lines in order. An artifact counts once its `end` was seen.

    Post-processors that keep an artifact report it again (the manifest does): equal ones count once.
    """

    def __init__(self) -> None:
        self._unfinished: dict[tuple[str, int], dict[str, list[str]]] = {}
        self._complete: dict[tuple[str, str, str, str], Produced] = {}

    @property
    def complete(self) -> tuple[Produced, ...]:
        """What was reported in full so far, in order."""
        return tuple(self._complete.values())

    def take(self, line: ArtifactField) -> None:
        """Add one line."""
        fields = self._unfinished.setdefault((line.build, line.index), {})
        if line.field == "end":
            for produced in _produced(line.build, fields):
                self._complete.setdefault((produced.builder, produced.kind, produced.location, produced.id), produced)
        elif line.field == "file":
            fields.setdefault("file", []).extend(line.values[1:])
        else:
            fields[line.field] = list(line.values)


def _produced(build: str, fields: Mapping[str, list[str]]) -> Iterator[Produced]:
    """What one of Packer's artifacts stands for: an AMI in two regions is one artifact with two ids."""
    builder_id, identity = _first(fields, "builder-id"), _first(fields, "id")
    if "nil" in fields or builder_id == _NULL_BUILDER or not identity:
        return
    matches = [_REGIONAL.fullmatch(part) for part in identity.split(",")]
    regional = [match for match in matches if match is not None]
    if len(regional) == len(matches):
        for match in regional:
            yield Produced(build, _KINDS[match[3]], location=match[1], id=match[2])
        return
    files = tuple(fields.get("file", ()))
    if builder_id == "packer.file" and files:
        # The file builder calls every artifact `File`.
        yield Produced(build, "file", location="", id=files[0], files=files)
    else:
        yield Produced(build, builder_id or "unknown", location="", id=identity, files=files)


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")
