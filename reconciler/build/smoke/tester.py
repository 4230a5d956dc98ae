"""Tests a booted image over SSH: from the first connection to the inventory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from reconciler.build.output import logged, new_log
from reconciler.build.process import Clock
from reconciler.build.secrets import Redactor, redactor
from reconciler.build.smoke.client import CONNECT_SECONDS, ClientConfig, Refusal, last_line, written
from reconciler.build.smoke.connection import CANCELLED, Connection, Login, client, closing
from reconciler.build.smoke.exchange import CommandTimedOut, Ran, Shell
from reconciler.build.smoke.judge import ONCE_OVER, Judged, document, judge_once_over, judge_suite, once_over_step
from reconciler.build.smoke.pytest_run import PytestRun, bare, pytest_command, run_pytest
from reconciler.build.smoke.waiting import Watch, gone, wait_for_ssh
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.events import Listener, Testing
from reconciler.model.inventory import Inventory
from reconciler.model.kind import SSH
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.text import visible
from reconciler.ports.tester import Tested, TestRequest

# What one test works with, from the first connection on.

_KEYGEN_SECONDS = 30


@dataclass(frozen=True)
class Session:
    """One test of one instance. `until` is when its time is over, by `clock`."""

    request: TestRequest
    config: ClientConfig
    connection: Connection
    environment: Mapping[str, str]
    log: TextIO
    redact: Redactor
    listener: Listener
    cancelled: threading.Event
    clock: Clock
    until: float

    @property
    def left(self) -> float:
        """Seconds that are left, at least a moment."""
        return max(self.until - self.clock(), 0.1)

    def tell(self, what: str) -> None:
        """Say what is being done."""
        self.listener(Testing(self.request.image, what))

    def run(self, target: Path, *, name: str, shown: Callable[[str], str]) -> PytestRun:
        """Run the tests of a file or folder. `name` is for files and the log; `shown` names a test for people."""
        self.log.write(f"--- {name} ---\n")
        self.log.flush()
        folder = self.request.folder.absolute()
        command = pytest_command(
            target.absolute(), self.config, folder=folder, environment=self._for_tests(), limit=self.left,
            reached=self.request.reached,
        )  # fmt: skip
        watch = Watch(self.connection, alive=self.request.alive, cancelled=self.cancelled, clock=self.clock)
        return run_pytest(
            command,
            name=name,
            folder=folder,
            log=self.log,
            redact=self.redact,
            watch=watch,
            timeout=self.left,
            clock=self.clock,
            on_test=lambda test: self.tell(shown(test)),
        )

    @property
    def way(self) -> str:
        """The name that people have for the way to the instance."""
        reached = self.request.reached
        return f"`{' '.join(reached.command[:2])}`" if reached is not None else SSH

    def _for_tests(self) -> dict[str, str]:
        by_ssh = self.request.reached is None
        return {
            **self.environment,
            "RECONCILER_IMAGE": self.request.image,
            "RECONCILER_BUILD": self.request.build_id,
            "RECONCILER_PUBLIC_KEY": _public_key(self.config.key, self.environment) if by_ssh else "",
            "RECONCILER_HOST_KEY": _host_key(self.config.known_hosts) if by_ssh else "",
            "RECONCILER_PACKER_KEYS": " ".join(sorted(self.request.packer_keys)),
            "RECONCILER_OWN_START": self.request.reached.own_start if self.request.reached is not None else "",
        }


def _public_key(private: Path, environment: Mapping[str, str]) -> str:
    arguments = [client(environment, program="ssh-keygen"), "-y", "-P", "", "-f", str(private)]
    try:
        done = subprocess.run(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_KEYGEN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Terminal(f"`ssh-keygen` did not answer within {_KEYGEN_SECONDS} s") from error
    if done.returncode != 0:
        said = last_line(done.stderr.decode(errors="replace"))
        raise Terminal(f"the key to the instance cannot be used: {said}")
    return done.stdout.decode().strip()


def _host_key(known_hosts: Path) -> str:
    """The key that the instance answered with, in base64: the last word but for a comment of what ssh noted."""
    lines = known_hosts.read_text(encoding="utf-8").splitlines()
    return lines[-1].split()[2] if lines else ""


# Takes an instance's inventory within the time that is left.

TakeInventory = Callable[[Shell], Inventory]

LEAST_SECONDS = 60.0
"""What the inventory gets even where the tests took all their time: it is wanted most of an image that failed."""


def take_stock(session: Session, take_inventory: TakeInventory) -> tuple[Inventory | None, str | None]:
    """The inventory, or None with one line that says why there is none.

    Raises:
        Terminal: cancelled.
    """
    session.tell("taking the inventory")
    until = max(session.until, session.clock() + LEAST_SECONDS)
    try:
        found = take_inventory(_InTime(session.connection, until, session.clock))
        # What is not reached by SSH runs on this machine's kernel, which is nothing of the image.
        return (found if session.request.reached is None else replace(found, kernel="")), None
    except ReconcilerError as error:
        if session.cancelled.is_set():
            raise Terminal(CANCELLED) from error
        session.log.write("".join(f"{logged(line)}\n" for line in session.redact(str(error)).split("\n")))
        if session.connection.lost and (state := gone(session.request.alive)) is not None:
            return None, f"the instance was {state} while its inventory was taken"
        return None, f"the inventory could not be taken: {session.redact(error.what)}"


@dataclass(frozen=True)
class _InTime:
    """A shell whose commands all end by a certain time."""

    shell: Shell
    until: float
    clock: Clock

    def run(self, command: str, *, input: bytes = b"", timeout: float) -> Ran:  # noqa: A002 - as Shell has it
        left = self.until - self.clock()
        if left <= 0:
            raise CommandTimedOut("no time was left for it")
        return self.shell.run(command, input=input, timeout=min(timeout, left))


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
        if request.reached is None:
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
        session.tell(f"waiting for {session.way}")
        why = wait_for_ssh(
            lambda: _attempt(session),
            alive=request.alive,
            timeout=request.timeout,
            clock=self.clock,
            pause=session.cancelled.wait,
            way=session.way,
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
            keys: tuple[str, ...] = ()
            if request.reached is not None:
                environment |= request.reached.environment
                where = request.reached.host
            else:
                where = request.address if request.port == 22 else f"{request.address} port {request.port}"
                keys = (request.private_key.read_text(encoding="utf-8"),)
            connection = Connection(
                config,
                Login(where=where, user=request.user),
                environment=environment,
                cancelled=cancelled,
                clock=self.clock,
                reached=request.reached,
            )
            yield Session(
                request=request,
                config=config,
                connection=parts.enter_context(closing(connection)),
                environment=environment,
                log=parts.enter_context(new_log(request.log)),
                redact=redactor((*keys, *request.secrets)),
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
    run = session.run(_ONCE_OVER_FILE, name=ONCE_OVER, shown=once_over_step)
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
