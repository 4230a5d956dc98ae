"""What is inside an image: the facts that were read from an instance booted from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from reconciler.model.values import digest

PackageKind = Literal["deb", "rpm", "apk"]

EPHEMERAL = 0
"""The number of a port that the kernel handed out: it is another one at each boot."""
OWN_ADDRESS = "instance"
"""Whatever address the instance itself has: it is another one at each boot."""


@dataclass(frozen=True, order=True)
class Package:
    """An installed package. One name may be there in several versions (kernels) and architectures (multiarch)."""

    name: str
    version: str
    architecture: str
    kind: PackageKind
    source: str = ""
    """The source package, where it has another name: advisories are about that one."""


@dataclass(frozen=True, order=True)
class Port:
    """A listening socket. `process` is empty where it is the kernel's own, or nobody said whose it is."""

    protocol: Literal["tcp", "udp"]
    address: str
    number: int
    process: str = ""

    def __str__(self) -> str:
        """As people write it: `tcp 0.0.0.0:22 (sshd)`, `udp instance:ephemeral (rpc.statd)`."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        number = "ephemeral" if self.number == EPHEMERAL else str(self.number)
        return f"{self.protocol} {host}:{number}" + (f" ({self.process})" if self.process else "")


@dataclass(frozen=True, order=True)
class User:
    """An account that has a login shell."""

    name: str
    uid: int
    shell: str

    def __str__(self) -> str:
        """As people write it: `deploy (1000, /bin/bash)`."""
        return f"{self.name} ({self.uid}, {self.shell})"


@dataclass(frozen=True)
class OperatingSystem:
    """As os-release has it: `debian`, `12`, `Debian GNU/Linux 12 (bookworm)`."""

    id: str
    version: str
    name: str


@dataclass(frozen=True)
class Section:
    """A list that an inventory has, by its field there and in what is made of inventories."""

    name: str
    noun: str
    """One of what it lists, for people."""
    columns: tuple[str, ...] = ()
    """The fields of a row, in the order of an inventory's digest; none where a row is a text."""

    def as_json(self, of: Inventory) -> list[Any] | None:
        """Its rows as plain JSON; None where it could not be read."""
        rows = getattr(of, self.name)
        if rows is None or not self.columns:
            return list(rows) if rows is not None else None
        return [[getattr(row, column) for column in self.columns] for row in rows]


PACKAGES = Section("packages", "package", ("name", "version", "architecture", "kind", "source"))
BESIDE_PACKAGES = (
    Section("services", "service"),
    Section("ports", "port", ("protocol", "address", "number", "process")),
    Section("users", "user", ("name", "uid", "shell")),
    Section("suid", "SUID file"),
)
SECTIONS = (PACKAGES, *BESIDE_PACKAGES)
"""What of an inventory may be unread, beside the system and the kernel."""


@dataclass(frozen=True)
class Inventory:
    """All that was found. Every tuple is sorted and holds nothing twice, so that equal images have equal inventories.

    A section is None where it could not be read; `unread` says why, by the section's name. None is never taken for
    empty: a package database that is locked is not an image without packages.
    """

    os: OperatingSystem
    kernel: str
    packages: tuple[Package, ...] | None
    services: tuple[str, ...] | None
    """Enabled services."""
    ports: tuple[Port, ...] | None
    users: tuple[User, ...] | None
    suid: tuple[str, ...] | None
    """Absolute paths of set-user-ID files."""
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The `sha256:…` of everything that was found: equal for equal images, whatever order it was found in."""
        return digest(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values of everything but why something is unread, which may be worded anew each time."""
        return {
            "os": [self.os.id, self.os.version, self.os.name],
            "kernel": self.kernel,
            **{section.name: section.as_json(self) for section in SECTIONS},
        }
