"""A world with an image of every kind, in memory: what a plan, a page or a comment says of them stands side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Observation, Seen, State
from reconciler.model.source import Pin, SourceRequest
from reconciler.ports.builder import BuildRequest
from reconciler.ports.registry import Located
from reconciler.registries import OTHER, dialect_of
from tests.doubles.registry import MemoryRegistry
from tests.integration.loop.world import EU, FLEET, ON_DEBIAN, TEMPLATE, US, Controller, World, image_files

REPOSITORY, MIRROR = "registry.example.org/acme/web", "mirror.example.org/acme/web"
DISKS, BACKUP = "/srv/images", "/mnt/backup/images"
FOLDER, OFFICE = (f"vsphere://vcenter.example.org/DC0/vm/{name}" for name in ("templates", "office"))
WHERE = {"ami": (US, EU), "oci": (REPOSITORY, MIRROR), "disk": (DISKS, BACKUP), "vsphere": (FOLDER, OFFICE)}
"""Two locations of each kind that has them."""
UPSTREAM = {
    "ami": ON_DEBIAN,
    "oci": 'source: {oci: "debian:12"}\n',
    "disk": f'source: {{disk: {{url: "https://example.org/debian-12.qcow2", checksum: "sha256:{"d" * 64}"}}}}\n',
    "vsphere": "source: {vsphere: /DC0/vm/base/debian-12}\n",
}
_BUILDERS = {
    "ami": "",
    "oci": 'source "docker" "image" {\n  image  = var.source_image\n  commit = true\n}\n',
    "disk": 'source "qemu" "image" {\n  iso_url      = var.source_disk\n  iso_checksum = "none"\n'
            '  disk_image   = true\n  ssh_username = "debian"\n}\n',
    "vsphere": 'source "vsphere-clone" "image" {\n  vcenter_server      = "vcenter.example.org"\n'
               '  template            = var.source_template\n  vm_name             = "image"\n'
               '  ssh_username        = "debian"\n  convert_to_template = true\n}\n',
    "other": 'source "azure-arm" "image" {\n}\n',
}  # fmt: skip
_TYPES = {"oci": "docker", "disk": "qemu", "vsphere": "vsphere-clone", "other": "azure-arm"}


def template(kind: str) -> str:
    """A template of a kind, which takes the source that it is given."""
    if kind == "ami":
        return TEMPLATE
    given = dialect_of(kind).kind.source_variable
    variable = f'variable "{given}" {{ type = string }}\n' if given else ""
    build = f'build {{\n  sources = ["source.{_TYPES[kind]}.image"]\n  provisioner "shell" '
    return variable + _BUILDERS[kind] + build + '{ script = "${path.root}/setup.sh" }\n}\n'


def files_of(kind: str, name: str, declaration: str = "", *, setup: str = "true") -> dict[str, str | None]:
    """The files of an image of a kind, kept in both of its locations."""
    key = dialect_of(kind).kind.key
    where = f"{key}: [{', '.join(WHERE[kind])}]\n" if kind in WHERE else ""
    return image_files(name, where + declaration, setup=setup, template=template(kind))


def every_kind(*, settings: str = "", more: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """A fleet with a parent and a child of each kind that has any, and one of none that is known here.

    `more` is what is declared of a kind's parent beside its source.
    """
    files: dict[str, str | None] = {"desired/reconciler.yaml": f"fleet: {FLEET}\n{settings}"}
    for kind, upstream in UPSTREAM.items():
        files |= files_of(kind, f"{kind}-base", upstream + (more or {}).get(kind, ""))
        files |= files_of(kind, f"{kind}-web", f"source: {{image: {kind}-base}}\n")
    return files | files_of(OTHER, "azure")


def kind_at(location: str) -> str:
    """The kind of what is in one of these locations."""
    return next((kind for kind, locations in WHERE.items() if location in locations), OTHER)


_THEIRS = {
    "oci": ("docker.io/library/debian", f"sha256:{'b' * 64}", "debian:12"),
    "disk": ("https://example.org/debian-12.qcow2", f"sha256:{'d' * 64}", None),
    "vsphere": (FOLDER.replace("templates", "base"), "4237a1b2-0000-4000-8000-00000000c0de@7", "debian-12"),
}
"""What is upstream: where, its id and its name."""


def _id_of(kind: str, made: Seen) -> str:
    """A copy of what is known by its digest has the same one."""
    told = made.name if kind in ("oci", "disk") else made.id
    digest = hashlib.sha256(told.encode()).hexdigest()
    return str(UUID(digest[:32])) if kind == "vsphere" else f"sha256:{digest}"


class MixedRegistry(MemoryRegistry):
    """Registries of every kind as one, in memory: ids are of each kind's form."""

    def seed(
        self, location: str, name: str, *, tags: Mapping[str, str], state: State = "available",
        created: str | None = None,
    ) -> Seen:  # fmt: skip
        """See `MemoryRegistry.seed`."""
        made = super().seed(location, name, tags=tags, state=state, created=created)
        kind = kind_at(location)
        if kind == "ami":
            return made
        del self._artifacts[location, made.id]
        made = replace(made, kind=kind, id=_id_of(kind, made), parts=())
        self._artifacts[location, made.id] = made
        return made

    def observe(self, locations: Sequence[str]) -> Observation:
        """See `Registry.observe`: nobody tells of what is of no kind."""
        known = super().observe([one for one in locations if kind_at(one) != OTHER])
        unknown = {one: "nothing here can tell of what only Packer knows" for one in locations if kind_at(one) == OTHER}
        return replace(known, unreadable={**known.unreadable, **unknown})

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """See `Registry.tag`: what is of no kind takes no marks."""
        if kind_at(artifact.location) != OTHER:
            super().tag(artifact, tags)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """See `Registry.tag_all`."""
        if kind_at(location) != OTHER:
            super().tag_all(location, artifacts, tags)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """See `Registry.find`."""
        for kind, (at, id_, name) in _THEIRS.items():
            if (at, id_) == (location, artifact_id):
                return Seen(kind, at, id_, name or "", "available", "2026-11-01T00:00:00Z", {})
        return super().find(location, artifact_id, patience=patience)

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """See `Registry.resolve`."""
        if kind_at(location) == "ami":
            return super().resolve(request, location=location, architecture=architecture)
        assert request.upstream is not None
        kind, asked = request.upstream
        del asked
        at, id_, name = _THEIRS[kind]
        return dialect_of(kind).kind.pin(at, id_, name=name)


@dataclass
class MixedWorld(World):
    """The world of `world.py`, with an image of every kind."""

    @classmethod
    def begin(cls, root: Path, files: Mapping[str, str | None]) -> MixedWorld:
        """A new origin with one commit."""
        world = cls(root, MixedRegistry(FLEET))
        world.registry.clock = world.clock
        world.publish_upstream("debian-12-amd64-20261101")
        world.begin_repository(files)
        return world

    def controller(self, name: str = "ci") -> Controller:
        """See `World.controller`."""
        one = super().controller(name)
        one.builder.built_on = _said_of
        return one

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        """See `World.leave`."""
        kind = request.image.kind.name
        if kind == OTHER:
            return (
                Artifact(kind=OTHER, builder="azure-arm.image", location="packer", id=f"/images/{request.build_id}"),
            )
        assert request.location is not None
        (maker,) = request.image.template.makers
        return (self.make(request, region=request.location).as_artifact(maker.name),)


def _said_of(given: str | None) -> str | None:
    """What Packer says that it built on: docker a digest, and of a file nothing."""
    if given is None or given.startswith(("/", "sha256:")):
        return None
    return given.rpartition("@")[2] if "@sha256:" in given else given
