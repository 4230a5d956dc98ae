"""The sandbox's own process: puts everything together, waits to be told to end, takes everything apart."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from reconciler.model.errors import UserError
from reconciler.sandbox import kernel
from reconciler.sandbox.folder import told_plainly
from reconciler.sandbox.handle import READY

_ROOM = 64 * 1024  # of certificates and what else it writes

# Read by moto when it is imported.
_MOTO_SETTINGS = {
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",  # 1,300 images that nobody here asks for
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
}


_LOOK = 2.0
"""Seconds between two looks whether its folder is still there."""


def main() -> int:
    """Run a sandbox until SIGTERM or SIGINT; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reconciler.sandbox", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where it says what to export, and keeps files")
    parser.add_argument("--system", type=Path, required=True, help="the root that every instance stands on")
    parser.add_argument("--failure", type=int, help="the open file where it says why it can't start")
    arguments = parser.parse_args()
    os.umask(0o022)  # what images hold is for every user in them, whatever the caller's files are
    directory: Path = arguments.directory.absolute()
    logging.basicConfig(level=logging.WARNING)
    # Client errors that tests provoke, and one line per call, are no news.
    for noisy in ("asyncssh", "werkzeug"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    try:
        kernel.own_mounts()
        kernel.make_findable()
        kernel.require()
        os.environ.update(_MOTO_SETTINGS)
        asyncio.run(_serve(directory, system=arguments.system))
    except UserError as error:
        return _failed(error, arguments.failure)
    except (OSError, subprocess.CalledProcessError):
        # Of a full disk it is told by whoever meets it first, in many ways, and no log says it.
        try:
            with told_plainly(directory), tempfile.TemporaryFile(dir=directory) as probe:
                probe.write(bytes(_ROOM))
        except UserError as error:
            return _failed(error, arguments.failure)
        raise
    return 0


def _failed(error: UserError, told: int | None) -> int:
    """Say why the sandbox can't start: in its log, and to its launcher."""
    if told is not None:
        os.pwrite(told, json.dumps({"what": error.what, "hint": list(error.hint)}).encode(), 0)
    with contextlib.suppress(OSError):  # the log may be on a disk that is full
        print(error, file=sys.stderr, flush=True)
    return error.exit_code


async def _serve(directory: Path, *, system: Path) -> None:
    # Here, as root and a mount table of one's own come first: they are what most often fails.
    from botocore.loaders import Loader  # noqa: PLC0415  see above

    from reconciler.aws.session import PlainModels  # noqa: PLC0415  see above

    # moto asks for the regions of each service by a session of its own, and would read all endpoints for each.
    Loader.FILE_LOADER_CLASS = PlainModels
    from reconciler.sandbox import assembly  # noqa: PLC0415  imports moto

    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    with ExitStack() as parts:
        ready = await asyncio.to_thread(assembly.assemble, directory, system, loop, parts)
        _write(directory / READY, ready)
        parts.callback((directory / READY).unlink, missing_ok=True)
        await _asked(end, directory / READY)
        # In a thread, as the parts wait for this loop while they end.
        await asyncio.to_thread(parts.close)


async def _asked(end: asyncio.Event, ready: Path) -> None:
    """Wait until the sandbox is to end: also by whoever removes its folder, as nobody could stop it then."""
    while await asyncio.to_thread(ready.exists):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), _LOOK)
            return


def _write(path: Path, content: object) -> None:
    """Write a file that is either whole or not there, and that only its owner can read: the token is in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    draft.replace(path)
