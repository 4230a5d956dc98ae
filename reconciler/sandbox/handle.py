"""A running sandbox, as its users hold it, and starting one in a process of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import reconciler
from reconciler.model.errors import UserError
from reconciler.sandbox import folder, system
from reconciler.sandbox.mmdebstrap import Tell

# A running sandbox, as its users hold it: what to export, and the levers of its control endpoint.

REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1")
_STOP_SECONDS = 20
_LOOPBACK = "http://127.0.0.1:"
# Straight to loopback, whatever proxy the caller's environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox.

    `environment` is what a client exports to be inside; `endpoint` is for those that want AWS_ENDPOINT_URL instead.
    Both hold the sandbox's token: whoever has it may be root of this machine.
    """

    directory: Path
    pid: int
    environment: dict[str, str] = field(repr=False)
    endpoint: str = field(repr=False)
    control: str
    token: str = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def publish(
        self,
        name: str,
        *,
        creation_date: datetime | None = None,
        run: str | None = None,
        regions: Sequence[str] = REGIONS,
    ) -> dict[str, str]:
        """Publish an upstream image in every region; return its id in each of `regions`.

        The name says who publishes it (`debian-12-amd64-…`). Its SSM parameter follows, if it is the newest.
        `creation_date` defaults to six in the morning, UTC, of the date in the name. `run` is a shell command that root
        runs in the image before it is published: what upstream changed.

        Raises:
            UserError: nobody publishes under such a name, it is taken, or the command fails.
        """
        created = creation_date.isoformat() if creation_date else None
        answer: dict[str, str] = self._pull(
            "/publish", {"name": name, "creation_date": created, "run": run, "regions": list(regions)}
        )
        return answer

    def inject(
        self,
        *,
        action: str,
        region: str | None = None,
        code: str | None = None,
        status: int | None = None,
        times: int = 1,
        delay: float = 0.0,
        after: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> None:
        """Disturb the next `times` calls of `action`: fail with `code`, or come `delay` seconds late, or both.

        With `after` the call takes effect, and only its answer is the error. With `where` only calls with these
        parameters are meant: there is no room for `{"InstanceType": "t3.micro"}`, or in `{"SubnetId": "subnet-…"}`.
        """
        self._pull(
            "/inject",
            {
                "action": action,
                "region": region,
                "code": code,
                "status": status,
                "times": times,
                "delay": delay,
                "after": after,
                "where": dict(where or {}),
            },
        )

    def heal(self) -> None:
        """Forget every fault that has not struck yet."""
        self._pull("/heal")

    def kill(self, instance_id: str) -> None:
        """Let a running instance die, as when its hardware fails: its connections end, and EC2 has it terminated.

        Raises:
            UserError: no such instance runs.
        """
        self._pull("/kill", {"instance": instance_id})

    def change_host_key(self, instance_id: str) -> None:
        """End a running instance's connections, and show those to come another host key, as an impostor would.

        Raises:
            UserError: no such instance runs.
        """
        self._pull("/change-host-key", {"instance": instance_id})

    def fail_refresh(self, group: str) -> None:
        """Let what replaces the instances of an Auto Scaling group fail, as when new ones do not become healthy.

        Raises:
            UserError: no instance refresh of a group of this name is under way.
        """
        self._pull("/fail-refresh", {"group": group})

    def lapse(self, seconds: float) -> None:
        """Let time pass for instance refreshes and for the Recycle Bin.

        A refresh that waits goes on, one that has ended did so earlier, and what is in the bin came there earlier.
        """
        self._pull("/lapse", {"seconds": seconds})

    def enforce_iam(self, *, enforced: bool = True) -> None:
        """Ask IAM about every call: only keys that IAM made are let in, and only to what their policies allow.

        The keys in `environment` are none of these. So make users first; `enforced=False` lets everybody in again.
        """
        self._pull("/iam", {"enforced": enforced})

    def calls(self) -> dict[tuple[str, str, str], int]:
        """How often each (service, action, region) was called since the start, or since `forget_calls`."""
        counts: list[Any] = self._pull("/calls")
        return {(call["service"], call["action"], call["region"]): count for call, count in counts}

    def forget_calls(self) -> None:
        """Count calls from zero again."""
        self._pull("/forget-calls")

    def layers(self, image_id: str) -> tuple[str, ...]:
        """The names of an image's file layers, oldest first; none if there is no such image."""
        return tuple(self._pull("/layers", {"image": image_id}))

    def stop(self) -> None:
        """End the sandbox and all that runs in it; return when it is gone. A gone one is no error.

        Raises:
            UserError: it does not end.
        """
        try:
            watch = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(watch, signal.SIGTERM)
            if self.process is not None:
                self.process.wait(timeout=_STOP_SECONDS)
            else:
                _wait(watch)
        except (subprocess.TimeoutExpired, TimeoutError) as error:
            raise UserError(
                f"the sandbox (process {self.pid}) does not end", hint=f"kill -9 {self.pid}: it leaves nothing behind"
            ) from error
        except ProcessLookupError:
            return
        finally:
            os.close(watch)

    def _pull(self, lever: str, asked: dict[str, object] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  our own loopback URL
            f"{self.control}{lever}",
            data=json.dumps(asked or {}).encode(),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        try:
            with _opener.open(request) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                if error.code != HTTPStatus.BAD_REQUEST:
                    raise
                told = json.load(error)
            raise UserError(told["what"], hint=told["hint"]) from error


def _wait(watch: int) -> None:
    ready, _, _ = select.select([watch], [], [], _STOP_SECONDS)
    if not ready:
        raise TimeoutError


# Starts a sandbox in a process of its own, and finds one that runs.
#
# Light to import: neither moto nor asyncssh is loaded here.

READY = "sandbox.json"
LOG = "sandbox.log"
_MODULE, _FOLDER = b"reconciler.sandbox", b"--directory"
_POLL_SECONDS = 0.02
_MOST_OF_A_FAILURE = 64 * 1024


def _say_nothing(_line: str) -> None:
    """For callers that nobody watches."""


def start(directory: Path, *, timeout: float = 30, tell: Tell = _say_nothing) -> Sandbox:
    """Start a sandbox that keeps its files in `directory`; return when it answers. It outlives its launcher.

    The first one of a user makes the Debian that instances stand on (see `system`), and `tell` hears of that.

    Raises:
        UserError: it can't run here (no root, no port 22, no overlay, no Debian), one runs there already,
            its folder can't be written, or it is not ready within `timeout` seconds after that.
    """
    directory = _absolute(directory)
    with folder.told_plainly(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with folder.held(directory) as own:
        if (with_one := _alive(directory)) is not None:
            raise UserError(
                f"a sandbox runs in {directory} already (process {with_one.pid})", hint="stop it, or use it"
            )
        if own is None:
            if (lost := _run_in(directory)) is not None:
                raise _without_handle(directory, lost)
            raise UserError(
                f"another sandbox is starting in {directory}, or ending",
                hint="wait for it, or name another folder: --folder",
            )
        with folder.told_plainly(directory):
            (directory / READY).unlink(missing_ok=True)
        with system.held(tell) as (root, lock), folder.new_log(directory / LOG) as log, folder.in_memory() as failure:
            process = subprocess.Popen(
                [
                    # -P: whatever is called as a module of ours in the folder where it is started is none. It is root.
                    *(sys.executable, "-P", "-m", _MODULE.decode(), _FOLDER.decode(), str(directory)),
                    *("--system", str(root), "--failure", str(failure)),
                ],
                env=_with_ours(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[own, lock, failure],  # held for as long as it runs
            )
            try:
                ready = _until_ready(process, directory, failure=failure, timeout=timeout)
            except BaseException:
                _end(process)
                raise
    return replace(_sandbox(directory, ready), process=process)


def _until_ready(process: subprocess.Popen[bytes], directory: Path, *, failure: int, timeout: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while (ready := folder.read(directory / READY)) is None:
        if process.poll() is not None:
            raise _failure(directory, failure)
        if time.monotonic() > deadline:
            raise UserError(f"the sandbox was not ready in {timeout:g} seconds", hint=f"see {directory / LOG}")
        time.sleep(_POLL_SECONDS)
    return ready


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a sandbox that nobody is to have: it takes apart what it has, or the kernel does."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        process.kill()
        process.wait()


def _with_ours(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python that finds this package as this one has, installed or not."""
    path = [inherited.get("PYTHONPATH", ""), str(Path(reconciler.__file__).parents[1])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def attach(directory: Path) -> Sandbox:
    """Return the sandbox that runs in `directory`.

    Raises:
        UserError: none runs there, or one that lost its file.
    """
    running = _alive(_absolute(directory))
    if running is None:
        if (lost := _run_in(_absolute(directory))) is not None:
            raise _without_handle(directory, lost)
        raise UserError(f"no sandbox runs in {directory}", hint="start one: reconciler sandbox start")
    return running


def _without_handle(directory: Path, pid: int) -> UserError:
    return UserError(
        f"a sandbox runs in {directory} (process {pid}), but its {READY} is damaged or not ready",
        hint=f"end it with `kill {pid}`, and start one anew; it takes apart what it has",
    )


@contextmanager
def running(directory: Path, *, timeout: float = 30, tell: Tell = _say_nothing) -> Iterator[Sandbox]:
    """Run a sandbox for the length of a `with` block; otherwise as `start`."""
    sandbox = start(directory, timeout=timeout, tell=tell)
    try:
        yield sandbox
    finally:
        sandbox.stop()


def _absolute(directory: Path) -> Path:
    """A folder by its whole path. Raises UserError where the shell is in a folder that is gone."""
    try:
        return directory.absolute()
    except FileNotFoundError as error:
        raise UserError("the folder that this shell is in is gone", hint="`cd` into one that is there") from error


def _alive(directory: Path) -> Sandbox | None:
    ready = folder.read(directory / READY)
    if ready is None:
        return None
    try:
        sandbox = _sandbox(directory, ready)
        if not folder.is_owners(directory / READY) or not sandbox.control.startswith(_LOOPBACK):
            return None
        if not _is_run(sandbox.pid, directory):
            return None
        sandbox.calls()
    except (OSError, KeyError):
        return None  # its file is a leftover
    return sandbox


def _run_in(directory: Path) -> int | None:
    """The process that this user runs as a sandbox of a folder, or None: also of one that lost its file."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and _is_run(process.name, directory):
                return int(process.name)
    return None


def _is_run(pid: object, directory: Path) -> bool:
    """Whether this user runs the process as a sandbox of that folder: of one that is gone others may take the ports.

    Whoever answers there would be told its token, and have his names exported by whoever evaluates them.
    """
    process = Path("/proc", str(pid))
    words = (process / "cmdline").read_bytes().split(b"\0")
    if process.stat().st_uid != os.geteuid() or not {_MODULE, _FOLDER} <= set(words[:-1]):
        return False
    return Path(os.fsdecode(words[words.index(_FOLDER) + 1])).samefile(directory)


def _sandbox(directory: Path, ready: dict[str, Any]) -> Sandbox:
    return Sandbox(
        directory=directory,
        pid=ready["pid"],
        environment=ready["environment"],
        endpoint=ready["endpoint"],
        control=ready["control"],
        token=ready["token"],
    )


def _failure(directory: Path, failure: int) -> UserError:
    if told := os.pread(failure, _MOST_OF_A_FAILURE, 0):
        said = json.loads(told)
        return UserError(said["what"], hint=said["hint"])
    last = (directory / LOG).read_text(errors="replace").strip().splitlines()[-1:]
    return UserError(
        f"the sandbox ended before it was ready: {last[0] if last else 'it said nothing'}",
        hint=f"see {directory / LOG}",
    )
