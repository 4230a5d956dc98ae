"""What CycloneDX has no place for, as properties of the image's component: services, ports, users, SUID files.

One property for each thing, as people write it (docs/inventory.md).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model.inventory import EPHEMERAL, Inventory, Port, User

SECTIONS = ("packages", "services", "ports", "users", "suid")
"""What of an inventory may be unread."""

_READ = "reconciler:read"
"""The name of a section that was read: an empty one is not an unread one."""
_UNREAD = "reconciler:unread:"
"""Before the name of a section; the value says why it could not be read."""
_SERVICE = "reconciler:service"
_PORT = "reconciler:port"
_USER = "reconciler:user"
_SUID = "reconciler:suid"

_PORT_TEXT = re.compile(
    r"(?P<protocol>tcp|udp) (?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):"
    r"(?P<number>ephemeral|[0-9]{1,5})(?: \((?P<process>.+)\))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Found:
    """The part of an inventory that is in properties. `read` names the sections that were read, packages too."""

    read: frozenset[str]
    services: tuple[str, ...] | None
    ports: tuple[Port, ...] | None
    users: tuple[User, ...] | None
    suid: tuple[str, ...] | None
    unread: Mapping[str, str]


def to_properties(inventory: Inventory) -> tuple[tuple[str, str], ...]:
    """Names and values."""
    return (
        *((_READ, name) for name in SECTIONS if getattr(inventory, name) is not None),
        *((_SERVICE, name) for name in inventory.services or ()),
        *((_PORT, str(port)) for port in inventory.ports or ()),
        *((_USER, f"{user.name}:{user.uid}:{user.shell}") for user in inventory.users or ()),
        *((_SUID, path) for path in inventory.suid or ()),
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
        services=tuple(sorted(values[_SERVICE])) if "services" in read else None,
        ports=tuple(sorted(map(_port, values[_PORT]))) if "ports" in read else None,
        users=tuple(sorted(map(_user, values[_USER]))) if "users" in read else None,
        suid=tuple(sorted(values[_SUID])) if "suid" in read else None,
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
