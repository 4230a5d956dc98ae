"""What is in a vCenter's inventory: folders by their path, and the machines in them by one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.observation import TAG_PREFIX, Seen, foreign
from reconciler.model.values import told_instant
from reconciler.registries.allowance import Allowance, seconds_left
from reconciler.registries.vsphere.dialect import SCHEME, VSPHERE
from reconciler.registries.vsphere.session import vim, vmodl

OF = f"{TAG_PREFIX}of"
"""The mark that says whose marks these are, by instance UUID: a clone may be born with those of its origin."""
TESTED = "reconciler-test-"
"""What the name of a clone begins with that is made to be tested. It is looked for by it, and known by its marks."""
_FACTS = (
    "name", "config.instanceUuid", "config.createDate", "config.modified", "config.changeVersion",
    "customValue", "runtime.connectionState",
)  # fmt: skip
_TOLD = ("connected", "disconnected")
"""States in which a vCenter knows what a machine is: its host is there, or is not just now. In any other its files may
be what they were, or not (VirtualMachineConnectionState: inaccessible, invalid, orphaned)."""
_MOST_AT_ONCE = 500
"""Machines in one answer; there are as many answers as it takes."""
_LOOKING, _MOST_TOLD = 600.0, 256 << 20
"""Seconds, and bytes, of all of these answers: a vCenter has 40,000 machines at most."""
_DEEPEST = 200
"""Folders above a machine: who names its parents may name them in a circle."""


@dataclass(frozen=True)
class Machine:
    """A virtual machine or a template, as the vCenter has it. `marks` are its custom attributes that hold something."""

    reference: Any
    name: str
    uuid: str
    created: str
    version: str
    marks: Mapping[str, str]

    @property
    def tags(self) -> dict[str, str]:
        """Its marks, without those of ours that are another's."""
        told = {name: value for name, value in self.marks.items() if name != OF}
        return told if self.marks.get(OF) == self.uuid else foreign(told)

    def seen_in(self, location: str) -> Seen:
        """It as a registry reports it."""
        return Seen(
            VSPHERE.name, location, self.uuid, self.name, "available", self.created, self.tags, hearsay=True
        )  # fmt: skip


@dataclass(frozen=True)
class Untold:
    """One that is there, and of which a vCenter does not tell what it is: why, or the fault by which it refuses."""

    name: str
    why: str
    refusal: Exception | None
    is_marked: bool


def split(location: str) -> tuple[str, str]:
    """The vCenter of a location, and the inventory path there. Raises Terminal where it is none."""
    host, slash, path = location.removeprefix(SCHEME).partition("/")
    if not location.startswith(SCHEME) or not host or not slash or not path:
        raise Terminal(f"{location!r} is no folder of a vCenter")
    return host, path


def folder_at(content: Any, location: str) -> Any:
    """The folder of a location. Raises UserError where there is none, or none that may be seen."""
    found = content.searchIndex.FindByInventoryPath(split(location)[1])
    if not isinstance(found, vim.Folder):
        raise UserError(
            f"there is no folder {location}, or none that may be seen",
            hint="create it; or give the role System.View and System.Read on it",
        )
    return found


def machines(content: Any, folder: Any) -> list[Machine]:
    """The machines in a folder.

    Raises Transient for one of ours whose files are not reached, and NoPermission for one that may not be read: it may
    be ours.
    """
    known, untold = look(content, folder)
    for one in untold:
        if one.refusal is not None:
            raise one.refusal
        if one.is_marked:
            raise Transient(f"{one.name}: nothing is told of it: {one.why}")
    return known


def look(content: Any, folder: Any, *, below: bool = False) -> tuple[list[Machine], list[Untold]]:
    """The machines in a folder, and in those below it if asked for; apart, those of which it can't be told.

    Raises UsedUp where a vCenter tells of them without end.
    """
    with Allowance(_LOOKING, most=_MOST_TOLD, what="what is in a folder").holds():
        return _told_apart(content, folder, below=below)


def _told_apart(content: Any, folder: Any, *, below: bool) -> tuple[list[Machine], list[Untold]]:
    names = {field.key: _text(field.name) for field in content.customFieldsManager.field}
    known: list[Machine] = []
    untold: list[Untold] = []
    for found in _retrieved(content, folder, below=below):
        facts = {one.name: one.val for one in found.propSet}
        marks = {names.get(one.key, ""): _text(one.value) for one in facts.get("customValue", ()) if one.value}
        refusals = [one.fault for one in found.missingSet if isinstance(one.fault, vim.fault.NoPermission)]
        state = facts.get("runtime.connectionState", "connected")
        if refusals or "config.instanceUuid" not in facts or state not in _TOLD:
            why = f"it is {state}" if state not in _TOLD else "it has no configuration yet, or none now"
            refusal = refusals[0] if refusals else None
            untold.append(Untold(str(facts.get("name", found.obj)), why, refusal, is_marked=OF in marks))
            continue
        made = facts.get("config.createDate") or facts.get("config.modified")
        known.append(
            Machine(
                found.obj, _text(facts["name"]), _text(facts["config.instanceUuid"]), told_instant(made),
                _text(facts.get("config.changeVersion", "")), marks,
            )
        )  # fmt: skip
    return known, untold


def _text(told: object) -> str:
    """What is told as a text. Raises TypeError for anything else: what a property's type is, an answer says itself."""
    if not isinstance(told, str):
        raise TypeError(f"{type(told).__name__} in the place of a text")
    return told


def read(content: Any, entity: Any, path: str) -> Any:
    """One property, however deep: `runtime.host`. None where it has no value, may not be read, or of nothing.

    Asked of the collector: the same as an attribute brings all that is beside it along, and VMware's simulator breaks
    the connection over one that is not set.
    """
    if entity is None:
        return None
    collector = vmodl.query.PropertyCollector
    asked = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=entity)],
        propSet=[collector.PropertySpec(type=type(entity), pathSet=[path])],
    )
    answer = content.propertyCollector.RetrievePropertiesEx([asked], collector.RetrieveOptions())
    objects = answer.objects if answer is not None else ()
    return next((one.val for found in objects for one in found.propSet), None)


def pool_of(content: Any, machine: Any) -> Any:
    """The resource pool that a clone of a machine is put in: that of its host, or of the host's cluster."""
    host = read(content, machine, "runtime.host")
    return read(content, read(content, host, "parent"), "resourcePool")


def path_of(content: Any, entity: Any) -> str:
    """The inventory path of a folder or a machine: `/DC0/vm/templates/web`.

    Raises UserError where not all that is above it may be seen.
    """
    names: list[str] = []
    for one in _upwards(content, entity):
        if one._moId == content.rootFolder._moId:  # noqa: SLF001 # its only name for what identifies an object
            return "/" + "/".join(names)
        name = read(content, one, "name")
        if name is None:
            break
        names.insert(0, name)
    raise UserError(
        f"where {names[-1] if names else 'it'} is can't be told: what it is in may not be seen",
        hint="give the role System.View and System.Read on every folder above it",
    )


def datacenter_of(content: Any, folder: Any) -> Any:
    """The datacenter that a folder is in; None where it is in none, or in one that may not be seen."""
    return next((one for one in _upwards(content, folder) if isinstance(one, vim.Datacenter)), None)


def _upwards(content: Any, entity: Any) -> Iterator[Any]:
    """It and what it is in, up to the root, as far as that may be seen."""
    for _ in range(_DEEPEST):
        if entity is None:
            return
        yield entity
        entity = read(content, entity, "parent")


def datacenters(content: Any) -> list[Any]:
    """Every datacenter of a vCenter, also in folders of them."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.Datacenter], True)
    try:
        return list(view.view)
    finally:
        view.Destroy()


def _retrieved(content: Any, folder: Any, *, below: bool) -> Iterator[Any]:
    collector = vmodl.query.PropertyCollector
    inside = collector.TraversalSpec(name="inside", type=vim.Folder, path="childEntity", skip=False)
    if below:
        inside.selectSet = [collector.SelectionSpec(name="inside")]
    asked = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=folder, skip=True, selectSet=[inside])],
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=list(_FACTS))],
    )
    options = collector.RetrieveOptions(maxObjects=_MOST_AT_ONCE)
    answer = content.propertyCollector.RetrievePropertiesEx([asked], options)
    while answer is not None:
        yield from answer.objects
        if not answer.token:
            return
        if not answer.objects:
            raise Transient("it tells of more machines, and of none")
        seconds_left()
        answer = content.propertyCollector.ContinueRetrievePropertiesEx(answer.token)
