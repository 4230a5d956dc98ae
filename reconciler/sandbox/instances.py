"""The running side of EC2 instances: what moto only writes down, this does."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from dataclasses import dataclass

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.responses import EC2Response
from moto.ec2.responses.general import General

from reconciler.model.errors import UserError
from reconciler.model.plain_yaml import load_documents
from reconciler.sandbox.addresses import Addresses
from reconciler.sandbox.answer import SECONDS, TooLong, answer
from reconciler.sandbox.machine import HOST_ENVIRONMENT, Logins, Machine
from reconciler.sandbox.ssh import SecureShell
from reconciler.sandbox.storage import Chain, Storage

# What cloud-init leaves behind when an instance has booted: nothing runs it here, and provisioners wait for that.
#
# As cloud-init 22.4 to 25 write it (`cloudinit/cmd/main.py`, `status_wrapper`, and `cc_final_message`): a folder for
# the instance with `boot-finished`, and two files in /run from which `cloud-init status` reads that all stages are
# done.

_STAGES = ("init-local", "init", "modules-config", "modules-final")
_SOURCE = "DataSourceEc2Local"
_MOST_CONFIG = 256 * 1024

# Inside the instance, as a path of its own may come to lead anywhere. Arguments: the instance's id, and what goes into
# status.json and result.json. An image without cloud-init has none of it.
_RECORD = """
command -v cloud-init >/dev/null || exit 0
umask 022
place=/var/lib/cloud/instances/$1
mkdir -p "$place/sem" /var/lib/cloud/data /run/cloud-init
ln -sfn "$place" /var/lib/cloud/instance
printf '%s\\n' "$1" | tee /run/cloud-init/instance-id >/var/lib/cloud/data/instance-id
printf '%s\\n' "$4: $4" >"$place/datasource"
printf '%s\\n' "$2" | tee /run/cloud-init/status.json >/var/lib/cloud/data/status.json
printf '%s\\n' "$3" | tee /run/cloud-init/result.json >/var/lib/cloud/data/result.json
: >/run/cloud-init/enabled
date -R >"$place/boot-finished"
"""
_CONFIGURATION = """
{ cat /etc/cloud/cloud.cfg; for file in /etc/cloud/cloud.cfg.d/*.cfg; do echo ---; cat "$file"; done; } | head -c "$1"
"""


def record_boot(machine: Machine, instance_id: str) -> None:
    """Leave the traces of a boot that went well."""
    now = time.time()
    stages = {stage: {"errors": [], "start": now, "finished": now} for stage in _STAGES}
    status = {"v1": {"datasource": _SOURCE, "stage": None, **stages}}
    result = {"v1": {"datasource": _SOURCE, "errors": []}}
    done = _inside(machine, _RECORD, instance_id, json.dumps(status), json.dumps(result), _SOURCE)
    if done.returncode != 0:  # a full disk, or a file where a folder should be: as on EC2, the instance is up without
        machine.say(f"sandbox: cloud-init left no trace: {done.stderr.decode(errors='replace').strip()}")


def default_user(machine: Machine) -> str | None:
    """The user that the image's cloud-init makes at boot; None where there is no cloud-init, or it makes none."""
    told = _inside(machine, _CONFIGURATION, str(_MOST_CONFIG)).stdout.decode(errors="replace")
    name: str | None = None
    try:
        documents = [document for document in load_documents(told) if isinstance(document, dict)]
    except ValueError:
        return None
    for document in documents:
        info = document.get("system_info")
        user = info.get("default_user") if isinstance(info, dict) else None
        if isinstance(user, dict) and isinstance(user.get("name"), str):
            name = user["name"]
    return name


def _inside(machine: Machine, script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = machine.command(
        ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", script, "sh", *arguments]
    )
    try:
        return answer(command, environment=HOST_ENVIRONMENT)
    except subprocess.TimeoutExpired:  # an image may have a file there that nobody ever writes
        told = f"that took more than {SECONDS:.0f} seconds"
    except TooLong as error:
        told = str(error)
    return subprocess.CompletedProcess(command, 124, b"", told.encode())


_ROOTS_OWN = ("HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
"""Not the environment of whoever started the sandbox: its TMPDIR, say, is nowhere inside."""


@dataclass(frozen=True)
class _Running:
    machine: Machine
    address: str | None
    logins: Logins


class Instances:
    """Starts, stops and images instances. Its callers take turns (see `traffic`)."""

    def __init__(self, *, storage: Storage, addresses: Addresses, ssh: SecureShell) -> None:
        self._storage = storage
        self._addresses = addresses
        self._ssh = ssh
        self._keys: dict[str, bytes | None] = {}
        self._running: dict[str, _Running] = {}
        self._consoles: dict[str, bytes] = {}

    def launch(self, instance_id: str, *, image_id: str, address: str | None, public_key: bytes | None) -> None:
        """Give a new instance a disk made from the image, and start it.

        It lets in whoever has `public_key`, even after the key pair was deleted, as EC2 does. That is a line of
        `authorized_keys`, which the user whom the image's cloud-init makes has from boot.
        """
        self._keys[instance_id] = public_key
        self._storage.add_disk(instance_id, image_id)
        self.start(instance_id, address=address)

    def start(self, instance_id: str, *, address: str | None) -> None:
        """Start an instance; an SSH client can connect when this returns."""
        machine = Machine(self._storage.mount_disk(instance_id))
        machine.say(f"sandbox: {instance_id} starts")
        logins = Logins(machine, public_key=self._keys[instance_id])
        self._running[instance_id] = _Running(machine, address, logins)
        user = default_user(machine)
        if user is not None:
            logins.become(user)
        record_boot(machine, instance_id)
        if address is not None:
            self._ssh.open(address, machine, logins, port=self._addresses.port_of(address))
            machine.say(f"sandbox: SSH answers on {address}")

    def prepare(self, name: str, *, base: Chain, command: str) -> Chain:
        """Make the disk of an upstream image: root runs the command on what all of them hold. Nobody boots it.

        Raises:
            UserError: the command failed.
        """
        place = f"upstream/{name}"
        self._storage.keep_image(place, base)
        self._storage.add_disk(place, place)
        try:
            machine = Machine(self._storage.mount_disk(place))
            try:
                inside = machine.command(["env", "-i", *_ROOTS_OWN, "/bin/sh", "-ec", command])
                ran = subprocess.run(
                    inside, env=HOST_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
            finally:
                machine.stop()
            if ran.returncode != 0:
                last = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()[-1:]
                raise UserError(
                    f"the command for {name} failed ({''.join(last) or f'exit code {ran.returncode}'})",
                    hint="it runs in /bin/sh, as root, in the image",
                )
            self._storage.snapshot(place, place, mounted=False)
            return self._storage.chain_of(place)
        finally:
            self._storage.remove_disk(place)

    def is_running(self, instance_id: str) -> bool:
        """Whether the instance is up."""
        return instance_id in self._running

    def stop(self, instance_id: str, *, keep_address: bool = False) -> None:
        """Stop an instance: its connections end, its processes, and its address is free. A stopped one stays so."""
        running = self._running.pop(instance_id, None)
        if running is None:
            return
        if running.address is not None:
            self._ssh.close(running.address)
            if not keep_address:
                self._addresses.give_back(running.address)
        self._consoles[instance_id] = running.machine.console()
        running.machine.stop()

    def console(self, instance_id: str) -> bytes:
        """What an instance wrote to its console since it started last; as EC2 does, also after its end."""
        running = self._running.get(instance_id)
        return running.machine.console() if running is not None else self._consoles.get(instance_id, b"")

    def change_host_key(self, instance_id: str) -> None:
        """Have the instance seem another one to SSH clients. Open connections end.

        Raises:
            UserError: it does not run, or has no address.
        """
        running = self._running.get(instance_id)
        if running is None or running.address is None:
            raise UserError(f"{instance_id} does not run here, so it has no host key", hint="start it first")
        self._ssh.close(running.address)
        port = self._addresses.port_of(running.address)
        self._ssh.open(running.address, running.machine, running.logins, port=port, impostor=True)

    def reboot(self, instance_id: str) -> None:
        """Stop and start an instance at the same address."""
        running = self._running.get(instance_id)
        if running is not None:
            self.stop(instance_id, keep_address=True)
            self.start(instance_id, address=running.address)

    def terminate(self, instance_id: str) -> None:
        """Stop an instance and throw its disk away."""
        self.stop(instance_id)
        self._storage.remove_disk(instance_id)
        self._keys.pop(instance_id, None)

    def make_image(self, instance_id: str, image_id: str) -> None:
        """Keep what is on an instance's disk as an image."""
        self._storage.snapshot(instance_id, image_id, mounted=self.is_running(instance_id))

    def close(self) -> None:
        """Stop everything."""
        for instance_id in list(self._running):
            self.stop(instance_id)


# GetConsoleOutput: what the instance wrote, where moto has the same sample for all. Seen with moto 5.2.5.


def install_console() -> None:
    """Replace moto's handler."""
    General.get_console_output = get_console_output  # type: ignore[method-assign, assignment]  # for a function


def get_console_output(self: EC2Response) -> ActionResult:
    """Answer with the console as it is now, whether or not `Latest` asks for that."""
    backend = self.ec2_backend
    self.error_on_dryrun()
    instance = backend.get_instance(self._get_param("InstanceId"))
    written = backend.ground_.instances.console(instance.id)
    return ActionResult(
        {"InstanceId": instance.id, "Timestamp": utcnow(), "Output": base64.b64encode(written).decode()}
    )  # fmt: skip
