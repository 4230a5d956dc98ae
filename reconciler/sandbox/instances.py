"""The running side of EC2 instances: what moto only writes down, this does."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from reconciler.model.errors import UserError
from reconciler.sandbox import cloud_init
from reconciler.sandbox.addresses import Addresses
from reconciler.sandbox.logins import Logins
from reconciler.sandbox.machine import HOST_ENVIRONMENT, Machine
from reconciler.sandbox.ssh import SecureShell
from reconciler.sandbox.storage import Chain, Storage

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
        user = cloud_init.default_user(machine)
        if user is not None:
            logins.become(user)
        cloud_init.record_boot(machine, instance_id)
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
                    mend="it runs in /bin/sh, as root, in the image",
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
            raise UserError(f"{instance_id} does not run here, so it has no host key", mend="start it first")
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
