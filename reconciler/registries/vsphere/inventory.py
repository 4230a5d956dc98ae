"""What is in a vCenter's inventory: folders by their path, and the machines in them by one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.values import format_instant
from reconciler.registries.vsphere.dialect import SCHEME, VSPHERE
from reconciler.registries.vsphere.session import vim, vmodl

OF = f"{TAG_PREFIX}of"
"""The mark that says whose marks these are, by instance UUID: a clone may be born with those of its origin."""
_FACTS = (
    "name", "config.instanceUuid", "config.createDate", "config.modified", "config.changeVersion",
    "customValue", "runtime.connectionState",
)  # fmt: skip
_MOST_AT_ONCE = 500
"""Machines in one answer; there are as many answers as it takes."""


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
        if self.marks.get(OF) == self.uuid:
            return told
        return {name: value for name, value in told.items() if not name.startswith(TAG_PREFIX)}

    def seen_in(self, location: str) -> Seen:
        """It as a registry reports it."""
        return Seen(VSPHERE.name, location, self.uuid, self.name, "available", self.created, self.tags)


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


def machines(content: Any, folder: Any, *, below: bool = False) -> Iterator[Machine]:
    """The machines in a folder, and in those below it where that is asked for.

    Raises Transient where one can't be told: its host does not answer, and it may be one of ours.
    """
    names = {field.key: field.name for field in content.customFieldsManager.field}
    for found in _retrieved(content, folder, below=below):
        facts = {one.name: one.val for one in found.propSet}
        for lacking in found.missingSet:
            if isinstance(lacking.fault, vim.fault.NoPermission):
                raise lacking.fault
        values = facts.get("customValue", ())
        marks = {names.get(one.key, ""): one.value for one in values if one.value}
        if "config.instanceUuid" in facts and facts.get("runtime.connectionState", "connected") == "connected":
            made = facts.get("config.createDate") or facts["config.modified"]
            yield Machine(
                found.obj, facts["name"], facts["config.instanceUuid"], format_instant(made.astimezone(UTC)),
                facts.get("config.changeVersion", ""), marks,
            )  # fmt: skip
        elif OF in marks:
            raise Transient(f"{facts.get('name')}: nothing is told of it: it is {facts.get('runtime.connectionState')}")


def read(content: Any, entity: Any, path: str) -> Any:
    """One property, however deep: `runtime.host`. None where it has no value.

    Asked of the collector: the same as an attribute brings all that is beside it along, and VMware's simulator breaks
    the connection over one that is not set.
    """
    collector = vmodl.query.PropertyCollector
    asked = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=entity)],
        propSet=[collector.PropertySpec(type=type(entity), pathSet=[path])],
    )
    answer = content.propertyCollector.RetrievePropertiesEx([asked], collector.RetrieveOptions())
    return next((one.val for found in answer.objects for one in found.propSet), None)


def path_of(content: Any, entity: Any) -> str:
    """The inventory path of a folder or a machine: `/DC0/vm/templates/web`."""
    names: list[str] = []
    while entity._moId != content.rootFolder._moId:  # noqa: SLF001 # its only name for what identifies an object
        names.insert(0, read(content, entity, "name"))
        entity = read(content, entity, "parent")
    return "/" + "/".join(names)


def datacenter_of(content: Any, folder: Any) -> Any:
    """The datacenter that a folder is in."""
    while not isinstance(folder, vim.Datacenter):
        folder = read(content, folder, "parent")
    return folder


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
        answer = content.propertyCollector.ContinueRetrievePropertiesEx(answer.token)
