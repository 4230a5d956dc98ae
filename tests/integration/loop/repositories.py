"""A world whose images are containers: they are kept in docker's own registry, in three of its repositories.

What no test of the loop needs is an engine: what a build leaves in one stands in memory, and is pushed from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.observation import Held, Seen
from reconciler.model.values import format_instant
from reconciler.plan.planning import Known
from reconciler.ports.builder import BuildRequest
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Opening, Registry
from reconciler.registries.oci.client import INDEX, MANIFEST, Client
from reconciler.registries.oci.marks import tag_of
from reconciler.registries.oci.reference import Reference, parse, repository
from reconciler.registries.oci.registry import OciRegistry, client_of
from reconciler.registries.oci.tags import Tags
from reconciler.registries.router import Registries, declared_in, kinds_in
from tests import containers
from tests.doubles.builder import SimulatedBuilder
from tests.doubles.tester import SimulatedTester
from tests.integration.loop.surroundings import Clock
from tests.integration.loop.world import FLEET, Controller, Declares, World

TEMPLATE = """\
variable "source_image" { type = string }
source "docker" "image" {
  image  = var.source_image
  commit = true
}
build {
  sources = ["source.docker.image"]
  provisioner "shell" { script = "${path.root}/setup.sh" }
}
"""
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass
class Pushed:
    """What builds left on a machine, by the id of each; and how it gets into a registry. Stands in for an `Engine`."""

    client: Client
    left: dict[str, bytes] = field(default_factory=dict)

    def make(self, content: str) -> str:
        """An image of one layer. Its id, which is the digest of its config."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "comment": content}).encode()
        self.left[digest_of(config)] = config
        return digest_of(config)

    def image(self, made: Sequence[Made]) -> str:
        """See `Engine.image`."""
        (one,) = {each.id for each in made}
        return one

    def push(self, image: str, reference: str) -> str | None:
        """See `Engine.push`."""
        to = parse(reference)
        assert to is not None
        config, layer = self.left[image], f"a layer of {image}".encode()
        for blob in (config, layer):
            self.client.put_blob(to, blob)
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described(config, CONFIG),
            "layers": [described(layer, LAYER)],
        }  # fmt: skip
        return self.client.put_manifest(to, json.dumps(manifest).encode(), MANIFEST)

    def untagged(self, repository: str) -> Sequence[str]:
        """None: what is left here has no names. See `Engine.untagged`."""
        del repository
        return ()

    def push_index(self, reference: str, *architectures: str) -> tuple[str, ...]:
        """Push an index of an image for each architecture. Its digest, and theirs."""
        to = parse(reference)
        assert to is not None
        children = []
        for one in architectures:
            pushed = self.push(self.make(f"{reference} for {one}"), f"{to.repository}:{to.tag}-{one}") or ""
            child = self.client.manifest(to.by(pushed))
            assert child is not None
            children.append({**child.descriptor, "platform": {"architecture": one, "os": "linux"}})
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
        return self.client.put_manifest(to, body, INDEX), *(str(one["digest"]) for one in children)


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def described(body: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}


class Repositories(OciRegistry):
    """The fleet's registry, and what happens in it without us."""

    def __init__(self, client: Client, *, locations: Sequence[str]) -> None:
        super().__init__(client, fleet=FLEET)
        self._locations = locations

    @property
    def artifacts(self) -> tuple[Seen, ...]:
        """All of the fleet's that is there, also what is not marked yet."""
        seen = self.observe(self._locations)
        assert seen.unreadable == {}
        return seen.artifacts

    def delete(self, artifact: Located) -> None:
        """Somebody deletes an image, and what refers to it."""
        at = repository(artifact.location)
        self.strip(artifact)
        self._client.delete_manifest(at.by(artifact.id))

    def strip(self, artifact: Located) -> None:
        """Somebody deletes what an image is marked by."""
        at = repository(artifact.location)
        marks = self._client.digest(at.by(tag_of(artifact.id)))
        assert marks is not None
        self._client.delete_manifest(at.by(marks))


class Published(Tags):
    """The fleet's tags, and what there is to see of them."""

    def __init__(self, client: Client, *, locations: Sequence[str]) -> None:
        super().__init__(client, fleet=FLEET)
        self._locations = locations

    @property
    def held(self) -> Mapping[tuple[str, str], Held]:
        """What each tag names that is no build's, and none that marks are under."""
        found: dict[tuple[str, str], Held] = {}
        for location in self._locations:
            tags = [one for one in self._client.tags(repository(location)) if "-20" not in one and "sha256-" not in one]
            found |= {(location, name): one for name, one in self.read(location, tags).items()}
        return found

    def values(self) -> dict[tuple[str, str], str]:
        """The same as digests."""
        return {place: one.value for place, one in self.held.items()}


@dataclass(frozen=True)
class Ground:
    """A registry that runs, with the folder that it keeps all in: that may be put back to what it was."""

    root: Path
    host: str

    def declares(self) -> Declares:
        """How images are declared that are kept here."""
        return Declares(
            f"source: {{oci: '{self.host}/theirs/debian:12'}}\n", TEMPLATE, f"{self.host}/acme/images",
            f"{self.host}/mirror/images", f"{self.host}/third/images", "locations",
            'publish: {tag: "{image}-{channel}"}\n', 'publish: {tag: "golden-{channel}"}\n',
        )  # fmt: skip

    def keep(self, name: str) -> None:
        """Remember what is here now."""
        shutil.copytree(self.root / "content", self.root / name)

    def restore(self, name: str | None = None) -> None:
        """Have only what was remembered, or nothing."""
        shutil.rmtree(self.root / "content", ignore_errors=True)
        if name is not None:
            shutil.copytree(self.root / name, self.root / "content")


@contextmanager
def ground(root: Path) -> Iterator[Ground]:
    """Such a registry, on loopback."""
    containers.refuse_without_registry()
    with containers.registry(root) as host:
        yield Ground(root, host)


@dataclass
class ContainersWorld(World):
    """The world of `world.py`, with containers in place of AMIs: all but the engine and Packer is the real thing."""

    on: Ground | None = None
    engine: Pushed | None = None

    @classmethod
    def on_ground(cls, root: Path, on: Ground, *, clock: Clock | None = None) -> ContainersWorld:
        """What there is on a ground, with a repository in a folder."""
        declared, client = on.declares(), client_of(Opening(FLEET, Settings()))
        locations = (declared.home, declared.elsewhere, declared.third)
        # What the loop's tests ask of theirs in memory is there in these, too.
        registry: Any = Repositories(client, locations=locations)
        publisher: Any = Published(client, locations=locations)
        return cls(
            root, registry, clock or Clock(), publisher=publisher, declared=declared, on=on, engine=Pushed(client)
        )  # fmt: skip

    @classmethod
    def made(cls, root: Path, on: Ground, files: Mapping[str, str | None]) -> ContainersWorld:
        """A new origin with one commit, and an upstream image."""
        world = cls.on_ground(root, on)
        assert world.engine is not None
        world.engine.push(world.engine.make("debian"), f"{on.host}/theirs/debian:12")
        world.begin_repository(files)
        return world

    def copy_to(self, root: Path) -> ContainersWorld:
        """The same world once more, on the same ground."""
        shutil.copytree(self.root, root, symlinks=True)
        assert self.on is not None
        world = self.on_ground(root, self.on)
        world.clock.moment = self.clock.moment
        return world

    def controller(self, name: str = "ci") -> Controller:
        """See `World.controller`."""
        one = super().controller(name)
        builder = SimulatedBuilder(
            artifacts=lambda _: (), made=self.leave_behind, during=self.note_waste,
            built_on=lambda given: given.rpartition("@")[2] if given is not None else None,
        )  # fmt: skip
        return Controller(self, one.root, builder=builder, tester=SimulatedTester(inventory=self.look_inside))

    def leave_behind(self, request: BuildRequest) -> tuple[Made, ...]:
        """What a build leaves: an image in the engine."""
        assert self.engine is not None
        image = self.engine.make(f"{request.image.name} {request.build_id}")
        return (Made("docker.image", "packer.docker", image),)

    def strip_tags(self, image: str, *regions: str) -> None:
        """See `World.strip_tags`."""
        registry: Any = self.registry
        for one in self.artifacts(image):
            if one.location in regions:
                registry.strip(one)

    def for_fleet(self, registry: Registry, known: Known) -> Registry:
        """See `World.for_fleet`: by the locations of each image, as the command line has it."""
        images = known.fleet.images.values()
        return Registries(
            kinds_in(images, known.locks.values()), lambda _: registry, declared=declared_in(images)
        )  # fmt: skip

    def at(self, location: str) -> Reference:
        """A repository."""
        return repository(location)


@contextmanager
def no_engine(world: Callable[[], ContainersWorld]) -> Iterator[None]:
    """Push from memory what builds left, and write the world's time as that at which it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.registries.oci.registry.engine_of", lambda _made, _environment: world().engine)
        patch.setattr("reconciler.registries.oci.registry._now", lambda: format_instant(world().clock.moment))
        yield
