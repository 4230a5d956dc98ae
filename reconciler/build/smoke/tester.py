"""Tests a booted image over SSH: from the first connection to the inventory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.build.lines import logged, new_log
from reconciler.build.process import Clock
from reconciler.build.redact import redactor
from reconciler.build.smoke.client_config import CONNECT_SECONDS, written
from reconciler.build.smoke.connection import CANCELLED, Connection, Party, client, closing
from reconciler.build.smoke.environment import bare
from reconciler.build.smoke.judge import ONCE_OVER, Judged, judge_once_over, judge_suite, once_over_name
from reconciler.build.smoke.junit import document
from reconciler.build.smoke.session import Session
from reconciler.build.smoke.ssh_words import Refusal
from reconciler.build.smoke.stock_taking import TakeInventory, take_stock
from reconciler.build.smoke.waiting import wait_for_ssh
from reconciler.build.tester import Tested, TestRequest
from reconciler.model.errors import Terminal
from reconciler.model.events import Listener
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import SmokeTestResult
from reconciler.model.printable import visible

_ONCE_OVER_FILE = Path(__file__).with_name("once_over.py")


@dataclass(frozen=True)
class SshTester:
    """The `Tester` that logs in and looks.

    Args:
        take_inventory: Asks the instance what is inside, command by command.
        environment: What the tests' own environment is picked from: little more than PATH.
        clock: Monotonic, in seconds.
    """

    take_inventory: TakeInventory
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    clock: Clock = time.monotonic

    def test(self, request: TestRequest, *, listener: Listener, cancelled: threading.Event) -> Tested:
        """Test one image; see `Tester.test`."""
        begun = self.clock()
        client(self.environment)
        until = begun + request.timeout
        try:
            with self._session(request, until=until, listener=listener, cancelled=cancelled) as session:
                found = self._examine(session)
        except OSError as error:
            raise Terminal(f"{request.image} could not be tested here: {error.strerror or error}") from error
        return found.told(request, begun=begun)

    def _examine(self, session: Session) -> _Findings:
        request = session.request
        session.tell("waiting for SSH")
        why = wait_for_ssh(
            lambda: _attempt(session),
            alive=request.alive,
            timeout=request.timeout,
            clock=self.clock,
            pause=session.cancelled.wait,
        )
        if why is not None:
            session.log.write(f"{logged(why)}\n")
            return _Findings((), None, why, self.clock())
        parts = tuple(_tests(session))
        at = self.clock()
        why = next((judged.why for _, judged in parts if judged.why), None)
        if any(judged.lost for _, judged in parts):
            return _Findings(parts, None, why, at)
        refused = session.connection.knock(timeout=2 * CONNECT_SECONDS)
        if refused is not None:
            why = why or f"after the tests: {refused.text}"
        inventory, unread = take_stock(session, self.take_inventory)
        return _Findings(parts, inventory, why or unread, at)

    @contextmanager
    def _session(
        self, request: TestRequest, *, until: float, listener: Listener, cancelled: threading.Event
    ) -> Iterator[Session]:
        with ExitStack() as parts:
            request.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            config = parts.enter_context(written(request))
            environment = bare(self.environment, home=request.folder.absolute())
            where = request.address if request.port == 22 else f"{request.address} port {request.port}"
            connection = Connection(
                config,
                Party(where=where, user=request.user),
                environment=environment,
                cancelled=cancelled,
                clock=self.clock,
            )
            yield Session(
                request=request,
                config=config,
                connection=parts.enter_context(closing(connection)),
                environment=environment,
                log=parts.enter_context(new_log(request.log)),
                redact=redactor((request.private_key.read_text(encoding="utf-8"), *request.secrets)),
                listener=listener,
                cancelled=cancelled,
                clock=self.clock,
                until=until,
            )


@dataclass(frozen=True)
class _Findings:
    """All that came out. `at` is when the last test ended."""

    parts: tuple[tuple[str, Judged], ...]
    inventory: Inventory | None
    why: str | None
    at: float

    def told(self, request: TestRequest, *, begun: float) -> Tested:
        """As the controller wants it; JUnit is written."""
        judged = [part for _, part in self.parts]
        lost = any(part.lost for part in judged)
        # What failed before the instance was lost may have failed for that.
        failed = () if lost else tuple(one for part in judged for one in part.failed)
        result = SmokeTestResult(
            status="failed" if failed or self.why else "passed",
            tests=sum(part.tests for part in judged),
            seconds=int(self.at - begun),
            failed=failed,
            why=self.why,
            findings=tuple(found for part in judged for found in part.findings),
        )
        with new_log(request.log.with_suffix(".xml")) as junit:
            junit.write(document(request.image, self.parts, why=self.why))
        tail = next((part.tail for part in judged if not part.passed and part.tail), ())
        return Tested(result, self.inventory, request.log, tail)


def _attempt(session: Session) -> Refusal | None:
    """Try once to connect.

    Trust begins with the first login that works: a server that answers before cloud-init has made this instance's own
    host keys shows those of the build, and lets nobody in.
    """
    refused = session.connection.open()
    if refused is not None:
        session.config.known_hosts.unlink(missing_ok=True)
    return refused


def _tests(session: Session) -> Iterator[tuple[str, Judged]]:
    """The once-over, then the suite if the instance and some time are left.

    Two runs of pytest, not one: a suite whose conftest.py can't be read, or changes how tests are run, has no say in
    the once-over.
    """
    request = session.request
    run = session.run(_ONCE_OVER_FILE, name=ONCE_OVER, shown=once_over_name)
    _check_cancelled(session)
    judged = judge_once_over(run, timeout=request.timeout, hygiene=request.hygiene)
    yield ONCE_OVER, judged
    if request.suite is None or judged.lost or run.timed_out:
        return
    name = visible(request.suite_name)
    if not request.suite.exists():
        yield name, Judged((), 0, (), f"the suite {name} is not in the commit")
        return
    run = session.run(request.suite, name="suite", shown=lambda test: visible(test.rpartition("::")[2]))
    _check_cancelled(session)
    is_file = request.suite.is_file()
    yield name, judge_suite(run, suite=request.suite_name, is_file=is_file, timeout=request.timeout)


def _check_cancelled(session: Session) -> None:
    if session.cancelled.is_set():
        raise Terminal(CANCELLED)
