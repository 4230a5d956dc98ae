"""moto's EC2 with something behind it: an instance runs, an image has files, an upstream publishes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncssh
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2 import urls
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_network_interfaces
from moto.ec2.models.amis import Ami
from moto.ec2.models.instances import StateReason

from reconciler.model.errors import UserError
from reconciler.sandbox import care, recycle_bin, system
from reconciler.sandbox.addresses import Addresses
from reconciler.sandbox.catalogue import Catalogue, Upstream
from reconciler.sandbox.instances import Instances
from reconciler.sandbox.storage import Chain, Storage

_log = logging.getLogger(__name__)
_NONE = "ABCDE"
"""What moto takes for the client token of a call that has none."""


@dataclass(frozen=True)
class Ground:
    """What EC2 stands on in a sandbox."""

    addresses: Addresses
    instances: Instances
    storage: Storage
    catalogue: Catalogue
    bases: Mapping[str, Chain]
    """What an upstream image holds, by the user that it makes at boot."""


def install(ground: Ground) -> None:
    """Let every region that moto opens from now on be a `Region` on this ground."""
    if len(ec2_backends):
        raise RuntimeError("moto has opened a region already")

    class OnThisGround(Region):
        ground_ = ground

    ec2_backends.backend = OnThisGround
    # moto draws public addresses at random; ours can be connected to.
    elastic_network_interfaces.random_public_ip = ground.addresses.take  # type: ignore[attr-defined]  # an import there


def kill(instance_id: str) -> None:
    """Let an instance die by itself, in whatever region it is.

    Raises:
        UserError: it does not run.
    """
    for regions in ec2_backends.values():
        for region in regions.values():
            instance = region.get_instance_by_id(instance_id)
            if instance is not None and instance.state == "running":
                region.terminate_instances([instance_id])
                instance.state_reason = StateReason("Server.InternalError: Internal error", "Server.InternalError")
                return
    raise UserError(f"{instance_id} does not run here", hint="`aws ec2 describe-instances` lists those that do")


class Region(EC2Backend):
    """One account's EC2 in one region."""

    ground_: Ground

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        # Client tokens of CopyImage and RunInstances, and what they made.
        self.copy_tokens: dict[str, tuple[tuple[object, ...], str]] = {}
        self.launch_tokens: dict[str, tuple[dict[str, object], Any]] = {}
        if account_id == DEFAULT_ACCOUNT_ID:
            self.ground_.catalogue.follow(self._publish)

    @property
    def _url_module(self) -> Any:
        # moto looks for it beside the module that defines the class.
        return urls

    # Instances.

    def run_instances(self, image_id: str, *args: Any, **kwargs: Any) -> Any:
        """Start what moto wrote down; SSH answers when this returns. A client token makes it once."""
        if image_id and image_id not in self.amis:
            # moto starts instances from deregistered images.
            raise InvalidAMIIdError(image_id)
        if image_id:
            care.refuse_unavailable(self.amis[image_id])
        token = kwargs.get("client_token", _NONE)  # A fleet of spot instances passes none.
        asked = {"image": image_id} | {name: kwargs.get(name) for name in ("instance_type", "subnet_id", "key_name")}
        if token in self.launch_tokens:
            first, reservation = self.launch_tokens[token]
            if first != asked:
                raise EC2ClientError("IdempotentParameterMismatch", f"Token {token} was used with other parameters")
            return reservation
        reservation = super().run_instances(image_id, *args, **kwargs)
        for instance in reservation.instances:
            for interface in instance.nics.values():
                interface.add_tags(kwargs["tags"].get("network-interface", {}))  # moto forgets these
            pair = self.key_pairs.get(instance.key_name or "")
            try:
                self.ground_.instances.launch(
                    instance.id,
                    image_id=instance.image_id,
                    address=self._give_address(instance),
                    public_key=_public_key(pair) if pair is not None else None,
                )
            except (OSError, UserError) as error:
                _log.exception("%s did not start", instance.id)
                super().terminate_instances([instance.id])
                raise EC2ClientError("InternalError", f"the sandbox could not start an instance: {error}") from error
        if token != _NONE:
            self.launch_tokens[token] = asked, reservation
        return reservation

    def start_instances(self, instance_ids: list[str]) -> Any:
        """Start what is stopped, with the disk as it was left."""
        resting = [i for i in instance_ids if not self.ground_.instances.is_running(i)]
        started = super().start_instances(resting)
        for instance, _ in started:
            self.ground_.instances.start(instance.id, address=self._give_address(instance))
        # Starting what runs changes nothing, and moto would draw a new address for it.
        running = [self.get_instance(i) for i in instance_ids if i not in resting]
        return [*started, *((instance, instance.instance_state) for instance in running)]

    def stop_instances(self, instance_ids: list[str]) -> Any:
        """Stop, and keep the disk."""
        stopped = super().stop_instances(instance_ids)
        for instance, _ in stopped:
            self.ground_.instances.stop(instance.id)
        return stopped

    def reboot_instances(self, instance_ids: list[str]) -> Any:
        """Stop and start at the same address."""
        rebooted = super().reboot_instances(instance_ids)
        for instance in rebooted:
            self.ground_.instances.reboot(instance.id)
        return rebooted

    def terminate_instances(self, instance_ids: list[str]) -> Any:
        """Stop, and throw the disk away."""
        terminated = super().terminate_instances(instance_ids)
        for instance, _ in terminated:
            self.ground_.instances.terminate(instance.id)
            for interface in instance.nics.values():
                self.enis.pop(interface.id, None)  # moto keeps these for ever
        return terminated

    def delete_security_group(self, name: str | None = None, group_id: str | None = None) -> None:
        """Delete a group that nothing uses; moto deletes any."""
        for instance in self.all_instances():
            groups = {group.id for group in instance.security_groups}
            if group_id in groups and instance.state != "terminated":
                raise EC2ClientError("DependencyViolation", f"resource {group_id} has a dependent object")
        super().delete_security_group(name, group_id)

    def _give_address(self, instance: Any) -> str:
        """Let the instance be reached at its private address too; return the address.

        What EC2 knows by two addresses has one here: both are on the same loopback.
        """
        address: str = instance.public_ip or self.ground_.addresses.take()
        interface = instance.nics[0]
        interface.private_ip_address = address
        interface.private_ip_addresses[0]["PrivateIpAddress"] = address
        return address

    # Images.

    def create_image(self, instance_id: str, name: str, *args: Any, **kwargs: Any) -> Any:
        """Keep what is on the instance's disk."""
        self._refuse_duplicate(name)
        image = super().create_image(instance_id, name, *args, **kwargs)
        image.root_device_type = "ebs"  # moto says "standard"
        instance = self.get_instance(instance_id)
        image.root_device_name = instance.root_device_name
        source = self.amis.get(instance.image_id)
        if source is not None:  # it may have been deregistered meanwhile
            image.boot_mode = source.boot_mode
        self.ground_.instances.make_image(instance_id, image.id)
        return image

    def copy_image(
        self, source_image_id: str, source_region: str, name: str | None = None, description: str | None = None
    ) -> Any:
        """Copy the image's files with its description."""
        source = ec2_backends[self.account_id][source_region].amis.get(source_image_id)
        if source is None:
            raise InvalidAMIIdError(source_image_id)
        self._refuse_duplicate(name or source.name)
        image = super().copy_image(source_image_id, source_region, name, description)
        image.root_device_type = source.root_device_type
        image.root_device_name = source.root_device_name
        image.boot_mode = source.boot_mode
        image.copy_of = source_region, source.id  # type: ignore[attr-defined]  # moto tells of none
        self.ground_.storage.keep_image(image.id, self.ground_.storage.chain_of(source.id))
        return image

    def register_image(self, name: str | None = None, description: str | None = None) -> Any:
        """Make an image of nothing in particular: it holds what an upstream image of Debian's holds."""
        self._refuse_duplicate(name)
        image = super().register_image(name, description)
        image.root_device_type = "ebs"
        self.ground_.storage.keep_image(image.id, self.ground_.bases["admin"])
        return image

    def deregister_image(self, ami_id: str) -> None:
        """Drop the image, and the files that nothing else stands on; what the Recycle Bin keeps has them still."""
        super().deregister_image(ami_id)
        if not recycle_bin.is_kept(self, ami_id):
            self.ground_.storage.forget_image(ami_id)

    def create_tags(self, resource_ids: list[str], tags: dict[str, str]) -> bool:
        """Tag what is there; moto tags images that were deregistered."""
        for gone in set(resource_ids).intersection(self.deleted_amis):
            raise InvalidAMIIdError(gone)
        return super().create_tags(resource_ids, tags)

    def _refuse_duplicate(self, name: str | None) -> None:
        """EC2 has no two images of one name in an account and region; moto has."""
        for image in self.amis.values():
            if image.name == name and image.owner_id == self.account_id:
                raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")

    def _publish(self, upstream: Upstream) -> None:
        image_id = upstream.id_in(self.region_name)
        self.ground_.storage.keep_image(image_id, upstream.layers or self.ground_.bases[upstream.publisher.user])
        self.amis[image_id] = Ami(
            self,
            image_id,
            name=upstream.name,
            description=f"{upstream.name}: in this sandbox with {system.NAME} inside",
            owner_id=upstream.publisher.owner,
            owner_alias=upstream.publisher.alias,
            public=True,
            architecture="x86_64",
            virtualization_type="hvm",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=upstream.publisher.root_device,
            boot_mode="uefi-preferred",
            creation_date=upstream.created,
            region_name=f"{self.region_name}a",
        )


def _public_key(pair: Any) -> bytes:
    """A key pair's line, as an instance's metadata has it (`public-keys/0/openssh-key`): the comment is its name."""
    key = asyncssh.import_public_key(pair.material_public)  # also of RFC 4716, which may be imported
    key.set_comment(pair.key_name)
    return key.export_public_key().rstrip()
