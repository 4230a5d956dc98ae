"""What is read of a template that leaves something in a vCenter: where it is, and what it is cloned from."""

from __future__ import annotations

import pytest

from reconciler import registries
from reconciler.desired.fleet import read_fleet
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import MemoryTree

CLONE = """\
variable "source_template" {{ default = "" }}
source "vsphere-clone" "web" {{
  vcenter_server = "vcenter.example.org"
  datacenter     = "DC0"
  folder         = "templates/linux"
  vm_name        = "web"
{attributes}
}}
build {{
  sources = ["source.vsphere-clone.web"]
{after}
}}
"""
HOME = "vsphere://vcenter.example.org/DC0/vm/templates/linux"
MARKED = 'template = "base/debian-12"\nconvert_to_template = true'


def fleet(attributes: str = MARKED, *, yaml: str = "", after: str = "", written: str = CLONE) -> Fleet:
    template = written.format(attributes=attributes, after=after)
    return read_fleet(MemoryTree({"desired/web/image.yaml": yaml, "desired/web/web.pkr.hcl": template}, {}))


def problem(read: Fleet) -> str:
    ((one,),) = read.problems.values()
    return str(one)


def test_the_folder_and_the_origin_are_those_of_the_builder() -> None:
    image = fleet().images["web"]

    assert (image.kind.name, image.locations) == ("vsphere", (HOME,))
    assert image.source is not None
    assert image.source.upstream == ("vsphere", "base/debian-12")
    assert not any("convert_to_template" in note for note in image.notes)


def test_without_a_folder_it_is_that_of_all_machines() -> None:
    image = fleet(written=CLONE.replace('  folder         = "templates/linux"\n', "")).images["web"]

    assert image.locations == ("vsphere://vcenter.example.org/DC0/vm",)


@pytest.mark.parametrize("lacks", ["datacenter", "vcenter_server"])
def test_where_the_template_does_not_say_which_folder_it_is_image_yaml_has_to(lacks: str) -> None:
    written = "\n".join(line for line in CLONE.splitlines() if lacks not in line)

    assert "it can't be known in which folder vsphere-clone.web builds" in problem(fleet(written=written))
    assert fleet(written=written, yaml=f"locations: ['{HOME}']").images["web"].locations == (HOME,)


def test_another_folder_than_the_templates_is_refused() -> None:
    assert f"builds in {HOME}" in problem(fleet(yaml="locations: ['vsphere://vcenter.example.org/DC0/vm/others']"))


@pytest.mark.parametrize(
    "location",
    [
        "us-east-1",
        "/srv/images",
        "vcenter.example.org/DC0/vm/templates",
        "vsphere://vcenter.example.org/DC0",
        "vsphere://vcenter.example.org/DC0/host/x",
        "vsphere://vcenter.example.org/DC0/vm/../x",
        "vsphere://[::1]/DC0/vm/x",
        "vsphere://vcenter.example.org:https/content-library/x",
        "vsphere://ada:secret@vcenter.example.org/content-library/x",
    ],
)
def test_what_is_no_folder_of_machines_is_no_location(location: str) -> None:
    assert "is not a vCenter's folder of virtual machines" in problem(
        fleet(yaml=f"locations: ['{HOME}', '{location}']")
    )


def test_a_location_has_the_form_of_no_other_kinds() -> None:
    held = [one.kind.name for one in registries.dialects() if one.wrong_location(HOME) is None]

    assert held == ["vsphere"]


def test_a_source_that_image_yaml_names_is_given_by_a_variable() -> None:
    image = fleet("template = var.source_template", yaml="source: {vsphere: /DC0/vm/base/debian-12}").images["web"]

    assert image.source is not None
    assert image.source.upstream == ("vsphere", "/DC0/vm/base/debian-12")
    assert image.source_variable == "source_template"


def test_what_stays_a_machine_is_told_of() -> None:
    assert any("it leaves a virtual machine" in note for note in fleet('template = "x"').images["web"].notes)


def test_what_a_post_processor_registers_anew_is_in_its_folder() -> None:
    after = 'post-processor "vsphere-template" {{ {more} }}'
    moves = 'host = "vcenter.example.org", datacenter = "DC0", folder = "/golden"'.replace(", ", "\n")

    assert fleet(after=after.format(more=f"\n{moves}\n")).images["web"].locations == (
        "vsphere://vcenter.example.org/DC0/vm/golden",
    )
    stays = f"\n{moves}\nreregister_vm = false\n"
    assert fleet(after=after.format(more=stays)).images["web"].locations == (HOME,)


def test_a_disk_that_is_imported_is_a_template() -> None:
    written = """\
source "qemu" "web" {{ {attributes} }}
build {{
  sources = ["source.qemu.web"]
  post-processor "vsphere" {{
    host       = "vcenter.example.org"
    datacenter = "DC0"
    vm_folder  = "golden"
  }}
}}
"""
    image = fleet("", written=written).images["web"]

    assert (image.kind.name, image.locations) == ("vsphere", ("vsphere://vcenter.example.org/DC0/vm/golden",))


def test_packers_word_that_a_name_is_taken_is_understood() -> None:
    """As Packer 1.6.6 and 1.16.0 print it."""
    dialect = registries.dialect_of("vsphere")
    said = "templates/web-1 already exists, you can use -force flag to destroy it: <nil>"

    assert dialect.name_taken(f"Cloning VM...\n{said}\n") == (said, ())
    assert dialect.name_taken("Error: could not find vSphere datastore") is None


def test_provenance_names_it_by_its_instance_uuid() -> None:
    uuid = "c327cd07-4f44-5849-ac06-2918b14dfa6b"

    assert registries.dialect_of("vsphere").subject(HOME, uuid) == {"vsphereInstanceUuid": uuid}


IMPORTED = 'template = "base/debian-12"\ncontent_library_destination {{\n  library = "golden"\n{more}\n}}'


def test_what_is_imported_and_destroyed_is_an_item_of_the_library() -> None:
    (image,) = fleet(IMPORTED.format(more="ovf = true\ndestroy = true")).images.values()
    assert image.locations == ("vsphere://vcenter.example.org/content-library/golden",)
    assert not [note for note in image.notes if "convert_to_template" in note or "destroy" in note]


@pytest.mark.parametrize("more", ["", "destroy = false", "skip_import = true\ndestroy = true"])
def test_a_machine_that_stays_is_what_is_kept(more: str) -> None:
    (image,) = fleet(IMPORTED.format(more=more)).images.values()
    assert image.locations == (HOME,)
    assert [note for note in image.notes if "content_library_destination" in note or "convert_to_template" in note]


@pytest.mark.parametrize(
    ("location", "known"),
    [
        ("vsphere://vcenter.example.org/content-library/golden images", True),
        ("vsphere://vcenter.example.org/content-library/vm", True),  # a datacenter of that name
        ("vsphere://vcenter.example.org/content-library/a/b", False),
        ("vsphere://vcenter.example.org/content-library/", False),
        ("vsphere://vcenter.example.org/content-library", False),
    ],
)
def test_a_library_is_a_location(location: str, *, known: bool) -> None:
    dialect = registries.dialect_of("vsphere")
    assert (dialect.wrong_location(location) is None) == known
    named = "vsphereInstanceUuid" if location.endswith("/vm") or not known else "vsphereLibraryItem"
    assert dialect.subject(location, "1") == {named: "1"}


@pytest.mark.parametrize(
    ("login", "noted"),
    [
        ("", True),
        ('ssh_username = "debian"', True),
        ('ssh_private_key_file = "key"', False),
        ('ssh_password = "thrown-away"', False),
        ("ssh_agent_auth = true", False),
        ("ssh_clear_authorized_keys = true", False),
    ],
)
def test_that_a_key_of_packers_stays_is_noted_where_it_makes_one(login: str, noted: bool) -> None:  # noqa: FBT001
    image = fleet(f"{MARKED}\n{login}").images["web"]

    assert any("temporary key stays" in note for note in image.notes) == noted
    assert image.template.makers[0].ssh_username == ("debian" if "debian" in login else None)


def test_of_an_item_of_a_library_nothing_is_noted_that_is_of_what_boots() -> None:
    imported = 'content_library_destination {\n  library = "golden"\n  destroy = true\n}'
    image = fleet(f'template = "base/debian-12"\n{imported}').images["web"]

    assert image.kind.boots_in(image.build_location) is False
    assert not any("temporary key" in note for note in image.notes)
