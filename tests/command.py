"""The `reconciler` command as most tests run it: a fork of a Python that has imported it.

The tests run the command more than a thousand times, and three quarters of what a small one costs is Python that starts
and imports. So each worker has one process that has imported the program, has read what botocore knows of AWS, and has
done nothing yet. A command is a fork of it: a process with the arguments, environment, folder and streams that it is
given, in which `reconciler.cli.main.run` does what it does for a person, down to the exit code.

A fork has no start of its own. So what is about that (streams that are closed, a terminal, a Python or a git that is
not there), and what is told by signals or shares a terminal with whoever began it, runs `python -m reconciler`; so do
the tests of an installed program, of many processes at once, and of the demo.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_LONGEST = 1 << 17
"""Bytes of a request: arguments and an environment."""
_STREAMS = 3
_READ_AT_THE_START = ("GIT_PYTHON_", "LANG", "LC_", "PYTHON")
"""How the variables begin of which Python takes note when it starts, or GitPython when it is imported."""


class Command:
    """The `reconciler` command. Several threads may run it."""

    def __init__(self, asked: socket.socket) -> None:
        """`asked` is where the process that forks takes requests."""
        self._asked = asked
        self._started_with = _of_the_start(os.environ)

    def run(
        self, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as `subprocess.run` does that captures both streams; the environment defaults to ours."""
        seen = dict(os.environ if environment is None else environment)
        command = [sys.executable, "-m", "reconciler", *arguments]
        if _of_the_start(seen) != self._started_with or shutil.which("git", path=seen.get("PATH")) is None:
            return subprocess.run(command, cwd=cwd, env=seen, capture_output=True, text=True, check=False)
        # Whoever watches what tests begin hears of this one, too.
        sys.audit("subprocess.Popen", command[0], command, str(cwd), seen)
        request = json.dumps({"arguments": arguments, "folder": str(cwd), "environment": seen})
        ends = [os.pipe() for _ in range(_STREAMS)]
        with Path(os.devnull).open("rb") as nothing:
            given = [nothing.fileno(), *(write for _, write in ends)]
            socket.send_fds(self._asked, [request.encode()], given)
        for _, write in ends:
            os.close(write)
        out, err, status = _read_to_the_end([read for read, _ in ends])
        assert status, "the process that forks has ended"
        return subprocess.CompletedProcess(command, int(status), out.decode(), err.decode())


@contextmanager
def forking() -> Iterator[Command]:
    """Have the process that forks for the length of a `with` block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # -P: this folder is not where its imports are looked for. And streams of the kind that each command gets.
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    with ours:
        yield Command(ours)
    said = b"".join(process.communicate())
    assert process.returncode == 0, said.decode()


def _of_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    read = {name: value for name, value in environment.items() if name.startswith(_READ_AT_THE_START)}
    read.pop("PYTHONPATH", None)  # all is imported
    return read


def _read_to_the_end(descriptors: list[int]) -> list[bytes]:
    read = dict.fromkeys(descriptors, b"")
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, 1 << 16)
                read[key.fd] += piece
                if not piece:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return list(read.values())


# The process that forks.


def _serve(asked: socket.socket) -> None:
    """Fork for each request; end when there will be none any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ^C at the terminal is for the commands, and pytest ends this one
    _import_everything()
    _read_models()
    gc.collect()
    gc.freeze()  # a fork that collects would copy what all share
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(asked, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is asked:
                    request, given, _, _ = socket.recv_fds(asked, _LONGEST, _STREAMS + 1)
                    if not request:
                        return
                    pid = _fork(json.loads(request), given)
                    for descriptor in given[:_STREAMS]:
                        os.close(descriptor)
                    watch = os.pidfd_open(pid)
                    running[watch] = (pid, given[_STREAMS])
                    selector.register(watch, selectors.EVENT_READ)
                else:
                    selector.unregister(key.fd)
                    _tell_how_it_ended(*running.pop(key.fd))
                    os.close(key.fd)


def _tell_how_it_ended(pid: int, told: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(told)


def _fork(request: dict[str, object], given: list[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _be_the_command(request, given)
    except BaseException:  # noqa: BLE001 - as Python does at its end
        traceback.print_exc()
    os._exit(1)


def _be_the_command(request: dict[str, object], given: list[int]) -> NoReturn:
    from reconciler.cli.main import run  # noqa: PLC0415 - it is imported already, and in this process only

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(given[:_STREAMS]):
        os.dup2(descriptor, number)
    os.closerange(_STREAMS, 1 << 16)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload] # as `run` above wrote it
    time.tzset()
    sys.argv[1:] = request["arguments"]  # type: ignore[call-overload] # as `run` above wrote it
    run()


def _import_everything() -> None:
    import reconciler  # noqa: PLC0415 - not in the tests' process

    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.startswith("reconciler.sandbox.") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("git.cmd")  # by the first that runs git


def _read_models() -> None:
    from botocore.loaders import create_loader  # noqa: PLC0415 - see above

    from reconciler.aws.session import PlainModels  # noqa: PLC0415 - see above

    loader = create_loader()
    loader.file_loader = PlainModels()
    for service in ("ec2", "ssm", "sts"):
        for kind in ("service-2", "endpoint-rule-set-1", "paginators-1"):
            loader.load_service_model(service, kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
