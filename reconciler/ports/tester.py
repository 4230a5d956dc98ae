"""What the controller asks for to test a booted image, and gets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from reconciler.model.events import Listener
from reconciler.model.inventory import Inventory
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.ports.bench import Reached

Hygiene = Literal["warn", "fail"]


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
        alive: Whether the instance still runs, in the cloud's words: `running`, `terminated`. Asked now and then while
            it does not answer, and when the connection is lost. A ReconcilerError counts as "not known".
        port: Of its SSH.
        hygiene: Whether what the build left behind is a finding or a failure.
        packer_keys: Fingerprints (`SHA256:…`) of the keys whose private halves Packer had, and threw away. They stay
            in an image unless it is asked to remove them, and let nobody in.
        reached: How it is reached where not by SSH; then there is neither address nor key.
        secrets: Values that must not be shown: what the build was given may be in the image, and in a test's output.
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
    hygiene: Hygiene = "warn"
    packer_keys: frozenset[str] = frozenset()
    reached: Reached | None = None
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Tested:
    """What came of a test.

    `result` never says `skipped`. Its `seconds` are from the call to the end of the last test; `why` is what no single
    test can say: SSH that never came, an instance that was lost, a suite that holds no test, an inventory that could
    not be taken. `inventory` is None where SSH never came, and where it could not be taken. `tail` holds the last lines
    of the output of the first test that failed, redacted.
    """

    __test__ = False  # pytest would take its name for a test's

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
            UserError: there is no OpenSSH client here.
            Terminal: the test could not be run here (a full disk, an unreadable key), or was cancelled.
        """
