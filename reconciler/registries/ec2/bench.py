"""The bench of AMIs: from an image to a running instance, of which nothing stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling, clock_until
from reconciler.aws.errors import AwsError, code_of, translated
from reconciler.aws.session import Clients, clients_of
from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.model.values import format_instant
from reconciler.ports.bench import BootRequest, Instance
from reconciler.ports.registry import Opening
from reconciler.registries.ec2.account import FleetInAccount
from reconciler.registries.ec2.admission import (
    KEEP_TAG,
    at_birth,
    import_key,
    look_up,
    name_of,
    networks,
    open_group,
    public_half,
)
from reconciler.registries.ec2.dismantle import Parts, dismantle, sweep
from reconciler.registries.ec2.images import describe
from reconciler.registries.ec2.launch import Launch, find_site, launch, smallest, wait_running
from reconciler.registries.machines import last_lines, new_key, write_private

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


# From an image to a running instance, of which nothing stays if anything goes wrong on the way.


def boot(clients: Clients, request: BootRequest, *, fleet: str, clock: Clock, polling: Polling) -> Instance:
    """Boot an image. See `Instances.boot`. All that can be refused is asked before anything is made."""
    region = request.artifact.location
    doing = f"booting {request.artifact.id} in {region}"
    allow_from = networks(request.allow_from)
    with translated(doing):
        ec2 = clients.ec2(region)
        image = describe(ec2, request.artifact.id)
        if image is None or image["State"] == "pending":
            known = "it is still pending" if image else "EC2 does not know this image"
            raise Transient(f"{doing}: {known}", hint="if it is new, a later run finds it")
        if image.get("Platform") == "windows":
            raise UserError(
                f"{doing}: a Windows image is not tested over SSH",
                hint="say so in image.yaml: `smoke_test: {boot: false}`",
            )
        types = request.instance_types or smallest(image)
        site = find_site(ec2, request.subnets, region=region)

    key = new_key()
    name = name_of(request.name, key)
    tags = at_birth(request.tags, name=name, fleet=fleet, now=clock.now())
    write_private(key, request.private_key)
    parts = Parts(name, request.private_key)
    try:
        with translated(doing):
            import_key(ec2, key, name=name, tags=tags)
            group = open_group(ec2, site.vpc, name=name, allow_from=allow_from, tags=tags, clock=clock)
            parts = replace(parts, security_group=group)
            wanted = Launch(image, name=name, security_group=group, tags=tags)
            launched = launch(ec2, wanted, types=types, places=site.places, clock=clock, doing=doing)
            parts = replace(parts, instance=launched.id)
            address = wait_running(ec2, launched.id, timeout=request.timeout, clock=clock, polling=polling)
    except BaseException as error:
        _undo(ec2, parts, because=error, clock=clock, polling=polling)
        raise
    return Instance(
        location=region,
        id=launched.id,
        type=launched.type,
        address=address,
        user=request.user,
        private_key=request.private_key,
        key_name=name,
        security_group=group,
    )


def _undo(ec2: EC2Client, parts: Parts, *, because: BaseException, clock: Clock, polling: Polling) -> None:
    """Leave nothing behind, or say in the error for which it is done what stays."""
    try:
        with translated(f"removing what was made for {parts.name}"):
            dismantle(ec2, parts, clock=clock, polling=polling)
    except ReconcilerError as left:
        if not isinstance(because, ReconcilerError):
            raise
        raise type(because)(
            because.what,
            where=because.where,
            hint=(*because.hint, f"something of it is left ({left.what}), which a later run sweeps"),
        ) from because


def read_console(ec2: EC2Client, instance_id: str) -> str:
    """What EC2 has of the console, up to 64 KB, with what is no UTF-8 replaced (botocore does both). May be empty.

    Raises botocore's errors.
    """
    try:
        # As it is now. Otherwise it is as EC2 last kept it, minutes ago perhaps, and empty before that.
        return ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")
    except ClientError as error:
        if code_of(error) not in ("UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue"):
            raise
        # Only instances built on Nitro have it (GetConsoleOutput, API reference).
        return ec2.get_console_output(InstanceId=instance_id).get("Output", "")


# EC2 as `Instances`.


class Ec2Instances(FleetInAccount):
    """One fleet's instances in one account. Implements `Instances`.

    Where a wait is interrupted while an instance is being ended, only the security group stays, for a later sweep.
    """

    polling = Polling(first=2, longest=10)
    """An instance takes ten seconds to run and half a minute to end."""

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
        return sweep(self._clients, location, fleet=self._fleet, now=now, clock=self._clock)


def open_bench(opening: Opening) -> Ec2Instances:
    """The instances of a fleet. Once the run is cancelled its waits end, with Transient."""
    return Ec2Instances(
        opening.settings.aws, fleet=opening.fleet, clients=clients_of(opening), clock=clock_until(opening.cancelled)
    )
