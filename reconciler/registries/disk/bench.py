"""The bench of disks: one boots in qemu, on top of a layer that is thrown away, and is reached through a loopback port.

Who may log in is told it as a cloud tells its instances: by cloud-init's NoCloud source, whose address stands in the
machine's serial number (cloud-init, "NoCloud": `ds=nocloud;s=…`; before 23.3 only `nocloud-net` may be an address,
which every later one takes as well). A disk without cloud-init lets nobody in by that.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reconciler.model.errors import Transient
from reconciler.model.text import first_line
from reconciler.ports.bench import BootRequest, EndsWithItsRun, Instance, Instances
from reconciler.ports.registry import Opening
from reconciler.registries.disk.accelerator import MACHINE, QEMU
from reconciler.registries.disk.files import reaching
from reconciler.registries.disk.formats import CONVERTER, Held, held, overlay, program
from reconciler.registries.disk.registry import DiskRegistry
from reconciler.registries.disk.shelf import size_of
from reconciler.registries.machines import SshKey, last_lines, login_for_cloud_init, new_key, write_private

PROGRAMS = (QEMU, CONVERTER, "setpriv", "prlimit")
"""What a boot runs."""
_MEMORY, _PROCESSORS = "1024", "2"
_LOOPBACK = "127.0.0.1"
_HOST = "10.0.2.2"
"""What a machine calls this one in qemu's user network."""
_LOOK = 0.1
"""Seconds between two looks whether the run was interrupted."""
_ANSWERED = 2
"""Lines that qemu has said once it answers: it greets first."""
_HEARD, _HEARD_SECONDS = 16, 10.0
"""Questions to the server of a machine's key that are heard at once, and for how long one may be silent."""
_CONSOLE = 1 << 16  # bytes
_FOLDER = "rec-disk-"
"""What the name of a machine's folder begins with, in the folder for temporary files."""
_FLEET = "reconciler.fleet"
_OWNER = "owner.json"
"""The file in it that says whose it is, and that is locked as long as the machine's run lives."""
_MOST_WRITTEN = 16 << 30
"""Bytes of a file that a machine may make grow on this one: its layer, and what it says at its console."""


@dataclass
class _Machine:
    """One that runs: its process, its folder, and who tells it of its key."""

    process: subprocess.Popen[bytes]
    folder: _Folder
    seed: ThreadingHTTPServer

    def end(self) -> None:
        """End it, and remove what was made for it. Idempotent."""
        with self.process as process:
            process.kill()
        _remove(self.folder, self.seed)


class _Folder:
    """A machine's folder: its layer, its console, and whose it is. `path` is where."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        """Make one, locked until it is removed or this process has ended, however it ends."""
        self.path = Path(tempfile.mkdtemp(prefix=_FOLDER))
        self._owner = (self.path / _OWNER).open("w")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self._owner.write(json.dumps(dict(tags)))
        self._owner.flush()

    def remove(self) -> None:
        """Remove it with what is in it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._owner.close()


class Machines:
    """The disks of one fleet as machines on this one. Implements `Instances`; none outlives the process."""

    def __init__(
        self, disks: DiskRegistry, *, fleet: str, cancelled: threading.Event | None = None, on: str | None = None
    ) -> None:  # fmt: skip
        """Take what ends every wait, and the accelerator to run on: the one that works best here, if absent."""
        self._disks, self._fleet, self._on = disks, fleet, on
        self._cancelled = cancelled or threading.Event()
        self._running: dict[str, _Machine] = {}

    def boot(self, request: BootRequest) -> Instance:
        """Start a machine. See `Instances.boot`. That it runs says nothing of whether its disk boots."""
        with reaching(tempfile.gettempdir()):
            return self._boot(request)

    def _boot(self, request: BootRequest) -> Instance:
        with reaching(request.artifact.location):
            kept = request.artifact
            disk = self._disks.of(kept.location).path(kept.location, kept.id, size=size_of(kept))
        key = new_key()
        write_private(key, request.private_key)
        try:
            machine, port, accelerator = self._started(disk, request, key)
        except BaseException:
            request.private_key.unlink(missing_ok=True)
            raise
        name = f"{machine.process.pid}"
        self._running[name] = machine
        return Instance(
            location=request.artifact.location, id=name, type=accelerator, address=_LOOPBACK, user=request.user,
            private_key=request.private_key, key_name="", security_group="", port=port,
        )  # fmt: skip

    def state(self, instance: Instance) -> str:
        """Whether its process runs. See `Instances.state`."""
        machine = self._running.get(instance.id)
        if machine is None:
            return "missing"
        return "running" if machine.process.poll() is None else "terminated"

    def console(self, instance: Instance) -> tuple[str, ...]:
        """The last lines of its serial console. See `Instances.console`."""
        machine = self._running.get(instance.id)
        if machine is None:
            return ()
        try:
            with (machine.folder.path / "console").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _CONSOLE))
                return last_lines(file.read(_CONSOLE).decode("utf-8", "replace"))
        except OSError:
            return ()

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """A machine ends with this process. See `Instances.keep`."""
        del until
        raise EndsWithItsRun(f"the machine {instance.id} can't stay: it ends with this run")

    def terminate(self, instance: Instance) -> None:
        """End it. See `Instances.terminate`."""
        machine = self._running.pop(instance.id, None)
        if machine is not None:
            machine.end()
        instance.private_key.unlink(missing_ok=True)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """There are no key pairs. See `Instances.public_key`."""
        del location, key_pair, since
        return None

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """Remove the layers of machines of this fleet whose run was killed, wherever their disks are.

        The machines ended with it. Nothing has to be waited for: who holds the lock lives. See `Instances.sweep`.
        """
        del location, now
        return [folder.name for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*") if self._is_left(folder)]

    def _is_left(self, folder: Path) -> bool:
        """Whether a folder was one that a killed run of this fleet left; it is removed then."""
        with suppress(OSError, ValueError):  # another user's, gone meanwhile, or killed before it was written
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                return False
            with (folder / _OWNER).open("r+") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if json.load(owner).get(_FLEET) == self._fleet:
                    shutil.rmtree(folder)
                    return True
        return False

    def _started(self, disk: Path, request: BootRequest, key: SshKey) -> tuple[_Machine, int, str]:
        """A machine that has begun, its port, and what it runs on."""
        program(QEMU)
        accelerator = self._on or MACHINE.best()
        machine: _Machine | None = None
        try:
            with held(disk) as read:  # until qemu has opened it
                machine, port = self._start(read, request, key, accelerator=accelerator)
                self._wait_begun(machine)
        except BaseException:
            if machine is not None:
                machine.end()
            raise
        return machine, port, accelerator

    def _start(self, disk: Held, request: BootRequest, key: SshKey, *, accelerator: str) -> tuple[_Machine, int]:
        folder = _Folder({**request.tags, _FLEET: self._fleet})
        seed = _seed(request, key)
        try:
            layer, port = folder.path / "layer.qcow2", _free_port()
            overlay(disk, layer)
            with (folder.path / "errors").open("wb") as errors:
                process = subprocess.Popen(
                    _command(layer, folder.path / "console", port=port, seed=seed.server_port, accelerator=accelerator),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, pass_fds=disk.descriptors,
                )  # fmt: skip
        except BaseException:
            _remove(folder, seed)
            raise
        return _Machine(process, folder, seed), port

    def _wait_begun(self, machine: _Machine) -> None:
        """Wait until qemu answers whoever would control it, which it does once all is there that the machine needs.

        It greets before that, and refuses the question, as nobody said what he is capable of (QEMU, docs/interop/
        qmp-spec): so it tells of nothing else later on. Raises Transient where it ended instead.
        """
        asked, told = machine.process.stdin, machine.process.stdout
        if asked is None or told is None:
            raise AssertionError("it was begun with pipes")
        with suppress(BrokenPipeError):
            asked.write(b'{"execute": "query-status"}\n')
            asked.flush()
        heard = b""
        with selectors.DefaultSelector() as selector:
            selector.register(told, selectors.EVENT_READ)
            while heard.count(b"\n") < _ANSWERED:
                if self._cancelled.is_set():
                    raise Transient("interrupted while a disk boots")
                if not selector.select(timeout=_LOOK):
                    continue
                part = os.read(told.fileno(), 4096)
                if not part:
                    said = (machine.folder.path / "errors").read_text(errors="replace").strip()
                    raise Transient(f"qemu ended at once: {first_line(said) or 'it said nothing'}")
                heard += part


def _remove(folder: _Folder, seed: ThreadingHTTPServer) -> None:
    seed.shutdown()
    seed.server_close()
    folder.remove()


def _command(layer: Path, console: Path, *, port: int, seed: int, accelerator: str) -> list[str]:
    return [
        program("prlimit"), f"--fsize={_MOST_WRITTEN}",
        program("setpriv"), "--pdeathsig", "KILL",  # it ends with the thread that began it, however that ends
        program(QEMU), "-nodefaults", "-no-reboot", "-display", "none", "-accel", accelerator,
        "-chardev", "stdio,id=control,signal=off", "-mon", "chardev=control,mode=control",
        "-m", _MEMORY, "-smp", _PROCESSORS, "-serial", f"file:{console}",
        "-drive", f"file={layer},format=qcow2,if=virtio", "-device", "virtio-rng-pci",
        "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:{_LOOPBACK}:{port}-:22",
        "-smbios", f"type=1,serial=ds=nocloud-net;s=http://{_HOST}:{seed}/",
    ]  # fmt: skip


def _seed(request: BootRequest, key: SshKey) -> ThreadingHTTPServer:
    """Serve on loopback what cloud-init asks for: an id that is this boot's alone, and who may log in.

    The machine, and whoever is on this one, may ask as often as they like: few are heard at once, and not for long.
    """
    files = {
        "/meta-data": json.dumps({"instance-id": f"{request.name}-{key.mark}", "local-hostname": "smoke-test"}),
        "/user-data": login_for_cloud_init(request.user, key),
        "/vendor-data": "",
        "/network-config": "",
    }

    heard = threading.BoundedSemaphore(_HEARD)

    class Handler(BaseHTTPRequestHandler):
        timeout = _HEARD_SECONDS

        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write((content or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server has it
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # of five, whoever knocks often makes the machine wait for seconds

        def process_request(self, request: Any, client_address: Any) -> None:
            if heard.acquire(blocking=False):
                super().process_request(request, client_address)
            else:
                self.shutdown_request(request)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                heard.release()

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of a request that broke off: whether the machine lets anybody in shows all that matters."""

    server = Server((_LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((_LOOPBACK, 0))
        return int(asked.getsockname()[1])


def open_bench(opening: Opening) -> Instances:
    """The bench of a fleet's disks."""
    return Machines(DiskRegistry(opening), fleet=opening.fleet, cancelled=opening.cancelled)
