"""`state/sbom/<image>/<build id>.cdx.json`: an inventory as CycloneDX 1.6, for whoever reads SBOMs."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from reconciler.model.errors import Place, UserError
from reconciler.model.inventory import EPHEMERAL, SECTIONS, Inventory, OperatingSystem, Package, PackageKind, Port, User
from reconciler.model.lockfile import InventoryRecord
from reconciler.model.values import canonical_json

if TYPE_CHECKING:
    from cyclonedx.model.component import Component


# What CycloneDX has no place for, as properties of the image's component: services, ports, users, SUID files.
#
# One property for each thing, as people write it (docs/inventory.md).

_READ = "reconciler:read"
"""The name of a section that was read: an empty one is not an unread one."""
_UNREAD = "reconciler:unread:"
"""Before the name of a section; the value says why it could not be read."""
_PORT_TEXT = re.compile(
    r"(?P<protocol>tcp|udp) (?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):"
    r"(?P<number>ephemeral|[0-9]{1,5})(?: \((?P<process>.+)\))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Found:
    """The part of an inventory that is in properties. `read` names the sections that were read, packages too."""

    read: frozenset[str]
    sections: Mapping[str, tuple[Any, ...] | None]
    """All others by their names; None for one that was not read."""
    unread: Mapping[str, str]


def to_properties(inventory: Inventory) -> tuple[tuple[str, str], ...]:
    """Names and values."""
    return (
        *((_READ, section.name) for section in SECTIONS if getattr(inventory, section.name) is not None),
        *((one.name, one.write(row)) for name, one in _PROPERTIES.items() for row in getattr(inventory, name) or ()),
        *((f"{_UNREAD}{name}", why) for name, why in inventory.unread.items()),
    )


def from_properties(properties: Iterable[tuple[str, str]]) -> Found:
    """The same back; properties of other names are left alone. Raises ValueError on a value that is none of ours."""
    values: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in properties:
        values[name].append(value)
    read = frozenset(values[_READ])
    return Found(
        read=read,
        sections={
            name: tuple(sorted(map(one.read, values[one.name]))) if name in read else None
            for name, one in _PROPERTIES.items()
        },
        unread={name.removeprefix(_UNREAD): why[0] for name, why in values.items() if name.startswith(_UNREAD)},
    )


def _port(text: str) -> Port:
    match = _PORT_TEXT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    number = EPHEMERAL if match["number"] == "ephemeral" else int(match["number"])
    address = match["six"] or match["four"] or ""
    return Port("tcp" if match["protocol"] == "tcp" else "udp", address, number, match["process"] or "")


def _user(text: str) -> User:
    """As in passwd(5), whose fields hold no colon."""
    name, uid, shell = text.split(":", 2)
    return User(name, int(uid), shell)


@dataclass(frozen=True)
class _Property:
    """The property that holds one thing of a section, and how its value is written and read."""

    name: str
    write: Callable[[Any], str] = str
    read: Callable[[str], Any] = str


_PROPERTIES: Mapping[str, _Property] = {
    "services": _Property("reconciler:service"),
    "ports": _Property("reconciler:port", read=_port),
    "users": _Property("reconciler:user", write=lambda user: f"{user.name}:{user.uid}:{user.shell}", read=_user),
    "suid": _Property("reconciler:suid"),
}
"""By the name of the section."""


# Canonical as the lockfiles are, and without what CycloneDX allows and two equal inventories would not share: a serial
# number, a time, the version of the tool. So a diff of two SBOMs is the difference between two images.
#
# The library writes the document; the packages are laid into it here. For 3,000 of them it would take 3 s, most of them
# for a dependency graph that an image has not (`Bom.register_dependency` looks through all it has for each). The tests
# hold our packages to what it writes.

KERNEL = "linux"
"""The name of the kernel's component."""
_KINDS: Mapping[str, PackageKind] = {"pkg:deb/": "deb", "pkg:rpm/": "rpm", "pkg:apk/": "apk"}


def inventory_record(image: str, build_id: str, inventory: Inventory) -> InventoryRecord:
    """An inventory in short, for the lockfile."""
    found = {section.name: getattr(inventory, section.name) for section in SECTIONS}
    counts = {name: len(values) for name, values in found.items() if values is not None}
    return InventoryRecord(
        os=inventory.os.name or "unknown",
        kernel=inventory.kernel or "unknown",
        **counts,
        sbom=below_state(image, build_id),
        digest=inventory.digest,
        unread=dict(inventory.unread),
    )


def render_sbom(image: str, build_id: str, inventory: Inventory) -> bytes:
    """The SBOM's canonical bytes: sorted keys, two spaces, LF, UTF-8, a newline at the end."""
    return _rendered(_Asked(image, build_id, inventory))


@dataclass(frozen=True)
class _Asked:
    """Of what an SBOM is asked for: kept beside the checkout until it is recorded, and then recorded."""

    image: str
    build_id: str
    inventory: Inventory = field(hash=False)  # what could not be read is in a dict


@lru_cache(maxsize=8)
def _rendered(asked: _Asked) -> bytes:
    image, build_id, inventory = asked.image, asked.build_id, asked.inventory
    document = _frame(image, build_id, inventory)
    rows = [_row(package, inventory.os) for package in inventory.packages or ()]
    document["components"] = [*document.get("components", ()), *rows]
    return f"{json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def read_sbom(content: bytes, *, path: str = "SBOM") -> Inventory:
    """The inventory in an SBOM: what `render_sbom` was given comes back equal.

    As plain JSON, not by the CycloneDX library: that takes seconds for 3,000 packages, and `diff` reads two.

    Raises:
        UserError: it is none that reconciler wrote.
    """
    try:
        inventory = _inventory(json.loads(content))
        canonical_json(inventory.as_json())  # refuses what has no digest: half a character, the infinite
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "not an SBOM that reconciler wrote",
            where=Place(path),
            hint=f"take the last good one back: `git log -- {path}`, then `git checkout <commit> -- {path}`",
        ) from error
    return inventory


def below_state(image: str, build_id: str) -> str:
    """Where it is from state/ on, as records name it."""
    return f"sbom/{image}/{build_id}.cdx.json"


def _frame(image: str, build_id: str, inventory: Inventory) -> dict[str, Any]:
    """The document without its packages: the image, its operating system, its kernel."""
    # Imported when one is written, since it takes 100 ms and `plan` writes none.
    from cyclonedx.model import Property  # noqa: PLC0415
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415

    system = ComponentType.OPERATING_SYSTEM
    properties = [Property(name=name, value=value) for name, value in to_properties(inventory)]
    whole = Component(type=system, name=image, version=build_id, bom_ref="image", properties=properties)
    parts: list[Component] = []
    if inventory.os != OperatingSystem("", "", ""):
        one = inventory.os
        parts.append(Component(type=system, name=one.id, version=one.version, description=one.name, bom_ref="os"))
    if inventory.kernel:
        platform = ComponentType.PLATFORM
        parts.append(Component(type=platform, name=KERNEL, version=inventory.kernel, bom_ref="kernel"))
    phases = [PredefinedLifecycle(phase=LifecyclePhase.POST_BUILD)]
    bom = Bom(metadata=BomMetaData(component=whole, lifecycles=phases), components=parts)
    bom.register_dependency(whole, parts)  # it warns of an image that consists of nothing
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["serialNumber"], document["metadata"]["timestamp"]
    document.pop("dependencies", None)
    return document


def _row(package: Package, system: OperatingSystem) -> dict[str, str]:
    return {
        "name": package.name,
        "purl": _purl(package, system),
        "type": "library",
        "version": package.version,
    }


def _purl(package: Package, system: OperatingSystem) -> str:
    """The package URL that scanners match advisories by: `pkg:deb/debian/nginx@1.22.1-9?arch=amd64&distro=debian-12`.

    Whose names these are: the purl types deb, rpm and apk, and what syft and trivy write (`distro`, `upstream`).
    """
    from packageurl import PackageURL  # noqa: PLC0415 - as above

    # Only rpm's purls have the epoch beside the version.
    epoch, _, rest = package.version.rpartition(":") if package.kind == "rpm" else ("", "", package.version)
    qualifiers = {
        "arch": package.architecture,
        "distro": f"{system.id}-{system.version}" if system.version else system.id,
        "epoch": epoch,
        "upstream": package.source,
    }
    return PackageURL(package.kind, system.id, package.name, rest, qualifiers).to_string()


def _inventory(document: Mapping[str, Any]) -> Inventory:
    components = document.get("components", ())
    parts = {one["bom-ref"]: one for one in components if "bom-ref" in one}
    system = parts.get("os", {})
    properties = document["metadata"]["component"].get("properties", ())
    found = from_properties((one["name"], one["value"]) for one in properties)
    return Inventory(
        os=OperatingSystem(system.get("name", ""), system.get("version", ""), system.get("description", "")),
        kernel=parts["kernel"]["version"] if "kernel" in parts else "",
        packages=_packages(components) if "packages" in found.read else None,
        unread=found.unread,
        **found.sections,
    )


def _packages(components: Iterable[Mapping[str, str]]) -> tuple[Package, ...]:
    """As they stand there, which is sorted: sorting thousands anew takes as long as reading them."""
    return tuple(_package(one) for one in components if "purl" in one)


def _package(component: Mapping[str, str]) -> Package:
    place, _, query = component["purl"].partition("?")
    qualifiers = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    return Package(
        name=component["name"],
        version=component["version"],
        architecture=unquote(qualifiers.get("arch", "")),
        kind=_KINDS[place[:8]],
        source=unquote(qualifiers.get("upstream", "")),
    )
