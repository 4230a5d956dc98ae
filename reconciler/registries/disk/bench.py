"""The bench of disks: one boots in qemu, on top of a layer that is thrown away, and is reached through a loopback port.

Who may log in is told it as a cloud tells its instances: by cloud-init's NoCloud source, whose address stands in the
machine's serial number (cloud-init, "NoCloud": `ds=nocloud;s=…`; before 23.3 only `nocloud-net` may be an address,
which every later one takes as well). A disk without cloud-init lets nobody in by that.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reconciler.model.errors import Terminal
from reconciler.ports.bench import BootRequest, Instance, Instances
from reconciler.ports.registry import Opening
from reconciler.registries.disk.accelerator import MACHINE, QEMU
from reconciler.registries.disk.formats import overlay, program
from reconciler.registries.disk.registry import DiskRegistry
from reconciler.registries.machines import SshKey, last_lines, login_for_cloud_init, new_key, write_private

_MEMORY, _PROCESSORS = "1024", "2"
_LOOPBACK = "127.0.0.1"
_HOST = "10.0.2.2"
"""What a machine calls this one in qemu's user network."""
_CONSOLE = 1 << 16  # bytes
_MOST_WRITTEN = 16 << 30
"""Bytes of a file that a machine may make grow on this one: its layer, and what it says at its console."""


@dataclass
class _Machine:
    """One that runs: its process, its folder, and who tells it of its key."""

    process: subprocess.Popen[bytes]
    folder: Path
    seed: ThreadingHTTPServer

    def end(self) -> None:
        """End it, and remove what was made for it. Idempotent."""
        self.process.kill()
        self.process.wait()
        _remove(self.folder, self.seed)


class Machines:
    """The disks of one fleet as machines on this one. Implements `Instances`; none outlives the process."""

    def __init__(self, disks: DiskRegistry) -> None:
        """Take where the disks are."""
        self._disks = disks
        self._running: dict[str, _Machine] = {}

    def boot(self, request: BootRequest) -> Instance:
        """Start a machine. See `Instances.boot`. That it runs says nothing of whether its disk boots."""
        disk = self._disks.of(request.artifact.location).path(request.artifact.location, request.artifact.id)
        key = new_key()
        write_private(key, request.private_key)
        program(QEMU)
        accelerator = MACHINE.best()
        machine, port = self._start(disk, request, key, accelerator=accelerator)
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
            with (machine.folder / "console").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _CONSOLE))
                return last_lines(file.read(_CONSOLE).decode("utf-8", "replace"))
        except OSError:
            return ()

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """A machine ends with this process. See `Instances.keep`."""
        del until
        raise Terminal(f"the machine {instance.id} can't stay: it ends with this run")

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
        """Nothing outlives its run. See `Instances.sweep`."""
        del location, now
        return ()

    def _start(self, disk: Path, request: BootRequest, key: SshKey, *, accelerator: str) -> tuple[_Machine, int]:
        folder = Path(tempfile.mkdtemp(prefix="rec-disk-"))
        seed = _seed(request, key)
        try:
            layer, port = folder / "layer.qcow2", _free_port()
            overlay(disk, layer)
            with (folder / "errors").open("wb") as errors:
                process = subprocess.Popen(
                    _command(layer, folder / "console", port=port, seed=seed.server_port, accelerator=accelerator),
                    stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                )  # fmt: skip
        except BaseException:
            _remove(folder, seed)
            raise
        return _Machine(process, folder, seed), port


def _remove(folder: Path, seed: ThreadingHTTPServer) -> None:
    seed.shutdown()
    seed.server_close()
    shutil.rmtree(folder, ignore_errors=True)


def _command(layer: Path, console: Path, *, port: int, seed: int, accelerator: str) -> list[str]:
    return [
        program("prlimit"), f"--fsize={_MOST_WRITTEN}",
        program("setpriv"), "--pdeathsig", "KILL",  # it ends with the thread that began it, however that ends
        program(QEMU), "-nodefaults", "-no-reboot", "-display", "none", "-accel", accelerator,
        "-m", _MEMORY, "-smp", _PROCESSORS, "-serial", f"file:{console}",
        "-drive", f"file={layer},format=qcow2,if=virtio", "-device", "virtio-rng-pci",
        "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:{_LOOPBACK}:{port}-:22",
        "-smbios", f"type=1,serial=ds=nocloud-net;s=http://{_HOST}:{seed}/",
    ]  # fmt: skip


def _seed(request: BootRequest, key: SshKey) -> ThreadingHTTPServer:
    """Serve on loopback what cloud-init asks for: an id that is this boot's alone, and who may log in."""
    files = {
        "/meta-data": json.dumps({"instance-id": f"{request.name}-{key.mark}", "local-hostname": "smoke-test"}),
        "/user-data": login_for_cloud_init(request.user, key),
        "/vendor-data": "",
        "/network-config": "",
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write((content or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server has it
            """Nobody reads it."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Nobody reads it: a machine that breaks off its question shows in whether it lets anybody in."""

    server = Server((_LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((_LOOPBACK, 0))
        return int(asked.getsockname()[1])


def open_bench(opening: Opening) -> Instances:
    """The bench of a fleet's disks."""
    return Machines(DiskRegistry(opening))
