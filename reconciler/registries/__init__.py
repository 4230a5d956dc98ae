"""The one table of kinds: what leaves an artifact of which kind, and whose folder knows about it.

A folder is imported when a fleet has an image of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from reconciler.model.errors import Terminal
from reconciler.model.rights import RightsOfKind

if TYPE_CHECKING:
    from reconciler.model.fleet import Image
    from reconciler.ports.bench import Instances
    from reconciler.ports.dialect import Dialect
    from reconciler.ports.machine import Machine
    from reconciler.ports.needs import Asking, Need
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Opening, Registry

OTHER = "other"
"""The kind of what nobody here knows: an artifact of it is what Packer said."""


@dataclass(frozen=True)
class Entry:
    """What has to be known of a kind before its folder is imported.

    Args:
        folder: Its folder here. Its module `dialect` has one `DIALECT`, `registry` an `open_registry`, and, if it
            boots, `bench` an `open_bench`.
        builders: Packer's builders that leave its artifacts.
        post_processors: Those that make one of what another builder leaves.
        sources: The words that `source:` takes for it.
        ahead: The key of image.yaml whose locations are listed while the fleet is read; empty where that takes no time.
        needs: Whether it needs more than its registry, and so has a module `needs` with a function of that name.
        publisher: The module of it that has an `open_publisher`; empty where nothing of it is published.
        machine: The module of it whose `open_machine` opens what knows this machine; empty where its builders need
            nothing of it but programs.
        allowed: The module of it whose `needed` says what has to be allowed, `credentials` to whom, `NOTE` what else;
            empty where nobody knows.
    """

    folder: str
    builders: frozenset[str] = frozenset()
    post_processors: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    ahead: str = ""
    publisher: str = ""
    needs: bool = False
    machine: str = ""
    allowed: str = ""


KINDS: Mapping[str, Entry] = {
    "ami": Entry(
        "ec2",
        frozenset({"amazon-ebs", "amazon-ebssurrogate", "amazon-chroot", "amazon-instance"}),
        frozenset({"amazon-import"}),
        frozenset({"ami", "ssm"}),
        ahead="regions",
        publisher="groups",
        allowed="allowed",
    ),
    "oci": Entry(
        "oci",
        frozenset({"docker", "podman"}),
        frozenset({"docker-import"}),
        frozenset({"oci"}),
        ahead="locations",
        publisher="tags",
        needs=True,
        machine="engine",
        allowed="allowed",
    ),
    "disk": Entry(
        "disk",
        frozenset({"file", "qemu", "virtualbox-iso", "virtualbox-ovf", "vmware-iso", "vmware-vmx"}),
        sources=frozenset({"disk"}),
        needs=True,
        machine="accelerator",
        allowed="allowed",
    ),
    "vsphere": Entry(
        "vsphere",
        frozenset({"vsphere-iso", "vsphere-clone"}),
        frozenset({"vsphere", "vsphere-template"}),
        frozenset({"vsphere"}),
        needs=True,
        allowed="allowed",
    ),
    OTHER: Entry("other"),
}


def dialect_of(kind: str) -> Dialect:
    """How a kind is spoken of. Raises KeyError for none of the table."""
    return cast("Dialect", import_module(f"{__name__}.{KINDS[kind].folder}.dialect").DIALECT)


def rights_of(kind: str, images: Sequence[Image]) -> RightsOfKind | None:
    """What a fleet's images of a kind need to be allowed; None where nobody knows. Raises KeyError for no kind."""
    entry = KINDS[kind]
    if not entry.allowed:
        return None
    allowed = import_module(f"{__name__}.{entry.folder}.{entry.allowed}")
    names = tuple(sorted(image.name for image in images))
    return RightsOfKind(
        kind=kind, images=names, rights=tuple(allowed.needed(images)),
        credentials=tuple(sorted(set(allowed.credentials(images)))), note=allowed.NOTE,
    )  # fmt: skip


def machine_of(kind: str) -> Machine | None:
    """This machine, as a kind's builders may use it; None where that is known of none. Raises KeyError for no kind.

    What it finds out it remembers, so a run asks for it anew.
    """
    entry = KINDS[kind]
    if not entry.machine:
        return None
    return cast("Machine", import_module(f"{__name__}.{entry.folder}.{entry.machine}").open_machine())


def open_registry(kind: str, opening: Opening) -> Registry:
    """The registry of a kind. Raises KeyError for none of the table."""
    return cast("Registry", import_module(f"{__name__}.{KINDS[kind].folder}.registry").open_registry(opening))


def open_bench(kind: str, opening: Opening) -> Instances:
    """What boots the artifacts of a kind that `boots`. Raises KeyError for none of the table."""
    return cast("Instances", import_module(f"{__name__}.{KINDS[kind].folder}.bench").open_bench(opening))


def open_publisher(kind: str, opening: Opening) -> Publisher:
    """Where consumers look up artifacts of a kind. Raises Terminal where they can nowhere, KeyError for no kind."""
    entry = KINDS[kind]
    if not entry.publisher:
        raise Terminal(f"nothing is published of the kind {kind!r}", hint="take it out of `published` in state/")
    return cast("Publisher", import_module(f"{__name__}.{entry.folder}.{entry.publisher}").open_publisher(opening))


def needs_of(kind: str, asking: Asking) -> Iterable[Need]:
    """What images of a kind need beside their registry, and whether it is there. Raises KeyError for no kind."""
    entry = KINDS[kind]
    if not entry.needs:
        return ()
    return cast("Iterable[Need]", import_module(f"{__name__}.{entry.folder}.needs").needs(asking))


def dialects() -> tuple[Dialect, ...]:
    """All of them, in order of the table."""
    return tuple(map(dialect_of, KINDS))


def dialect_for(builder: str, post_processors: Iterable[str] = ()) -> Dialect:
    """That of what a builder leaves once these post-processors have run, the last of which decides."""
    for after in reversed(tuple(post_processors)):
        for kind, entry in KINDS.items():
            if after in entry.post_processors:
                return dialect_of(kind)
    return dialect_of(next((kind for kind, entry in KINDS.items() if builder in entry.builders), OTHER))
