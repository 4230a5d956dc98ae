"""The vSphere privileges that a role needs for the calls that are made here, and for which.

Which call needs what is said by the vSphere Web Services API reference, under "Required Privileges" of each method, and
of content libraries by the vSphere Automation API reference; tests hold the table to the calls, and to what pyvmomi's
own model says of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reconciler.model.fleet import Image
from reconciler.model.rights import Right
from reconciler.registries.vsphere.dialect import SCHEME, VSPHERE, is_library

NOTE = "a role has to have these beside Read-only, and what Packer's plugin lists for its own calls"

Where = Literal["folders", "first folder", "other folders", "libraries", "other libraries", "source", "elsewhere"]
Purpose = Literal["see", "mark", "copy", "test", "retire"]


@dataclass(frozen=True)
class Row:
    """Privileges that are given together, `on` what they are on in words; `placed` says which that is of a fleet."""

    names: tuple[str, ...]
    on: str
    what_for: str
    placed: Where
    purposes: frozenset[Purpose]


def _row(names: str, on: str, what_for: str, placed: Where, *purposes: Purpose) -> Row:
    return Row(tuple(names.split()), on, what_for, placed, frozenset(purposes))


ROWS = (
    _row(
        "System.View System.Read", "the folders, and from there up", "to see what is there; every role has them",
        "folders", "see",
    ),
    _row(
        "System.View System.Read", "what is built on, and from there up",
        "to find it, and to see that it was not changed", "source", "see",
    ),
    _row(
        "Global.ManageCustomFields", "the vCenter", "to define the attributes; once they are there, nobody needs it",
        "elsewhere", "mark",
    ),
    _row("Global.SetCustomField", "the folders of `locations`", "to mark", "folders", "mark"),
    _row(
        "VirtualMachine.Provisioning.CloneTemplate", "the first folder",
        "to copy; of what is no template `VirtualMachine.Provisioning.Clone` and `.CreateTemplateFromVM`",
        "first folder", "copy",
    ),
    _row(
        "VirtualMachine.Inventory.CreateFromExisting VirtualMachine.Config.Rename", "the other folders", "to copy",
        "other folders", "copy",
    ),
    _row("Datastore.AllocateSpace", "the datastores", "to copy", "elsewhere", "copy"),
    _row(
        "Resource.AssignVMToPool", "the host's pool", "to test; to copy, where a vCenter asks for it",
        "elsewhere", "test", "copy",
    ),
    _row(
        "VirtualMachine.Provisioning.DeployTemplate VirtualMachine.Inventory.CreateFromExisting "
        "VirtualMachine.Config.AdvancedConfig VirtualMachine.Interact.PowerOn VirtualMachine.Interact.PowerOff",
        "the first folder", "to test; of what is no template `VirtualMachine.Provisioning.Clone`",
        "first folder", "test",
    ),
    _row("Datastore.AllocateSpace Network.Assign", "its datastore and networks", "to test", "elsewhere", "test"),
    _row("VirtualMachine.Inventory.Delete", "the folders of `locations`", "to retire; of the first, to test",
         "folders", "retire", "test"),
    _row("ContentLibrary.UpdateLibraryItem", "the libraries of `locations`", "to mark", "libraries", "mark"),
    _row("ContentLibrary.AddLibraryItem", "the libraries but the first", "to copy", "other libraries", "copy"),
    _row("ContentLibrary.DeleteLibraryItem", "the libraries of `locations`", "to retire", "libraries", "retire"),
)  # fmt: skip
"""As docs/kinds.md has them."""

_READ = ("System.View", "System.Read")
CALLS: Mapping[str, tuple[str, ...]] = {
    "AddCustomFieldDef": ("Global.ManageCustomFields",),
    "CancelTask": (),  # of one's own tasks
    "CloneVM_Task": (
        "VirtualMachine.Provisioning.CloneTemplate", "VirtualMachine.Provisioning.DeployTemplate",
        "VirtualMachine.Inventory.CreateFromExisting", "VirtualMachine.Config.AdvancedConfig",
        "Datastore.AllocateSpace", "Resource.AssignVMToPool", "Network.Assign",
    ),
    "CreateContainerView": ("System.View",),
    "CurrentTime": ("System.View",),
    "Destroy": (),  # of a view
    "Destroy_Task": ("VirtualMachine.Inventory.Delete",),
    "FindByInventoryPath": ("System.View",),
    "FindByUuid": ("System.View",),
    "FindChild": ("System.View",),
    "Login": (),
    "Logout": ("System.View",),
    "PowerOffVM_Task": ("VirtualMachine.Interact.PowerOff",),
    "PowerOnVM_Task": ("VirtualMachine.Interact.PowerOn",),
    "QueryEvents": ("System.View",),
    "ReconfigVM_Task": ("VirtualMachine.Config.AdvancedConfig",),
    "Rename_Task": ("VirtualMachine.Config.Rename",),
    "RetrieveContent": (),
    "RetrievePropertiesEx": _READ,
    "ContinueRetrievePropertiesEx": _READ,
    "SetField": ("Global.SetCustomField",),
    "GET": ("System.Read",),
    "POST": ("System.Read", "ContentLibrary.AddLibraryItem"),
    "PATCH": ("ContentLibrary.UpdateLibraryItem",),
    "DELETE": ("ContentLibrary.DeleteLibraryItem",),
}  # fmt: skip
"""What each call that is made here needs: methods of the API, and those of HTTP that a library is asked by."""


def needed(images: Sequence[Image]) -> Iterator[Right]:
    """What the images of a fleet need, each on what it is of their own."""
    for row in ROWS:
        on: dict[str, None] = {}
        for image in images:
            if row.purposes & _purposes(image):
                on |= dict.fromkeys(_places(row, image))
        for place in sorted(on):
            yield Right(names=row.names, on=place, purpose=row.what_for)


def _purposes(image: Image) -> set[Purpose]:
    found: set[Purpose] = {"see", "mark", "retire"}
    if len(image.locations) > 1:
        found.add("copy")
    if image.declaration.smoke_test.boot and VSPHERE.boots_in(image.build_location):
        found.add("test")
    return found


def _places(row: Row, image: Image) -> Sequence[str]:
    """Which of an image's locations a row is of; what is none of them, is of their vCenter, in the row's own words."""
    folders = [one for one in image.locations if not is_library(one)]
    libraries = [one for one in image.locations if is_library(one)]
    upstream = image.source.upstream if image.source is not None else None
    found: Mapping[Where, Sequence[str]] = {
        "folders": folders,
        "first folder": folders[:1],
        "other folders": folders[1:],
        "libraries": libraries,
        "other libraries": libraries[1:],
        "source": [f"{_host(image.build_location)}: {upstream[1]}"] if upstream is not None else [],
        "elsewhere": [f"{_host(one)}: {row.on}" for one in folders[:1]],
    }
    return found[row.placed]


def _host(location: str) -> str:
    return location.removeprefix(SCHEME).partition("/")[0]


def credentials(images: Sequence[Image]) -> Iterator[str]:
    """Those of each vCenter."""
    for place in (one for image in images for one in image.locations):
        yield f"vsphere:{_host(place)}"
