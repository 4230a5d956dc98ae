"""What a test takes the place of: the time, and the machine's owner with all that git knows of them."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
# Nothing that is written here has to survive a power cut.
GITCONFIG = """\
[user]
    name = Ada
    email = ada@example.org
[init]
    defaultBranch = main
    # Fourteen examples of hooks, which would be copied with every world.
    templateDir =
[advice]
    detachedHead = false
[core]
    fsync = none
    # What is read back at once from memory is not worth packing tightly.
    compression = 0
    # A push would begin a process that lists the refs of the origin as those of another repository, and one by one.
    alternateRefsCommand = /bin/true
[pack]
    window = 0
    threads = 1
[gc]
    auto = 0
[maintenance]
    auto = false
[receive]
    autogc = false
"""


class Clock:
    """A clock that only goes on when it is read, a second each time, or when it is told to."""

    def __init__(self) -> None:
        self.moment = BEGIN
        self.tick = timedelta(seconds=1)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self.moment += self.tick
            return self.moment

    def advance(self, **by: float) -> None:
        """Let time pass: `advance(hours=1)`."""
        with self._lock:
            self.moment += timedelta(**by)


def clean_environment(home: Path) -> dict[str, str]:
    """An environment in which git knows nothing of the machine's owner.

    The owner's caches are in it: no test makes the sandbox's Debian anew, or installs npm's packages once more.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home.mkdir(parents=True, exist_ok=True)
    home.joinpath(".gitconfig").write_text(GITCONFIG)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_"))}
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": caches, "GIT_CONFIG_NOSYSTEM": "1"}
