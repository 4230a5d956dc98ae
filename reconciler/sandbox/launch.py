"""Starts a sandbox in a process of its own, and finds one that runs.

Light to import: neither moto nor asyncssh is loaded here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from reconciler.model.errors import UserError
from reconciler.sandbox import system
from reconciler.sandbox.handle import Sandbox
from reconciler.sandbox.system import Tell

READY = "sandbox.json"
FAILED = "failure.json"
LOG = "sandbox.log"
_POLL_SECONDS = 0.02


def _say_nothing(_line: str) -> None:
    """For callers that nobody watches."""


def start(directory: Path, *, timeout: float = 30, tell: Tell = _say_nothing) -> Sandbox:
    """Start a sandbox that keeps its files in `directory`; return when it answers. It outlives its launcher.

    The first one of a user makes the Debian that instances stand on (see `system`), and `tell` hears of that.

    Raises:
        UserError: it can't run here (no root, no port 22, no overlay, no Debian to be had), one runs there already,
            its folder can't be written, or it is not ready within `timeout` seconds after that.
    """
    directory = directory.absolute()
    with _told_plainly(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if _read(directory / READY) is not None:
        with_one = _alive(directory)
        if with_one is not None:
            raise UserError(
                f"a sandbox runs in {directory} already (process {with_one.pid})", mend="stop it, or use it"
            )
    with _told_plainly(directory):
        for stale in (READY, FAILED):
            (directory / stale).unlink(missing_ok=True)
    with system.held(tell) as (root, lock), _new_log(directory) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler.sandbox", "--directory", str(directory), "--system", str(root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],  # held for as long as it runs
        )
    deadline = time.monotonic() + timeout
    while (ready := _read(directory / READY)) is None:
        if process.poll() is not None:
            raise _failure(directory)
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise UserError(f"the sandbox was not ready in {timeout:g} seconds", mend=f"see {directory / LOG}")
        time.sleep(_POLL_SECONDS)
    return replace(_sandbox(directory, ready), process=process)


def attach(directory: Path) -> Sandbox:
    """Return the sandbox that runs in `directory`.

    Raises:
        UserError: none runs there.
    """
    running = _alive(directory.absolute())
    if running is None:
        raise UserError(f"no sandbox runs in {directory}", mend="start one: reconciler sandbox start")
    return running


@contextmanager
def running(directory: Path, *, timeout: float = 30, tell: Tell = _say_nothing) -> Iterator[Sandbox]:
    """Run a sandbox for the length of a `with` block; otherwise as `start`."""
    sandbox = start(directory, timeout=timeout, tell=tell)
    try:
        yield sandbox
    finally:
        sandbox.stop()


@contextmanager
def _told_plainly(directory: Path) -> Iterator[None]:
    """Translate what a file system refuses: no room, no right, or something else in the folder's place."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the sandbox can't keep its files in {directory}: {error.strerror or error}",
            mend="make room there, or name another folder: --folder",
        ) from error


def _new_log(directory: Path) -> BinaryIO:
    """A new log that only its owner can read; an old one is gone."""
    with _told_plainly(directory):
        path = directory / LOG
        path.unlink(missing_ok=True)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _alive(directory: Path) -> Sandbox | None:
    ready = _read(directory / READY)
    if ready is None:
        return None
    try:
        sandbox = _sandbox(directory, ready)
        sandbox.calls()
    except (OSError, KeyError):
        return None  # its file is a leftover
    return sandbox


def _sandbox(directory: Path, ready: dict[str, Any]) -> Sandbox:
    return Sandbox(
        directory=directory,
        pid=ready["pid"],
        environment=ready["environment"],
        endpoint=ready["endpoint"],
        control=ready["control"],
        token=ready["token"],
    )


def _failure(directory: Path) -> UserError:
    told = _read(directory / FAILED)
    if told is not None:
        return UserError(told["what"], mend=told["mend"])
    last = (directory / LOG).read_text(errors="replace").strip().splitlines()[-1:]
    return UserError(f"the sandbox ended before it was ready: {''.join(last)}", mend=f"see {directory / LOG}")


def _read(path: Path) -> dict[str, Any] | None:
    """What was written there, whole; None where there is no such file, or a damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except PermissionError as error:
        raise UserError(f"the sandbox of {path.parent} is another user's", mend="it is root's: use sudo") from error
    return content if isinstance(content, dict) else None
