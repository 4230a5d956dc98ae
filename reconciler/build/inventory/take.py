"""Takes the inventory of a booted instance."""

from __future__ import annotations

import shlex
from functools import cache
from importlib import resources

from reconciler.build.inventory.frame import bounded, text
from reconciler.build.inventory.parse import parse
from reconciler.build.shell import Shell
from reconciler.model.errors import Transient
from reconciler.model.inventory import Inventory
from reconciler.model.printable import visible

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
        said = visible(text(ran.stderr).strip().rpartition("\n")[2])
        why = f"{error.what} (it ended with {ran.status}" + (f": {bounded(said, most=200)})" if said else ")")
        raise Transient(why) from error


@cache
def script() -> bytes:
    """The script that runs there."""
    return resources.files(__package__).joinpath("inventory.sh").read_bytes()
