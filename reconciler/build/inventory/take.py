"""Take the inventory of a booted instance."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import TypeVar

from reconciler.build.inventory.sections import (
    Section,
    Unread,
    packages,
    ports,
    sections,
    services,
    suid,
    users,
)
from reconciler.build.smoke.exchange import Shell
from reconciler.model.errors import Transient
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.text import cut, decoded, visible

# From what the script printed to an inventory.

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
    return cut(decoded(found["kernel"].checked().strip()), _LONGEST)


def _os(found: Mapping[str, Section]) -> OperatingSystem:
    values = dict(filter(None, map(_assignment, decoded(found["os"].checked()).splitlines())))
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
    return (key.strip(), cut(value, _LONGEST)) if equals else None


# Takes the inventory of a booted instance.

PATIENCE_SECONDS = 30
"""How long the machine waits for a package database that somebody has locked."""

_LIMIT_SECONDS = 240
"""For all of it; more than the limits of its parts in the script add up to."""

# The script comes on stdin, so `sudo` must not read it while it is asked whether it works.
_AS_ROOT = (
    'if [ "$(id -u)" != 0 ] && sudo -n true </dev/null >/dev/null 2>&1; then exec sudo -n sh -s -- "$1"; fi; '
    'exec sh -s -- "$1"'
)


def take_inventory(shell: Shell, *, patience_seconds: int = PATIENCE_SECONDS) -> Inventory:
    """What is inside the machine that `shell` reaches, as root where `sudo -n` allows it.

    Raises:
        Transient: the connection broke, it took too long, or the machine has not even what the script needs.
        Terminal: the test was cancelled meanwhile.
    """
    # Through `sh -c`, and in one line: the user's own shell may be any.
    command = shlex.join(["sh", "-c", _AS_ROOT, "sh", str(patience_seconds)])
    ran = shell.run(command, input=script(), timeout=_LIMIT_SECONDS + patience_seconds)
    try:
        return parse(ran.stdout)
    except Transient as error:
        said = visible(decoded(ran.stderr).strip().rpartition("\n")[2])
        why = f"{error.what} (it ended with {ran.status}" + (f": {cut(said, 200)})" if said else ")")
        raise Transient(why) from error


@cache
def script() -> bytes:
    """The script that runs there."""
    return resources.files(__package__).joinpath("inventory.sh").read_bytes()
