"""What a run does to the world, each effect through one door: to count it, to fail it, or to die at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from reconciler.git.answer import Reply
from reconciler.git.destination import Destination
from reconciler.model.care import Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Group, Held, Observation, Seen, Template
from reconciler.model.publish import AutoScalingGroup
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.ports.bench import BootRequest, Instance, Instances
from reconciler.ports.builder import Builder, BuildRequest, BuildResult
from reconciler.ports.dialect import Made
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Located, Registry, Remains
from reconciler.ports.tester import Tested, Tester, TestRequest
from tests.integration.loop.world import Controller

Around = Callable[[str], AbstractContextManager[None]]
"""What surrounds an effect. It is given what is done and where: `copy eu-west-1`, `build web`, `test web`, `push`."""
When = Literal["before", "after"]


class Killed(BaseException):
    """The process is gone, as by SIGKILL. Nothing of ours may catch it."""


@dataclass
class Effects:
    """Counts effects, and dies at one of them. Once it is dead nothing more is done, by any thread."""

    die_at: int | None = None
    when: When = "before"
    done: list[str] = field(default_factory=list)
    dead: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        with self._lock:
            number = len(self.done)
            self._die(number, "before")
            self.done.append(what)
        yield
        with self._lock:
            self._die(number, "after")

    def _die(self, number: int, now: When) -> None:
        if self.dead or (number == self.die_at and now == self.when):
            self.dead = True
            raise Killed(f"{now} effect {number}")


def failing(effect: str, error: ReconcilerError) -> Around:
    """Fail one effect, always."""

    @contextmanager
    def around(what: str) -> Iterator[None]:
        if what == effect:
            raise error
        yield

    return around


def dying_at(effect: str) -> Around:
    """Die right before an effect."""

    @contextmanager
    def around(what: str) -> Iterator[None]:
        if what == effect:
            raise Killed(f"before {effect}")
        yield

    return around


def in_the_middle(controller: Controller, image: str, happens: Callable[[], object]) -> Controller:
    """Let something happen in the middle of a controller's first build of an image."""
    before = controller.builder.during
    waiting = [happens]

    def during(request: BuildRequest) -> None:
        if before is not None:
            before(request)
        if request.image.name == image and waiting:
            waiting.pop()()

    controller.builder.during = during
    return controller


def meanwhile(effect: str, happens: Callable[[], object]) -> Around:
    """Let something happen just before an effect is done for the first time."""
    waiting = [happens]

    @contextmanager
    def around(what: str) -> Iterator[None]:
        if what == effect and waiting:
            waiting.pop()()
        yield

    return around


def surround(controller: Controller, around: Around) -> Controller:
    """Let every effect of a controller pass through `around`."""
    controller.on_registry = lambda registry: _Registry(registry, around)
    controller.on_publisher = lambda publisher: _Publisher(publisher, around)
    controller.on_builder = lambda builder: _Builder(builder, around)
    controller.on_instances = lambda instances: _Instances(instances, around)
    controller.on_tester = lambda tester: _Tester(tester, around)
    controller.on_destination = lambda destination: _Destination(destination, around)
    return controller


@dataclass(frozen=True)
class _Registry:
    registry: Registry
    around: Around

    def observe(self, locations: Sequence[str]) -> Observation:
        return self.registry.observe(locations)

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        return self.registry.is_same(location, other, artifact_id=artifact_id)

    def expect(self, locations: Sequence[str]) -> None:
        self.registry.expect(locations)

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        if not made:  # Packer itself put it where it belongs
            return self.registry.store(location, made, name=name, tags=tags)
        with self.around(f"store {location}"):
            return self.registry.store(location, made, name=name, tags=tags)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        return self.registry.find(location, artifact_id, patience=patience)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        return self.registry.named(location, name)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        with self.around(f"tag {artifact.location}"):
            self.registry.tag(artifact, tags)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        with self.around(f"tag all {location}"):
            self.registry.tag_all(location, artifacts, tags)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        with self.around(f"copy {to}"):
            return self.registry.copy(source, to=to, name=name, tags=tags, token=token)

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        with self.around(f"convert {form} {artifact.location}"):
            return self.registry.convert(artifact, form=form, name=name, tags=tags, known=known)

    def complete_copy(self, made: Located, *, of: Located) -> None:
        with self.around(f"complete {made.location}"):
            self.registry.complete_copy(made, of=of)

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        with self.around(f"wait {location}"):
            return self.registry.wait_available(location, artifact_id, timeout=timeout)

    def grants(self, artifact: Located) -> Grants:
        return self.registry.grants(artifact)

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        return self.registry.obstacles(location, artifacts, everybody=everybody)

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        return self.registry.lacking(location, artifacts, to=to)

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        with self.around(f"share {artifact.location}"):
            self.registry.share(artifact, add=add, remove=remove)

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        with self.around(f"deprecate {artifact.location}"):
            self.registry.deprecate(artifact, at)

    def protect(self, artifact: Located, *, on: bool) -> None:
        with self.around(f"protect {artifact.location}"):
            self.registry.protect(artifact, on=on)

    def disable(self, artifact: Located) -> None:
        with self.around(f"disable {artifact.location}"):
            self.registry.disable(artifact)

    def enable(self, artifact: Located) -> None:
        with self.around(f"enable {artifact.location}"):
            self.registry.enable(artifact)

    def retire(self, artifact: Located, *, image: str) -> Remains:
        with self.around(f"retire {artifact.location}"):
            return self.registry.retire(artifact, image=image)

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        with self.around(f"reconsider {artifacts[0].location}"):
            return self.registry.reconsider(artifacts)

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        return self.registry.resolve(request, location=location, architecture=architecture)

    def given(self, location: str, source: str) -> str:
        return self.registry.given(location, source)

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        return self.registry.usage(location, ids)

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        return self.registry.usage_elsewhere(location, ids, asks=asks)

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        return self.registry.abandoned(location, before=before)

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        for one in found:
            with self.around(f"remove {one.kind} {one.location} {one.id}"):
                yield from self.registry.remove_abandoned([one])

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        return self.registry.unmanaged(location)

    def restorable(self, location: str) -> int | None:
        return self.registry.restorable(location)

    def binned(self, location: str) -> Sequence[Binned]:
        return self.registry.binned(location)

    def restore(self, artifact: Located) -> None:
        with self.around(f"restore {artifact.location}"):
            self.registry.restore(artifact)

    def server_time(self, location: str) -> datetime | None:
        return self.registry.server_time(location)


@dataclass(frozen=True)
class _Publisher:
    publisher: Publisher
    around: Around

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        return self.publisher.read(location, names)

    def is_ours(self, location: str, name: str) -> bool:
        return self.publisher.is_ours(location, name)

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        with self.around(f"put {location} {name}"):
            return self.publisher.put(location, name, artifact_id, description=description)

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        with self.around(f"confirm {location} {name}"):
            self.publisher.confirm(location, name, artifact_id, version=version)

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        with self.around(f"label {location} {name}"):
            self.publisher.label(location, name, version=version, build=build)

    def remove(self, location: str, name: str) -> None:
        with self.around(f"remove {location} {name}"):
            self.publisher.remove(location, name)

    def templates(self, location: str, names: Sequence[str]) -> Mapping[str, Template]:
        return self.publisher.templates(location, names)

    def unfit(self, location: str, template: Template, artifact_id: str) -> str | None:
        return self.publisher.unfit(location, template, artifact_id)

    def add_version(self, location: str, template: Template, artifact_id: str, *, description: str) -> int:
        with self.around(f"add version {location} {template.id}"):
            return self.publisher.add_version(location, template, artifact_id, description=description)

    def set_default(self, location: str, template: Template, version: int) -> None:
        with self.around(f"set default {location} {template.id}"):
            self.publisher.set_default(location, template, version)

    def remove_version(self, location: str, name: str, version: int, artifact_id: str) -> None:
        with self.around(f"remove version {location} {name} {version}"):
            self.publisher.remove_version(location, name, version, artifact_id)

    def groups(self, location: str, names: Sequence[str]) -> Mapping[str, Group]:
        return self.publisher.groups(location, names)

    def group_misfit(self, location: str, group: Group, artifact_id: str) -> str | None:
        return self.publisher.group_misfit(location, group, artifact_id)

    def begin_refresh(self, location: str, group: Group, version: int, settings: AutoScalingGroup) -> str:
        with self.around(f"begin refresh {location} {group.name}"):
            return self.publisher.begin_refresh(location, group, version, settings)

    def turn_back(self, location: str, group: Group, refresh: str) -> None:
        with self.around(f"turn back {location} {group.name}"):
            self.publisher.turn_back(location, group, refresh)


@dataclass(frozen=True)
class _Builder:
    builder: Builder
    around: Around

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        with self.around(f"build {request.image.name}"):
            return self.builder.build(request, listener=listener, cancelled=cancelled)


@dataclass(frozen=True)
class _Instances:
    instances: Instances
    around: Around

    def boot(self, request: BootRequest) -> Instance:
        with self.around(f"boot {request.artifact.location}"):
            return self.instances.boot(request)

    def state(self, instance: Instance) -> str:
        return self.instances.state(instance)

    def console(self, instance: Instance) -> tuple[str, ...]:
        return self.instances.console(instance)

    def keep(self, instance: Instance, *, until: datetime) -> None:
        with self.around(f"keep {instance.location}"):
            self.instances.keep(instance, until=until)

    def terminate(self, instance: Instance) -> None:
        with self.around(f"terminate {instance.location}"):
            self.instances.terminate(instance)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        return self.instances.public_key(location, key_pair, since=since)

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        return self.instances.sweep(location, now=now)


@dataclass(frozen=True)
class _Tester:
    tester: Tester
    around: Around

    def test(self, request: TestRequest, *, listener: Listener, cancelled: threading.Event) -> Tested:
        with self.around(f"test {request.image}"):
            return self.tester.test(request, listener=listener, cancelled=cancelled)


@dataclass(frozen=True)
class _Destination:
    destination: Destination
    around: Around

    @property
    def branch(self) -> str:
        return self.destination.branch

    @property
    def pushed(self) -> bool:
        return self.destination.pushed

    def head(self) -> str:
        return self.destination.head()

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        with self.around("push"):
            return self.destination.publish(commit, onto=onto, tags=tags)

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        return self.destination.bring_along(commit, onto=onto)

    def error(self, reply: Reply) -> ReconcilerError:
        return self.destination.error(reply)
