"""A kind that the program does not have: text files in a folder, their marks beside them. All that a kind has to be.

`tests/integration/registries/test_new_kind.py` puts it into the table, and takes it through a loop.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from reconciler import registries
from reconciler.model.collection import Unmanaged
from reconciler.model.errors import Terminal, Transient
from reconciler.model.fleet import Builder, BuildLocation
from reconciler.model.kind import Kind
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen, foreign
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.values import format_instant
from reconciler.ports.dialect import Made, Written
from reconciler.ports.registry import Located, Opening, Registry, Remains
from reconciler.registries.plain import PlainDialect, PlainRegistry, unmanaged_of

TEXT = Kind(
    name="text", artifact="a text", location="shelf", registry="the shelf", key="locations",
    example_location="/srv/texts", id_form="[0-9a-f]{64}", example_id="0" * 64, between="/", boots=False,
)  # fmt: skip


class TextDialect(PlainDialect):
    """How texts are spoken of."""

    kind: Kind = TEXT

    def builder(self, written: Written) -> Builder:
        """A builder, which names no place of its own."""
        return Builder(written.name, written.type, written.place, BuildLocation(None, None, written.place))

    def wrong_location(self, location: str) -> str | None:
        """A shelf is a whole path."""
        return None if location.startswith("/") else "the whole path of a shelf"

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """Its digest."""
        del location
        return {"sha256": artifact_id}


class TextRegistry(PlainRegistry):
    """Shelves of texts."""

    def __init__(self, fleet: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`fleet` is whose texts are its own, and `now` the clock of the shelves."""
        self.fleet, self._now = fleet, now

    def listed(self, location: str) -> Iterable[Seen]:
        """All that is there. Raises Transient where the shelf can't be read."""
        return [self._seen(location, one) for one in self._paths(location)]

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Look one up. See `Registry.find`."""
        del patience
        return next((self._seen(location, one) for one in self._paths(location) if one.name == artifact_id), None)

    def store(self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]) -> Sequence[Artifact]:
        """Put what was left on the shelf. See `Registry.store`."""
        return [
            self._put(location, Path(file).read_bytes(), name, tags).as_artifact(one.builder)
            for one in made for file in one.files
        ]  # fmt: skip

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Write marks. See `Registry.tag`."""
        seen = self._there(artifact)
        self._write(Path(seen.location, seen.id), seen.name, {**seen.tags, **tags}, created=seen.created)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Copy to another shelf, at once. See `Registry.copy`."""
        del token
        seen = self._there(source)
        return self._put(to, Path(seen.location, seen.id).read_bytes(), name, {**foreign(seen.tags), **tags}).id

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Take one off the shelf. See `Registry.retire`."""
        seen = self.find(artifact.location, artifact.id)
        if seen is None:
            return Remains()
        self.refuse_others(seen, image)
        path = Path(seen.location, seen.id)
        path.unlink()
        self._marks(path).unlink()
        return Remains()

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Refuse: texts are built on nothing. See `Registry.resolve`."""
        del request, location, architecture
        raise Terminal("a text is built on nothing")

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """Whatever no fleet has marked. See `Registry.unmanaged`."""
        try:
            return unmanaged_of(self._seen(location, one) for one in self._paths(location))
        except Transient:
            return None

    def _put(self, location: str, content: bytes, name: str, tags: Mapping[str, str]) -> Seen:
        path = Path(location, hashlib.sha256(content).hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(content)
            self._write(path, name, tags, created=format_instant(self._now()))
        return self._seen(location, path)

    def _write(self, path: Path, name: str, tags: Mapping[str, str], *, created: str) -> None:
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"name": name, "created": created, "tags": dict(tags)}))
        draft.replace(self._marks(path))

    def _paths(self, location: str) -> list[Path]:
        shelf = Path(location)
        if not shelf.exists():
            return []
        if not shelf.is_dir():
            raise Transient(f"{location} is no shelf")
        return sorted(one for one in shelf.iterdir() if not one.suffix)

    def _seen(self, location: str, path: Path) -> Seen:
        marks = self._marks(path)
        said: Any = {"name": path.name, "created": "", "tags": {}}
        said = json.loads(marks.read_text()) if marks.exists() else said
        return Seen(TEXT.name, location, path.name, said["name"], "available", said["created"], said["tags"])

    def _there(self, artifact: Located) -> Seen:
        seen = self.find(artifact.location, artifact.id)
        if seen is None:
            raise Terminal(f"{artifact.id} is not in {artifact.location}")
        return seen

    @staticmethod
    def _marks(path: Path) -> Path:
        return path.with_suffix(".marks")


def open_registry(opening: Opening) -> Registry:
    """The shelves of a fleet."""
    return TextRegistry(opening.fleet)


DIALECT = TextDialect()


def put_into_table(patch: pytest.MonkeyPatch) -> None:
    """Have the kind in the table: all that a folder of its own below `registries/` would take."""
    line = registries.Entry("texts", frozenset({"text"}))
    patch.setattr(registries, "KINDS", MappingProxyType({**registries.KINDS, TEXT.name: line}))
    for module in ("dialect", "registry"):
        patch.setitem(sys.modules, f"{registries.__name__}.texts.{module}", sys.modules[__name__])
