"""Instances of AMIs: the `Instances` that is EC2. Each method's work has a module of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reconciler.model.declaration import AwsSettings
from reconciler.model.values import format_instant
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.errors import AwsError, translated
from reconciler.registry.instances import leftovers
from reconciler.registry.instances.boot import boot
from reconciler.registry.instances.console import last_lines, read_console
from reconciler.registry.instances.dismantle import Parts, dismantle
from reconciler.registry.instances.living import look_up
from reconciler.registry.instances.protocol import BootRequest, Instance
from reconciler.registry.instances.ssh_key import public_half
from reconciler.registry.instances.tags import KEEP_TAG
from reconciler.registry.session import Clients, configured_attempts

_POLLING = Polling(first=2, longest=10)
"""An instance takes ten seconds to run and half a minute to end."""


class Ec2Instances:
    """One fleet's instances in one account. Implements `Instances`; making one reads nothing and never fails."""

    def __init__(
        self,
        settings: AwsSettings,
        *,
        fleet: str,
        clock: Clock | None = None,
        polling: Polling | None = None,
        attempts: int | None = None,
        clients: Clients | None = None,
    ) -> None:
        """Take the settings.

        Args:
            settings: Profile and role.
            fleet: Value of the tag `reconciler:fleet`; only what carries it is swept.
            clock: Time; the machine's if absent. An interrupt that its `sleep` raises ends every wait: of an instance
                that is being ended then only the security group stays, for a later sweep.
            polling: How often an instance is looked at; after 2 s, then more rarely, up to 10 s, if absent.
            attempts: Tries per call before it counts as failed; if absent, AWS_MAX_ATTEMPTS or 8.
            clients: Those of these settings that others of the run ask through; its own if absent.
        """
        self._clients = clients or Clients(settings, attempts=attempts or configured_attempts())
        self._fleet = fleet
        self._clock = clock or Clock()
        self._polling = polling or _POLLING

    def boot(self, request: BootRequest) -> Instance:
        """Start an instance. See `Instances.boot`."""
        return boot(self._clients, request, fleet=self._fleet, clock=self._clock, polling=self._polling)

    def state(self, instance: Instance) -> str:
        """EC2's word for its state, or `missing`. See `Instances.state`."""
        with translated(f"describing {instance.id} in {instance.location}"):
            found = look_up(self._clients.ec2(instance.location), instance.id)
        return found["State"]["Name"] if found is not None else "missing"

    def console(self, instance: Instance) -> tuple[str, ...]:
        """The last 20 lines. See `Instances.console`."""
        try:
            return last_lines(read_console(self._clients.ec2(instance.location), instance.id))
        except AwsError:
            return ()

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """Write a later end on it. See `Instances.keep`."""
        with translated(f"keeping {instance.id} in {instance.location}"):
            self._clients.ec2(instance.location).create_tags(
                Resources=[instance.id], Tags=[{"Key": KEEP_TAG, "Value": format_instant(until)}]
            )

    def terminate(self, instance: Instance) -> None:
        """End it and remove what was made for it. See `Instances.terminate`."""
        parts = Parts(instance.key_name, instance.private_key, instance.id, instance.security_group)
        with translated(f"terminating {instance.id} in {instance.location}"):
            dismantle(self._clients.ec2(instance.location), parts, clock=self._clock, polling=self._polling)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """What EC2 has of a key pair: it keeps the public half alone. See `Instances.public_key`."""
        with translated(f"reading the key pair {key_pair} in {location}"):
            return public_half(self._clients.ec2(location), key_pair, since=since, clock=self._clock)

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """Remove what killed runs left. See `Instances.sweep`."""
        return leftovers.sweep(self._clients, location, fleet=self._fleet, now=now, clock=self._clock)
