"""From an image to a running instance, of which nothing stays if anything goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.errors import translated
from reconciler.registry.images import describe
from reconciler.registry.instances.admission import import_key, networks, open_group
from reconciler.registry.instances.awaken import wait_running
from reconciler.registry.instances.dismantle import Parts, dismantle
from reconciler.registry.instances.launch import Launch, launch
from reconciler.registry.instances.machine_types import smallest
from reconciler.registry.instances.places import find_site
from reconciler.registry.instances.protocol import BootRequest, Instance
from reconciler.registry.instances.ssh_key import new_key, write_private
from reconciler.registry.instances.tags import at_birth
from reconciler.registry.session import Clients

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


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
            raise Transient(f"{doing}: {known}", mend="if it is new, a later run finds it")
        if image.get("Platform") == "windows":
            raise UserError(
                f"{doing}: a Windows image is not tested over SSH",
                mend="say so in image.yaml: `smoke_test: {boot: false}`",
            )
        types = request.instance_types or smallest(image)
        site = find_site(ec2, request.subnets, region=region)

    key = new_key()
    # With a mark of the key in it: no two boots meet in a name, and what is named so was made here.
    name = f"smoke-test-{request.name}-{key.mark}"
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
            mend=(*because.mend, f"something of it is left ({left.what}), which a later run sweeps"),
        ) from because
