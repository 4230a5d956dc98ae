"""From what the script printed to an inventory."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TypeVar

from reconciler.build.inventory.accounts import suid, users
from reconciler.build.inventory.frame import Section, Unread, bounded, sections, text
from reconciler.build.inventory.packages import packages
from reconciler.build.inventory.ports import ports
from reconciler.build.inventory.services import services
from reconciler.model.inventory import Inventory, OperatingSystem

T = TypeVar("T")

_LONGEST = 256
_UNKNOWN = OperatingSystem("", "", "")


def parse(output: bytes) -> Inventory:
    """What the script found. What it could not read is None, and why is in `unread`.

    Raises:
        Transient: the output is not the script's, or was cut off.
    """
    found = sections(output)
    unread: dict[str, str] = {}

    def read(name: str, reader: Callable[[Mapping[str, Section]], T]) -> T | None:
        try:
            return reader(found)
        except KeyError as error:
            unread[name] = f"the machine printed nothing of its {error.args[0]}"
        except Unread as error:
            unread[name] = str(error)
        return None

    return Inventory(
        os=read("os", _os) or _UNKNOWN,
        kernel=read("kernel", _kernel) or "",
        packages=read("packages", packages),
        services=read("services", services),
        ports=read("ports", _as_root(ports)),
        users=read("users", users),
        suid=read("suid", _as_root(suid)),
        unread=unread,
    )


def _as_root(reader: Callable[[Mapping[str, Section]], T]) -> Callable[[Mapping[str, Section]], T]:
    """A reader of what root alone sees whole. A part of it would make two images differ that do not."""

    def guarded(found: Mapping[str, Section]) -> T:
        if found["uid"].checked().strip() != b"0":
            raise Unread("only root sees all of it, and `sudo -n` does not work for the user who logged in")
        return reader(found)

    return guarded


def _kernel(found: Mapping[str, Section]) -> str:
    return bounded(text(found["kernel"].checked().strip()), most=_LONGEST)


def _os(found: Mapping[str, Section]) -> OperatingSystem:
    values = dict(filter(None, map(_assignment, text(found["os"].checked()).splitlines())))
    # The defaults are those of os-release(5).
    name = values.get("PRETTY_NAME") or values.get("NAME") or "Linux"
    return OperatingSystem(values.get("ID") or "linux", values.get("VERSION_ID", ""), name)


def _assignment(line: str) -> tuple[str, str] | None:
    """A line `KEY=value` of os-release(5), quoted as a shell would have it; None for any other."""
    key, equals, quoted = line.partition("=")
    try:
        value = "".join(shlex.split(quoted))
    except ValueError:  # a quote is not closed
        return None
    return (key.strip(), bounded(value, most=_LONGEST)) if equals else None
