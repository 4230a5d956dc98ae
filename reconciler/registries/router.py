"""The registries of a fleet as one, and so what boots and what publishes: each location is its own kind's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

from reconciler.model.care import Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Conversion, Lockfile
from reconciler.model.observation import Group, Held, Observation, Seen, Template
from reconciler.model.publish import AutoScalingGroup
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.ports.bench import BootRequest, Instance, Instances
from reconciler.ports.dialect import Made
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Located, Registry, Remains
from reconciler.registries import KINDS

T = TypeVar("T")


class _ByKind(Generic[T]):
    """One adapter for each kind, opened when a location of that kind is first asked for."""

    def __init__(self, kinds: Mapping[str, str], open_one: Callable[[str], T]) -> None:
        """Take what is where.

        Args:
            kinds: From each location to the kind of what is there.
            open_one: Opens the adapter of a kind.
        """
        self._kinds, self._open, self._lock = kinds, open_one, Lock()
        self._opened: dict[str, T] = {}

    def of(self, location: str) -> T:
        """The adapter of a location. Raises Terminal where the kind of what is there is not known."""
        kind = self._kinds.get(location)
        if kind is None:
            raise Terminal(f"{location}: no image is recorded or declared there, so that its kind is not known")
        if kind not in KINDS:
            what = f"what is recorded in {location} is of the kind {kind!r}, which is not known here"
            raise Terminal(what, hint="a newer reconciler may know it")
        with self._lock:
            if kind not in self._opened:
                self._opened[kind] = self._open(kind)
            return self._opened[kind]


class Registries(_ByKind[Registry]):
    """Implements `Registry` by asking that of a location's kind."""

    def __init__(
        self,
        kinds: Mapping[str, str],
        open_one: Callable[[str], Registry],
        *,
        declared: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take what is where, as `_ByKind` does, and the locations that are `declared` of each image, by its name."""
        super().__init__(kinds, open_one)
        self._declared = declared or {}
        self._let_go: set[tuple[str, str]] = set()

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report from all of them at once. See `Registry.observe`."""
        asked: dict[str, list[str]] = {}
        for location in locations:
            asked.setdefault(self._kinds.get(location, ""), []).append(location)
        if len(asked) == 1:
            return self._observe(*asked.values())
        with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
            return _together(tuple(pool.map(self._observe, asked.values())), locations)

    def _observe(self, locations: Sequence[str]) -> Observation:
        """Report from locations of one kind. Each is unreadable where that kind is not known, or can't be opened."""
        try:
            return self.of(locations[0]).observe(locations)
        except ReconcilerError as error:
            hints = dict.fromkeys(locations, error.hint) if error.hint else {}
            return Observation(unreadable=dict.fromkeys(locations, error.what), hints=hints)

    def expect(self, locations: Sequence[str]) -> None:
        """See `Registry.expect`."""
        for location in locations:
            self.of(location).expect([location])

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """See `Registry.find`."""
        return self.of(location).find(location, artifact_id, patience=patience)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """See `Registry.named`."""
        return self.of(location).named(location, name)

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """See `Registry.store`."""
        kept = self.of(location).store(location, made, name=name, tags=tags)
        self._let_go.difference_update((one.location, one.id) for one in kept)
        return kept

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """See `Registry.tag`."""
        self.of(artifact.location).tag(artifact, tags)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """See `Registry.tag_all`."""
        self.of(location).tag_all(location, artifacts, tags)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """See `Registry.copy`. Both locations are of one kind."""
        copied = self.of(to).copy(source, to=to, name=name, tags=tags, token=token)
        self._let_go.discard((to, copied))
        return copied

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """See `Registry.convert`."""
        return self.of(artifact.location).convert(artifact, form=form, name=name, tags=tags, known=known)

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """See `Registry.complete_copy`."""
        self.of(made.location).complete_copy(made, of=of)

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """See `Registry.wait_available`."""
        return self.of(location).wait_available(location, artifact_id, timeout=timeout)

    def grants(self, artifact: Located) -> Grants:
        """See `Registry.grants`."""
        return self.of(artifact.location).grants(artifact)

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        """See `Registry.obstacles`."""
        return self.of(location).obstacles(location, artifacts, everybody=everybody)

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        """See `Registry.lacking`."""
        return self.of(location).lacking(location, artifacts, to=to)

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        """See `Registry.share`."""
        self.of(artifact.location).share(artifact, add=add, remove=remove)

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        """See `Registry.deprecate`."""
        self.of(artifact.location).deprecate(artifact, at)

    def protect(self, artifact: Located, *, on: bool) -> None:
        """See `Registry.protect`."""
        self.of(artifact.location).protect(artifact, on=on)

    def disable(self, artifact: Located) -> None:
        """See `Registry.disable`."""
        self.of(artifact.location).disable(artifact)

    def enable(self, artifact: Located) -> None:
        """See `Registry.enable`."""
        self.of(artifact.location).enable(artifact)

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """See `Registry.retire`. What another declared location of its image has, as the very same thing, stays.

        Where it was to go from that one, too, and did not as it is in this one, it goes now: with the last of its
        names.
        """
        here = (artifact.location, artifact.id)
        for location in self._declared.get(image, ()):
            if location == artifact.location or (location, artifact.id) in self._let_go:
                continue
            if self.is_same(artifact.location, location, artifact_id=artifact.id):
                self._let_go.add(here)
                return Remains(stays=f"{location} is another name of the same place, and has it still")
        return self.of(artifact.location).retire(artifact, image=image)

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """See `Registry.reconsider`."""
        return self.of(artifacts[0].location).reconsider(artifacts)

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """See `Registry.is_same`. What is of two kinds is in two places."""
        if self._kinds.get(location) != self._kinds.get(other):
            return False
        return self.of(location).is_same(location, other, artifact_id=artifact_id)

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """See `Registry.resolve`."""
        return self.of(location).resolve(request, location=location, architecture=architecture)

    def given(self, location: str, source: str) -> str:
        """See `Registry.given`."""
        return self.of(location).given(location, source)

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        """See `Registry.usage`."""
        return self.of(location).usage(location, ids)

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        """See `Registry.usage_elsewhere`."""
        return self.of(location).usage_elsewhere(location, ids, asks=asks)

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        """See `Registry.abandoned`."""
        return self.of(location).abandoned(location, before=before)

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        """See `Registry.remove_abandoned`."""
        return self.of(found[0].location).remove_abandoned(found) if found else iter(())

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """See `Registry.unmanaged`."""
        return self.of(location).unmanaged(location)

    def restorable(self, location: str) -> int | None:
        """See `Registry.restorable`."""
        return self.of(location).restorable(location)

    def binned(self, location: str) -> Sequence[Binned]:
        """See `Registry.binned`."""
        return self.of(location).binned(location)

    def restore(self, artifact: Located) -> None:
        """See `Registry.restore`."""
        self.of(artifact.location).restore(artifact)

    def server_time(self, location: str) -> datetime | None:
        """See `Registry.server_time`."""
        return self.of(location).server_time(location)


class Benches(_ByKind[Instances]):
    """Implements `Instances` by asking that of a location's kind."""

    def boot(self, request: BootRequest) -> Instance:
        """See `Instances.boot`."""
        return self.of(request.artifact.location).boot(request)

    def state(self, instance: Instance) -> str:
        """See `Instances.state`."""
        return self.of(instance.location).state(instance)

    def console(self, instance: Instance) -> tuple[str, ...]:
        """See `Instances.console`."""
        return self.of(instance.location).console(instance)

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """See `Instances.keep`."""
        self.of(instance.location).keep(instance, until=until)

    def terminate(self, instance: Instance) -> None:
        """See `Instances.terminate`."""
        self.of(instance.location).terminate(instance)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """See `Instances.public_key`."""
        return self.of(location).public_key(location, key_pair, since=since)

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """See `Instances.sweep`."""
        return self.of(location).sweep(location, now=now)


class Publishers(_ByKind[Publisher]):
    """Implements `Publisher` by asking that of a location's kind."""

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        """See `Publisher.read`."""
        return self.of(location).read(location, names)

    def is_ours(self, location: str, name: str) -> bool:
        """See `Publisher.is_ours`."""
        return self.of(location).is_ours(location, name)

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        """See `Publisher.put`."""
        return self.of(location).put(location, name, artifact_id, description=description)

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        """See `Publisher.confirm`."""
        self.of(location).confirm(location, name, artifact_id, version=version)

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        """See `Publisher.label`."""
        self.of(location).label(location, name, version=version, build=build)

    def remove(self, location: str, name: str) -> None:
        """See `Publisher.remove`."""
        self.of(location).remove(location, name)

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        """See `Publisher.templates`."""
        return self.of(location).templates(location, names)

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        """See `Publisher.unfit`."""
        return self.of(location).unfit(location, template, artifact_id)

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        """See `Publisher.add_version`."""
        return self.of(location).add_version(location, template, artifact_id, description=description)

    def set_default(self, location: str, template: Template, version: int) -> None:
        """See `Publisher.set_default`."""
        self.of(location).set_default(location, template, version)

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        """See `Publisher.remove_version`."""
        self.of(location).remove_version(location, name, version, artifact_id)

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        """See `Publisher.groups`."""
        return self.of(location).groups(location, names)

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        """See `Publisher.group_misfit`."""
        return self.of(location).group_misfit(location, group, artifact_id)

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        """See `Publisher.begin_refresh`."""
        return self.of(location).begin_refresh(location, group, version, settings)

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        """See `Publisher.turn_back`."""
        self.of(location).turn_back(location, group, refresh)


def kinds_in(images: Iterable[Image], locks: Iterable[Lockfile]) -> dict[str, str]:
    """What kind is where, by what is recorded and what is declared now."""
    recorded = (artifact for lock in locks for build in lock.recorded for artifact in build.artifacts)
    return {
        **{artifact.location: artifact.kind for artifact in recorded},
        **{location: image.kind.name for image in images for location in image.locations},
    }


def declared_in(images: Iterable[Image]) -> dict[str, tuple[str, ...]]:
    """The locations that are declared of each image, by each of its names."""
    return {name: image.locations for image in images for name in image.names}


def kinds_published(images: Iterable[Image], locks: Iterable[Lockfile]) -> dict[str, str]:
    """The same, with where channels are written out and nothing is kept any more: of the kind of their image."""
    every = list(locks)
    found: dict[str, str] = {}
    for lock in every:
        kinds = (artifact.kind for build in lock.recorded for artifact in build.artifacts)
        kind = next(kinds, None) if lock.published else None
        found |= {one.location: kind for one in lock.published if kind is not None}
    return {**found, **kinds_in(images, every)}


def _together(found: Sequence[Observation], locations: Sequence[str]) -> Observation:
    """All that was seen, in order of location as given. A refusal of one kind is no other's."""
    place = {location: number for number, location in enumerate(locations)}
    return Observation(
        tuple(sorted((seen for one in found for seen in one.artifacts), key=lambda seen: place[seen.location])),
        {location: why for one in found for location, why in one.unreadable.items()},
        found[0].refused if found and all(one.refused is not None for one in found) else None,
        {location: hint for one in found for location, hint in one.hints.items()},
    )
