"""What templates need: pyvmomi, a login that their vCenter takes, and privileges on the folders that are declared."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from reconciler.model.errors import ReconcilerError
from reconciler.model.text import counted
from reconciler.ports.needs import Asking, Need
from reconciler.registries.vsphere.dialect import is_library
from reconciler.registries.vsphere.inventory import folder_at, split
from reconciler.registries.vsphere.session import VCenters

EVERYWHERE = ("Global.SetCustomField", "VirtualMachine.Inventory.Delete")
"""To mark, and to retire."""
COPIED = ("VirtualMachine.Provisioning.CloneTemplate",)
"""Where something is copied from."""
COPIES = ("VirtualMachine.Inventory.CreateFromExisting", "VirtualMachine.Config.Rename")
"""Where copies are."""
TESTED = (
    "VirtualMachine.Provisioning.DeployTemplate", "VirtualMachine.Inventory.CreateFromExisting",
    "VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff",
)  # fmt: skip
"""Where something is built, and booted to be tested."""


def needs(asking: Asking) -> Iterator[Need]:
    """Sign in to each vCenter, and ask it what its role may do in each folder; what is on datastores is not asked."""
    vcenters = VCenters(asking.environment, threading.Event())
    folders: dict[str, list[str]] = {split(one)[0]: [] for one in asking.locations}
    for location in asking.locations:
        folders[split(location)[0]] += [] if is_library(location) else [location]
    for host, locations in sorted(folders.items()):
        question = partial(_answer, folders=locations, asking=asking)
        try:
            product, lacking = vcenters.of(host).ask("asking what the role may do", question)
        except ReconcilerError as error:
            yield Need(error.what, "trouble", error.hint)
            continue
        if lacking:
            lines = (f"{place}: {', '.join(missing)}" for place, missing in lacking.items())
            yield Need(f"the role in {host} lacks privileges", "trouble", (*lines, "docs/kinds.md says what for"))
        else:
            enough = f"its role is enough in {counted(len(locations), 'folder')}"
            yield Need(f"{product} at {host} takes the login, and {enough}")


def privileges(location: str, asking: Asking) -> tuple[str, ...]:
    """What a role needs on a folder, each once."""
    wanted = list(EVERYWHERE)
    if location in asking.homes:
        wanted += [*(COPIED if asking.homes[location] else ()), *(TESTED if asking.booted else ())]
    else:
        wanted += COPIES
    return tuple(dict.fromkeys(wanted))


def _answer(content: Any, *, folders: Sequence[str], asking: Asking) -> tuple[str, dict[str, list[str]]]:
    """What the vCenter is, and the privileges that lack, by folder."""
    session, lacking = content.sessionManager.currentSession.key, {}
    for location in folders:
        wanted = list(privileges(location, asking))
        (answer,) = content.authorizationManager.HasPrivilegeOnEntities([folder_at(content, location)], session, wanted)
        missing = [one.privId for one in answer.privAvailability if not one.isGranted]
        if missing:
            lacking[location] = missing
    return str(content.about.fullName), lacking
