"""The privileges that are printed are those of the page, and of the calls that are made."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.fleet import read_fleet
from reconciler.model.fleet import Image
from reconciler.registries import rights_of
from reconciler.registries.vsphere import allowed, session
from tests.unit.desired.conftest import MemoryTree

FOLDER = Path(allowed.__file__).parent
PAGE = Path(__file__).parents[4] / "docs" / "kinds.md"
OF_THE_CLIENT = {"DropConnections"}
"""Of pyvmomi's own connection, which is called as a method of the API is."""
PLACE = "vsphere://vcenter.example.org/DC0/vm"
TEMPLATE = """\
source "vsphere-clone" "linux" {
  vcenter_server      = "vcenter.example.org"
  datacenter          = "DC0"
  folder              = "templates"
  template            = "debian-12"
  vm_name             = "linux"
  convert_to_template = true
  ssh_username        = "debian"
}
build { sources = ["source.vsphere-clone.linux"] }
"""
LIBRARY = 'content_library_destination {\n library = "golden"\n ovf = true\n destroy = true\n }'


def table() -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The rows of the page's table: the privileges, what they are on, and what for."""
    (_, text) = PAGE.read_text().split("| privilege | where | what for |\n|---|---|---|\n")
    for line in text.partition("\n\n")[0].splitlines():
        names, on, what_for = (cell.strip() for cell in line.strip("| ").split(" | "))
        yield tuple(re.findall(r"`([^`]+)`", names)), on, what_for


def called() -> set[str]:
    """Whatever is called on an object of the API, and how a library is asked, in all of the folder."""
    known = set(methods()) - OF_THE_CLIENT
    found = set()
    for module in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=name)) if name in known:
                    found.add(name)
                case ast.Call(func=ast.Attribute(attr="ask"), args=[_, ast.Constant(str() as method), _, *_]):
                    found.add(method)
    return found


def methods() -> dict[str, set[str]]:
    """Each method of the API that is asked of, as its own model calls it, with the privileges that the model names."""
    vim, vmodl = session.vim, session.vmodl
    asked: tuple[Any, ...] = (
        vim.ServiceInstance, vim.SessionManager, vim.SearchIndex, vim.CustomFieldsManager, vim.event.EventManager,
        vim.view.ViewManager, vim.view.ContainerView, vim.Task, vim.Folder, vim.VirtualMachine,
        vmodl.query.PropertyCollector,
    )  # fmt: skip
    found: dict[str, set[str]] = {}
    for one in (info for managed in asked for info in managed._GetMethodList()):
        for name in (one.wsdlName, one.name):
            found.setdefault(name, set()).update({one.privId} - {None, "System.Anonymous"})
    return found


def image(*locations: str, boots: bool = True) -> Image:
    declared = f"locations: [{', '.join(locations)}]\n" + ("" if boots else "smoke_test: {boot: false}\n")
    folder = 'folder              = "templates"'
    template = TEMPLATE.replace(folder, LIBRARY if "content-library" in locations[0] else folder)
    files = {"desired/linux/image.yaml": declared, "desired/linux/linux.pkr.hcl": template}
    fleet = read_fleet(MemoryTree(files, {}))
    assert not fleet.problems
    return fleet.images["linux"]


def printed(one: Image) -> dict[str, set[str]]:
    """What is printed of an image: privileges by what they are on."""
    of_kind = rights_of("vsphere", [one])
    assert of_kind is not None
    found: dict[str, set[str]] = {}
    for right in of_kind.rights:
        found.setdefault(right.on, set()).update(right.names)
    return found


def test_the_pages_table_is_the_one_that_is_printed() -> None:
    assert list(table()) == [(row.names, row.on, row.what_for) for row in allowed.ROWS]


def test_every_call_that_is_made_is_known_with_what_it_needs_and_no_other_is() -> None:
    assert called() == set(allowed.CALLS)


def test_the_apis_own_model_asks_for_no_more() -> None:
    for name, privileges in methods().items():
        if name in allowed.CALLS and name != "Destroy":
            assert privileges <= set(allowed.CALLS[name]), name


def test_what_the_calls_need_is_what_is_printed_and_nothing_else() -> None:
    of_calls = {name for names in allowed.CALLS.values() for name in names}

    assert {name for row in allowed.ROWS for name in row.names} == of_calls


@pytest.mark.parametrize("boots", [True, False])
@pytest.mark.parametrize("copies", [True, False])
def test_only_what_a_fleet_does_is_asked_for(*, boots: bool, copies: bool) -> None:
    first, second = f"{PLACE}/templates", f"{PLACE}/office"

    found = printed(image(*[first, second][: 2 if copies else 1], boots=boots))

    assert {"Global.SetCustomField", "VirtualMachine.Inventory.Delete"} <= found[first]
    assert ("VirtualMachine.Interact.PowerOn" in found[first]) == boots
    assert ("VirtualMachine.Provisioning.CloneTemplate" in found[first]) == copies
    assert (second in found) == copies
    assert ("vcenter.example.org: its datastore and networks" in found) == boots


def test_of_libraries_no_machines_privilege_is_asked_for() -> None:
    place = "vsphere://vcenter.example.org/content-library"

    found = printed(image(f"{place}/golden", f"{place}/office"))

    assert found.pop("vcenter.example.org: debian-12") == {"System.View", "System.Read"}, "it is built on"
    assert {name.partition(".")[0] for names in found.values() for name in names} == {"ContentLibrary"}
    assert "ContentLibrary.AddLibraryItem" in found[f"{place}/office"]
    assert "ContentLibrary.AddLibraryItem" not in found[f"{place}/golden"]
