"""What the controller asks for to test a booted image, and gets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.model.events import Listener
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import SmokeTestResult


@dataclass(frozen=True)
class TestRequest:
    """One test of one booted image.

    Args:
        image: Its name.
        build_id: The build that was booted.
        address: Where SSH answers, on `port`.
        user: Who logs in, with `private_key`.
        suite: The image's own tests, a file or folder in the export of the commit; None where it has none.
        suite_name: The same, from the repository's root: what failures are named by.
        timeout: Seconds for all of it, from now on.
        folder: For what is gone after the test.
        log: The output that is kept, redacted. JUnit is written beside it, with the suffix `.xml`.
        alive: Whether the instance still runs, in the cloud's words; asked when the connection is lost.
    """

    __test__ = False  # pytest would take its name for a test's

    image: str
    build_id: str
    address: str
    user: str
    private_key: Path
    suite: Path | None
    suite_name: str
    timeout: float
    folder: Path
    log: Path
    alive: Callable[[], str]
    port: int = 22


@dataclass(frozen=True)
class Tested:
    """What came of a test. `result` never says `skipped`. `inventory` is None where SSH never came.

    `tail` holds the last lines of the output of a failed test, redacted.
    """

    result: SmokeTestResult
    inventory: Inventory | None
    log: Path
    tail: tuple[str, ...] = ()


class Tester(Protocol):
    """Whoever tests. Called from several threads at once, for different images."""

    def test(self, request: TestRequest, *, listener: Listener, cancelled: threading.Event) -> Tested:
        """Wait for SSH, run the once-over and the suite, take the inventory.

        What the image does wrong is a failed result, never an exception: SSH that never comes, a host key that
        changes, an instance that dies, a suite that hangs, does not parse or holds no test.

        Raises:
            Terminal: the test could not be run here (no OpenSSH client, a full disk), or was cancelled.
        """
