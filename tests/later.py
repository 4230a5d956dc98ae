"""`python -m tests.later SECONDS ARGUMENT…`: the `reconciler` command, so much later, in its own time and in AWS's.

What goes away waits for a day at least, and no test does. Both clocks go on by as much: a run compares them, and one
that is hours from the other stops whatever takes anything away.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from reconciler.aws.session import Clients
from reconciler.cli import adapters, main, workspace
from reconciler.registries.ec2 import images, registry


def command(arguments: list[str]) -> None:
    """Be the command. Ends the process."""
    by = timedelta(seconds=float(arguments[0]))
    now, told = workspace.now, images.server_time

    def later() -> datetime:
        return now() + by

    def told_later(clients: Clients, location: str) -> datetime | None:
        answer = told(clients, location)
        return answer + by if answer is not None else None

    # Where they are looked up when they are called.
    for module, name, instead in (
        (workspace, "now", later), (adapters, "now", later), (registry, "server_time", told_later),
    ):  # fmt: skip
        setattr(module, name, instead)
    sys.argv = ["reconciler", *arguments[1:]]
    main.run()


if __name__ == "__main__":
    command(sys.argv[1:])
