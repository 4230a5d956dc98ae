"""A vCenter's folders as a registry of templates: each is known by its instance UUID, and marked by custom attributes.

One attribute holds one mark, so that each is short, is set alone, and is read by people in the vSphere Client. What
identifies a template is its instance UUID: a name may be given anew to another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from reconciler.model.collection import Unmanaged
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import TAG_PREFIX, Seen, foreign, is_ours
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.values import told_moment
from reconciler.plan.key import may_be_of
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Opening, Registry, Remains
from reconciler.registries.plain import PlainRegistry, unmanaged_of
from reconciler.registries.vsphere.dialect import SCHEME, VSPHERE, is_library
from reconciler.registries.vsphere.inventory import (
    OF,
    TESTED,
    Machine,
    Untold,
    datacenter_of,
    datacenters,
    folder_at,
    look,
    machines,
    path_of,
    pool_of,
    read,
    split,
)
from reconciler.registries.vsphere.library import Libraries
from reconciler.registries.vsphere.rest import Rest
from reconciler.registries.vsphere.session import VCenter, VCenters, ends_with, meaning, vim

Answer = TypeVar("Answer")

_LAST = (f"{TAG_PREFIX}key", OF)
"""Marks that say that the others are there: they are written last."""
_MAKERS = {"jetbrains.vsphere", "packer.post-processor.vsphere", "mitchellh.vmware-esx"}
"""What the plugin's builders and its post-processor that imports a machine call themselves (v1.4.2), and the builder
on an ESXi host, of whose machine the post-processor vsphere-template makes one."""
_WHOSE = tuple(f"{TAG_PREFIX}{name}" for name in ("fleet", "image", "build"))
"""Marks that say of which build a template is."""


class VSphereRegistry(PlainRegistry):
    """The templates of one fleet. Implements `Registry`."""

    def __init__(self, *, fleet: str, environment: Mapping[str, str], cancelled: threading.Event | None = None) -> None:
        self.fleet, self._environment = fleet, environment
        self._vcenters = VCenters(environment, cancelled or threading.Event())
        self._lock = threading.Lock()
        self._of_host: dict[str, Libraries] = {}

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one template, or None. See `Registry.find`. What was made is there at once."""
        del patience
        if is_library(location):
            return self._libraries(location).find(location, artifact_id)
        return next((seen for seen in self.listed(location) if seen.id == artifact_id), None)

    def listed(self, location: str) -> Iterator[Seen]:
        """Every machine of a folder, or item of a library; see `PlainRegistry.listed`."""
        if is_library(location):
            yield from self._libraries(location).listed(location)
            return

        def all_in(content: Any) -> list[Seen]:
            return [one.seen_in(location) for one in machines(content, folder_at(content, location))]

        yield from self._ask(location, f"reading {location}", all_in)

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """What is in a folder, and neither a fleet's nor a clone that is being tested. See `Registry.unmanaged`."""
        try:
            return unmanaged_of(one for one in self.listed(location) if not (one.name or "").startswith(TESTED))
        except ReconcilerError:
            return None

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Mark what Packer made there, and tell its id: Packer says its name. See `Registry.store`."""
        called = {one.id.rpartition("::")[2]: one.builder for one in made if one.builder_id in _MAKERS}
        if not called:
            return ()
        if is_library(location):
            return [self._libraries(location).marked(location, called, name=name, tags=tags)]

        def marked(content: Any) -> list[Artifact]:
            there = {one.name: one for one in machines(content, folder_at(content, location))}
            known = next((each for each in (*called, name) if each in there), None)
            if known is None:
                raise UserError(
                    f"Packer says that it made {' and '.join(called)}, which is not in {location}",
                    hint=f"its builder's folder has to be the first of {VSPHERE.key}",
                )
            machine = there[known]
            if _own(machine.tags) and not _is_of(machine, tags):
                raise Terminal(f"{machine.name} in {location} is another build's: it is not marked anew")
            if not may_be_of(tags.get(f"{TAG_PREFIX}build", ""), machine.seen_in(location)):
                raise Terminal(f"{machine.name} in {location} was there before this build: it is not marked")
            _mark(content, machine, tags)
            builder = called.get(known) or next(iter(called.values()))
            kind = VSPHERE.name
            return [Artifact(kind=kind, builder=builder, location=location, id=machine.uuid, name=machine.name)]

        return self._ask(location, f"looking for what Packer made in {location}", marked)

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set custom attributes. See `Registry.tag`. What says that it is complete is set last."""
        if is_library(artifact.location):
            self._libraries(artifact.location).tag(artifact, tags)
            return

        def set_them(content: Any) -> None:
            _mark(content, _known(content, artifact), tags)

        self._ask(artifact.location, f"marking {artifact.id}", set_them)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Clone to another folder of the same vCenter; it is whole when this returns. See `Registry.copy`.

        A clone is born without marks. Until it has them it has a name that tells what it is a copy of.
        """
        vcenter = self._vcenter(to)
        if vcenter is not self._vcenter(source.location):
            raise UserError(
                f"{source.location} and {to} are of two vCenters, and a template is copied within one",
                hint="name folders of one vCenter; an image of its own for each other one",
            )
        if is_library(source.location) != is_library(to):
            raise UserError(
                f"{source.location} and {to} are a content library and a folder, and neither is copied to the other",
                hint="name libraries alone, or folders",
            )
        if is_library(to):
            return self._libraries(to).copy(source, to=to, name=name, tags=tags, token=token)

        def cloned(content: Any) -> str:
            origin, folder = _known(content, source), folder_at(content, to)
            there = {one.name: one for one in machines(content, folder)}
            if name in there:
                if not _is_of(there[name], tags):
                    raise Terminal(f"{to} has another {name}", hint="rename or remove it")
                _refuse_another(content, there[name], of=origin)
                return there[name].uuid
            draft = f"{name}-{sha256(f'{token} {source.id}'.encode()).hexdigest()[:8]}"
            if draft in there:
                _refuse_another(content, there[draft], of=origin)
            else:
                vcenter.wait(_clone(content, origin, folder, name=draft))
                there = {one.name: one for one in machines(content, folder)}
            _mark(content, there[draft], {**foreign(origin.tags), **tags})
            vcenter.wait(there[draft].reference.Rename_Task(name))
            return there[draft].uuid

        return vcenter.ask(f"copying {source.id} to {to}", cloned)

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether two hosts lead to one folder, or library. See `Registry.is_same`. Within a vCenter a path is one.

        A vCenter says which it is: `AboutInfo.instanceUuid`, "a globally unique identifier associated with this service
        instance" (vSphere Web Services API).
        """
        del artifact_id
        (host, path), (another, its_path) = split(location), split(other)
        if host == another or path != its_path:
            return location == other

        def told(content: Any) -> str:
            return str(content.about.instanceUuid or "")

        found = {self._ask(one, "asking which vCenter it is", told) for one in (location, other)}
        return len(found) == 1 and found != {""}

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Destroy a template with its disks, or an item. See `Registry.retire`."""
        if is_library(artifact.location):
            seen = self.find(artifact.location, artifact.id)
            if seen is not None:
                self.refuse_others(seen, image)
                self._libraries(artifact.location).remove(artifact)
            return Remains()
        vcenter = self._vcenter(artifact.location)

        def destroyed(content: Any) -> Remains:
            machine = _of_id(content, artifact)
            if machine is not None:
                self.refuse_others(machine.seen_in(artifact.location), image)
                vcenter.wait(machine.reference.Destroy_Task())
            return Remains()

        return vcenter.ask(f"retiring {artifact.id}", destroyed)

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve a name, or a path, to the template that has it now, as it is now. See `Registry.resolve`."""
        del architecture
        if request.upstream is None:
            raise ValueError("a parent image is resolved from state/, not from a registry")
        asked = str(request.upstream[1])

        def pinned(content: Any) -> Pin:
            host, tops = split(location)[0], _tops(content, location)
            called = asked.rpartition("/")[2]
            known, untold = _look_in(content, tops)
            if any(one.name == called for one in untold):
                raise Transient(f"{called} is there, and {host} does not tell what it is now")
            same = [one for one in known if one.name == called]
            paths = {path_of(content, one.reference): one for one in same}
            within = [path_of(content, top) for top in tops]
            wanted = {asked, *(f"{top}/{asked}" for top in within)}
            fits = sorted(path for path in paths if asked == called or path in wanted)
            if len(fits) != 1:
                found = f"{len(fits)} templates: {', '.join(fits)}" if fits else "no template"
                what = f'source "{asked}" is {found} in {", ".join(within)} of {host}'
                raise UserError(what, hint="name it by its inventory path, as /DC0/vm/templates/web is")
            machine, folder = paths[fits[0]], fits[0].rpartition("/")[0]
            exact = f"{machine.uuid}@{machine.version}"
            return VSPHERE.pin(f"{SCHEME}{host}{folder}", exact, name=machine.name, created=machine.created or None)

        return self._ask(location, f"resolving {asked}", pinned)

    def given(self, location: str, source: str) -> str:
        """The inventory path of what is pinned: the builders take no UUID. See `Registry.given`.

        An item of a library is told by its library, and no builder clones one.
        """
        uuid, _, version = source.partition("@")
        item = self.find(location, uuid) if is_library(location) and not version else None
        if item is not None:
            if item.state != "available":
                raise UserError(f"the item {item.name} in {location} is another than it was", hint="import it anew")
            return f"{split(location)[1]}/{item.name}"

        def path(content: Any) -> str:
            known, untold = _look_in(content, _tops(content, location))
            machine = next((one for one in known if one.uuid == uuid), None)
            if machine is None and untold:
                raise Transient(f"{uuid} is not found, and may be {untold[0].name}: {untold[0].why}")
            if machine is None or version not in ("", machine.version):
                now = "is no longer there" if machine is None else f"({machine.name}) was changed since"
                raise UserError(f"the template {uuid}, which is pinned, {now}", hint="resolve it anew: --refresh")
            return path_of(content, machine.reference)

        return self._ask(location, f"looking for {uuid}", path)

    def server_time(self, location: str) -> datetime | None:
        """The vCenter's clock. See `Registry.server_time`."""

        def now(content: Any) -> datetime | None:
            session = content.rootFolder._stub  # noqa: SLF001 # no other way leads to it
            return told_moment(vim.ServiceInstance("ServiceInstance", session).CurrentTime())

        return self._ask(location, "asking the time", now)

    def _libraries(self, location: str) -> Libraries:
        """The content libraries of a location's vCenter."""
        host, _ = split(location)
        with self._lock:
            if host not in self._of_host:
                rest = Rest(host, self._environment, meaning)
                ends_with(self, rest.sign_out)
                self._of_host[host] = Libraries(rest)
            return self._of_host[host]

    def _ask(self, location: str, doing: str, question: Callable[[Any], Answer]) -> Answer:
        return self._vcenter(location).ask(doing, question)

    def _vcenter(self, location: str) -> VCenter:
        return self._vcenters.of(split(location)[0])


def _tops(content: Any, location: str) -> list[Any]:
    """The folder of all machines of a location's datacenter; of a library's vCenter, those of all."""
    if not is_library(location):
        datacenter = datacenter_of(content, folder_at(content, location))
        if datacenter is None:
            raise UserError(
                f"{location} is in no datacenter, or in one that may not be seen",
                hint="name a folder of machines: its path begins with a datacenter's, as DC0/vm/templates does",
            )
        tops = [read(content, datacenter, "vmFolder")]
    else:
        tops = [read(content, one, "vmFolder") for one in datacenters(content)]
    return [one for one in tops if one is not None]


def _look_in(content: Any, tops: Iterable[Any]) -> tuple[list[Machine], list[Untold]]:
    """The machines in folders and below them; apart, those of which it can't be told what they are."""
    found = [look(content, top, below=True) for top in tops]
    return [one for known, _ in found for one in known], [one for _, untold in found for one in untold]


def _of_id(content: Any, artifact: Located) -> Machine | None:
    there = machines(content, folder_at(content, artifact.location))
    return next((one for one in there if one.uuid == artifact.id), None)


def _known(content: Any, artifact: Located) -> Machine:
    machine = _of_id(content, artifact)
    if machine is None:
        raise Terminal(f"{artifact.id} is not in {artifact.location}")
    return machine


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if is_ours(name)}


def _is_of(machine: Machine, tags: Mapping[str, str]) -> bool:
    return all(machine.tags.get(name) == tags.get(name) for name in _WHOSE)


def _refuse_another(content: Any, machine: Machine, *, of: Machine) -> None:
    """Raise Terminal for what we did not clone, as the vCenter's own events have it: names and marks may be anybody's.

    It keeps them for 30 days, if nobody changed that; what was cloned earlier can't be told from another's.
    """
    filters = vim.event.EventFilterSpec
    entity = filters.ByEntity(entity=machine.reference, recursion="self")
    told = content.eventManager.QueryEvents(filters(entity=entity, eventTypeId=["VmClonedEvent"]))
    user = content.sessionManager.currentSession.userName
    if not any((one.userName, one.sourceVm.vm) == (user, of.reference) for one in told):
        raise Terminal(
            f"{machine.name} is no copy of {of.name} that {user} made, as far as is told", hint="rename or remove it"
        )


def _clone(content: Any, origin: Machine, folder: Any, *, name: str) -> Any:
    """The task that clones a template. A vCenter does not look at the pool for a template."""
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=pool_of(content, origin.reference)),
        template=True,
        powerOn=False,
    )
    return origin.reference.CloneVM_Task(folder=folder, name=name, spec=spec)


def _mark(content: Any, machine: Machine, tags: Mapping[str, str]) -> None:
    """Set attributes; those of ours that it was born with, as a clone, go first, and what tells of them comes last."""
    stale = {} if machine.marks.get(OF) == machine.uuid else dict.fromkeys(_own(machine.marks), "")
    wanted = {**stale, **tags, OF: machine.uuid}
    keys = _defined(content, wanted)
    for name in sorted(wanted, key=lambda one: (_LAST.index(one) + 1 if one in _LAST else 0, one)):
        if machine.marks.get(name, "") != wanted[name]:
            content.customFieldsManager.SetField(machine.reference, keys[name], wanted[name])


def _defined(content: Any, names: Iterable[str]) -> dict[str, int]:
    """The keys of attributes of machines, each defined where it is not yet; another run may do the same at once."""
    manager = content.customFieldsManager
    known = _keys(manager)
    for name in names:
        if name not in known:
            try:
                known[name] = manager.AddCustomFieldDef(name, vim.VirtualMachine, None, None).key
            except vim.fault.DuplicateName as error:
                known = _keys(manager)
                if name not in known:
                    what = f"the custom attribute {name} is defined, and not for virtual machines"
                    raise Terminal(what, hint="rename it, or define it for all types") from error
    return known


def _keys(manager: Any) -> dict[str, int]:
    ours = (None, vim.ManagedEntity, vim.VirtualMachine)
    return {field.name: field.key for field in manager.field if field.managedObjectType in ours}


def open_registry(opening: Opening) -> Registry:
    """The registry of a fleet's templates."""
    return VSphereRegistry(fleet=opening.fleet, environment=os.environ, cancelled=opening.cancelled)
