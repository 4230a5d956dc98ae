"""A `Tester` that tests nothing: for the tests of the loop, and for measuring it without instances."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.build.smoke.connection import CANCELLED
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.events import Listener, Testing
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.ports.tester import Tested, TestRequest

STEPS = ("waiting for SSH", "taking the inventory")
PASSED = SmokeTestResult(status="passed", tests=7, seconds=0)
NOTHING_INSIDE = Inventory(
    os=OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
    kernel="6.1.0-0-simulated",
    packages=(),
    services=(),
    ports=(),
    users=(),
    suid=(),
)


@dataclass
class SimulatedTester:
    """Answers at once, with what was planned for the image; else it passed, with nothing inside.

    An image in `failures` raises that error. `inventory` is what is inside a build. `during` is called in the middle of
    each test, where a test of the loop may wait for, or cause, whatever happens then.
    """

    results: Mapping[str, SmokeTestResult] = field(default_factory=dict)
    failures: Mapping[str, ReconcilerError] = field(default_factory=dict)
    inventory: Callable[[TestRequest], Inventory | None] = lambda _: NOTHING_INSIDE
    tail: tuple[str, ...] = ()
    during: Callable[[TestRequest], None] | None = None
    requests: list[TestRequest] = field(default_factory=list)
    """Every request, in the order in which they came."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def test(self, request: TestRequest, *, listener: Listener, cancelled: threading.Event) -> Tested:
        """Test nothing; see `Tester.test`."""
        with self._lock:
            self.requests.append(request)
        listener(Testing(request.image, STEPS[0]))
        if self.during is not None:
            self.during(request)
        if cancelled.is_set():
            raise Terminal(CANCELLED)
        if request.image in self.failures:
            raise self.failures[request.image]
        listener(Testing(request.image, STEPS[1]))
        result = self.results.get(request.image, PASSED)
        tail = self.tail if result.status == "failed" else ()
        return Tested(result, self.inventory(request), request.log, tail)
