"""The bench of templates: a clone of one runs beside it, and is told by cloud-init's VMware source who may log in.

A template can't be started (VirtualMachine.PowerOnVM_Task: InvalidState). Its clone shares the disks of its newest
snapshot where it has one, and writes what it changes into disks of its own (a linked clone; CloneSpec.snapshot,
`createNewChildDiskBacking`); a template without a snapshot is copied whole. What is in the clone's `guestinfo.…` its
cloud-init reads (cloud-init, "VMware"), and the address is what its VMware Tools say.

The marks of a clone are in its configuration from its first moment, where no guest writes: of `guestinfo.…` it could.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from ipaddress import ip_address
from typing import Any, TypeVar

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.values import format_instant, told_moment
from reconciler.ports.bench import LIFE, BootRequest, Instance, Instances
from reconciler.ports.registry import Opening
from reconciler.registries.machines import SshKey, login_for_cloud_init, new_key, write_private
from reconciler.registries.vsphere.inventory import TESTED, Machine, folder_at, look, pool_of, read, split
from reconciler.registries.vsphere.session import VCenter, VCenters, vim, vmodl

Answer = TypeVar("Answer")

_LONGEST_NAME = 80
_KEPT = "reconciler.keep-until"
_FLEET = "reconciler.fleet"
_LOOK = 2.0
"""Seconds between two looks whether a clone has an address."""
_STATES = {"poweredOn": "running", "poweredOff": "stopped", "suspended": "stopped"}


class Clones:
    """The templates of one fleet as machines in their vCenter. Implements `Instances`."""

    def __init__(
        self,
        *,
        fleet: str,
        environment: Mapping[str, str],
        cancelled: threading.Event | None = None,
        every: float = _LOOK,
    ) -> None:
        """Take what is signed in with, what ends every wait, and how many seconds are between two looks."""
        self._fleet, self._every = fleet, every
        self._cancelled = cancelled or threading.Event()
        self._vcenters = VCenters(environment, self._cancelled)

    def boot(self, request: BootRequest) -> Instance:
        """Start a clone and wait for its address. See `Instances.boot`."""
        location, key = request.artifact.location, new_key()
        name = f"{TESTED}{key.mark}-{request.name}"[:_LONGEST_NAME]
        write_private(key, request.private_key)
        try:
            linked = self._clone(request, key, name=name)
            uuid, address = self._started(request, name)
        except BaseException:
            request.private_key.unlink(missing_ok=True)
            with suppress(ReconcilerError):  # what could not be removed is swept
                self._remove(location, lambda content: _named(content, location, name))
            raise
        return Instance(
            location=location, id=uuid, type="linked clone" if linked else "clone", address=address,
            user=request.user, private_key=request.private_key, key_name="", security_group="",
        )  # fmt: skip

    def state(self, instance: Instance) -> str:
        """Whether it is powered on. See `Instances.state`."""

        def powered(content: Any) -> str:
            return _STATES.get(read(content, _of(content, instance.id), "runtime.powerState") or "", "missing")

        return self._ask(instance.location, f"looking at {instance.id}", powered)

    def console(self, instance: Instance) -> tuple[str, ...]:
        """Nothing: a vCenter shows a console as a picture. See `Instances.console`."""
        del instance
        return ()

    def keep(self, instance: Instance, *, until: datetime) -> None:
        """Note in its configuration until when. See `Instances.keep`."""

        def noted(content: Any) -> None:
            machine = _of(content, instance.id)
            if machine is None:
                raise Terminal(f"{instance.id} is not in {instance.location}")
            spec = vim.vm.ConfigSpec(extraConfig=_options({_KEPT: format_instant(until)}))
            self._vcenter(instance.location).wait(machine.ReconfigVM_Task(spec))

        self._ask(instance.location, f"keeping {instance.id}", noted)

    def terminate(self, instance: Instance) -> None:
        """End it, with its disks and its key. See `Instances.terminate`."""
        self._remove(instance.location, lambda content: _of(content, instance.id))
        instance.private_key.unlink(missing_ok=True)

    def public_key(self, location: str, key_pair: str, *, since: datetime) -> str | None:
        """There are no key pairs. See `Instances.public_key`."""
        del location, key_pair, since
        return None

    def sweep(self, location: str, *, now: datetime) -> Sequence[str]:
        """Remove the clones of this fleet whose time is over. See `Instances.sweep`."""
        return self._ask(location, f"looking for what is left in {location}", lambda content: self._swept(
            content, location, now
        ))  # fmt: skip

    def _swept(self, content: Any, location: str, now: datetime) -> Sequence[str]:
        left = [one for one in _clones(content, location) if _is_over(content, one, fleet=self._fleet, now=now)]
        for one in left:
            _destroy(content, self._vcenter(location), one.reference)
        return tuple(one.uuid for one in left)

    def _clone(self, request: BootRequest, key: SshKey, *, name: str) -> bool:
        """Clone it; whether it shares the template's disks."""
        at, vcenter = request.artifact.location, self._vcenter(request.artifact.location)

        def cloned(content: Any) -> bool:
            folder, origin = folder_at(content, at), _of(content, request.artifact.id)
            if origin is None:
                raise Terminal(f"{request.artifact.id} is not in {at}")
            snapshots = read(content, origin, "snapshot")
            clone = content.searchIndex.FindChild(folder, name)
            if clone is None:  # else it was made in a session that ended before this was told
                where = vim.vm.RelocateSpec(pool=pool_of(content, origin))
                spec = vim.vm.CloneSpec(
                    location=where, template=False, powerOn=False,
                    config=vim.vm.ConfigSpec(extraConfig=_options({**_told(request, key), **_marks(request.tags)})),
                )  # fmt: skip
                if snapshots is not None:
                    where.diskMoveType, spec.snapshot = "createNewChildDiskBacking", snapshots.currentSnapshot
                clone = _whole(vcenter, origin.CloneVM_Task(folder=folder, name=name, spec=spec))
            if read(content, clone, "runtime.powerState") != "poweredOn":
                vcenter.wait(clone.PowerOnVM_Task())
            return snapshots is not None

        return vcenter.ask(f"cloning {request.artifact.id} to test it", cloned)

    def _started(self, request: BootRequest, name: str) -> tuple[str, str]:
        """The instance UUID of a clone, and its address, once it has one."""
        at = request.artifact.location

        def told(content: Any) -> tuple[str, str, str]:
            machine = _named(content, at, name)
            uuid, address = (read(content, machine, path) for path in ("config.instanceUuid", "guest.ipAddress"))
            tools = read(content, machine, "guest.toolsRunningStatus")
            return uuid or "", address or "", tools or ""

        until = time.monotonic() + request.timeout
        while True:
            uuid, address, tools = self._ask(at, f"waiting for the address of {name}", told)
            if not uuid:
                raise Transient(f"{name}, a clone that was to be tested, is gone")
            if _is_address(address):
                return uuid, address
            if time.monotonic() > until:
                why = "its VMware Tools do not run" if tools != "guestToolsRunning" else "its VMware Tools tell of none"
                raise Transient(
                    f"{name} has no address after {request.timeout:g} s: {why}",
                    hint="see that open-vm-tools is in it, and that its network gives addresses",
                )
            if self._cancelled.wait(self._every):
                raise Transient(f"interrupted while {name} boots")

    def _remove(self, location: str, find: Callable[[Any], Any]) -> None:
        def removed(content: Any) -> None:
            machine = find(content)
            if machine is not None:
                _destroy(content, self._vcenter(location), machine)

        self._ask(location, "removing a clone that was tested", removed)

    def _ask(self, location: str, doing: str, question: Callable[[Any], Answer]) -> Answer:
        return self._vcenter(location).ask(doing, question)

    def _vcenter(self, location: str) -> VCenter:
        return self._vcenters.of(split(location)[0])


def _told(request: BootRequest, key: SshKey) -> dict[str, str]:
    """What cloud-init is told, as its source VMware reads it: an id that is this boot's alone, and who may log in."""
    texts = {
        "metadata": json.dumps({"instance-id": f"{request.name}-{key.mark}", "local-hostname": "smoke-test"}),
        "userdata": login_for_cloud_init(request.user, key),
    }
    told = {f"guestinfo.{name}": base64.b64encode(text.encode()).decode("ascii") for name, text in texts.items()}
    return told | {f"guestinfo.{name}.encoding": "base64" for name in texts}


def _marks(tags: Mapping[str, str]) -> dict[str, str]:
    return {name.replace(TAG_PREFIX, "reconciler."): value for name, value in tags.items()}


def _options(values: Mapping[str, str]) -> list[Any]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def _of(content: Any, uuid: str) -> Any:
    """The machine with an instance UUID; None where there is none."""
    return content.searchIndex.FindByUuid(None, uuid, True, True)


def _named(content: Any, location: str, name: str) -> Any:
    return content.searchIndex.FindChild(folder_at(content, location), name)


def _clones(content: Any, location: str) -> Iterator[Machine]:
    known, _ = look(content, folder_at(content, location))
    return (one for one in known if one.name.startswith(TESTED))


def _is_over(content: Any, clone: Machine, *, fleet: str, now: datetime) -> bool:
    """Whether it is this fleet's, and neither a run's that may still live nor kept."""
    written = {one.key: str(one.value) for one in read(content, clone.reference, "config.extraConfig") or ()}
    made, kept = told_moment(clone.created), told_moment(written.get(_KEPT))
    until = kept or (made + LIFE if made is not None else None)
    return written.get(_FLEET) == fleet and until is not None and now > until


def _whole(vcenter: VCenter, task: Any) -> Any:
    """What a task cloned. One that is not waited for is cancelled, and has ended when this does.

    Else it would leave a clone behind, or one that nobody may remove yet.
    """
    try:
        return vcenter.wait(task)
    except Transient:
        with suppress(vmodl.MethodFault):
            if task.info.cancelable:
                task.CancelTask()
        with suppress(vmodl.MethodFault, ReconcilerError, OSError):
            vcenter.wait(task, cleaning_up=True)
        raise


def _destroy(content: Any, vcenter: VCenter, machine: Any) -> None:
    """Power it off, and destroy it with its disks. What is gone meanwhile is no error."""
    with suppress(vmodl.fault.ManagedObjectNotFound):
        with suppress(vim.fault.InvalidPowerState):
            if read(content, machine, "runtime.powerState") != "poweredOff":
                vcenter.wait(machine.PowerOffVM_Task(), cleaning_up=True)
        vcenter.wait(machine.Destroy_Task(), cleaning_up=True)


def _is_address(text: str) -> bool:
    try:
        return not ip_address(text).is_link_local
    except ValueError:
        return False


def open_bench(opening: Opening) -> Instances:
    """The bench of a fleet's templates."""
    return Clones(fleet=opening.fleet, environment=os.environ, cancelled=opening.cancelled)
