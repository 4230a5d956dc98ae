"""How vSphere's templates are spoken of: the builders that leave one, where it is, and what it is cloned from.

A location is a folder of virtual machines, by its inventory path below the vCenter's name:
`vsphere://vcenter.example.org/DC0/vm/templates`. Without the scheme it would also be the name of a repository in a
container registry; with it, it is no region, which has no slash, and no folder of files, which begins with one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from reconciler.model.fleet import Builder, BuildLocation
from reconciler.model.kind import Kind
from reconciler.model.source import Pin, SourceRequest
from reconciler.ports.dialect import Written
from reconciler.registries.plain import PlainDialect, leaves_a_key, text

SCHEME = "vsphere://"
LIBRARY = "content-library"
"""What stands in the place of a datacenter in a location that is a content library: `vsphere://host/…/golden`."""
VSPHERE = Kind(
    name="vsphere", artifact="a template", location="folder", registry="vCenter", key="locations",
    example_location=f"{SCHEME}vcenter.example.org/DC0/vm/templates",
    id_form="[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", example_id="50054f38-0d3c-4b1e-9c55-f4ab1c7b6f0a",
    sources={"vsphere": None}, example='source: {vsphere: "…"}', pinned=("vsphere", "folder"),
    source_variable="source_template", source_attribute="template", name_attribute="vm_name",
    removal="destroy the template whose instance UUID is {id}, in {location}",
    builds_where_source_is=False, not_booted_in=rf"{SCHEME}[^/]+/{LIBRARY}/.+",
    stands_in=f"{SCHEME}[^/]+",
)  # fmt: skip

Template = Annotated[
    str,
    Field(min_length=1, pattern=r"^[^\x00-\x1f]+$", description="A template's name, or its inventory path (`/…`)."),
]

_HOST = r"[^/\s:@\[\]\x00-\x20\x7f]+(?::[0-9]{1,5})?"
_LIBRARY = re.compile(rf"vsphere://{_HOST}/{LIBRARY}/(?!vm$)[^/\x00-\x1f]+")
"""A library called `vm` can't be told from the folder of a datacenter's machines."""
_IMPORTED = "content_library_destination"
_FOLDER = re.compile(rf"vsphere://{_HOST}(?:/[^/\x00-\x1f]+)*?/[^/\x00-\x1f]+/vm(?:/[^/\x00-\x1f]+)*")
# The plugin's own check before it clones (PreCleanVM in driver/vm.go; the same in Packer 1.6.6 and in v1.4.2).
_NAME_TAKEN = re.compile(r".*already exists, you can use -force flag.*")
_BUILDERS = frozenset({"vsphere-iso", "vsphere-clone"})
_IMPORT = "vsphere"
_MARKED = "vsphere-template"


class VSphereDialect(PlainDialect):
    """The `Dialect` of vSphere's templates."""

    kind: Kind = VSPHERE

    @property
    def sources(self) -> Mapping[str, Any]:
        """Another template, by its name or its path."""
        return {"vsphere": Template}

    def builder(self, written: Written) -> Builder:
        """A builder, where it puts what it makes, and what it clones."""
        at, source = _location(written), written.get("template")
        made = Builder(
            written.name, written.type, written.place, at, ssh_username=text(written, "ssh_username"),
            communicator=_communicator(written), clears_keys=not leaves_a_key(written),
        )  # fmt: skip
        if written.type != "vsphere-clone" or source is None:
            return made
        request = SourceRequest.model_validate({"vsphere": source.text}) if source.text else None
        unpinned = None if request is not None else f"template: {source.why_unknown or 'it is empty'}"
        return replace(made, source=request, source_place=source.place, unpinned=unpinned)

    def notes(self, written: Written) -> Iterator[str]:
        """That what it leaves is no template, which is what can't be started and changed by mistake."""
        if written.type not in _BUILDERS or any(one.type == _MARKED for one in written.after):
            return
        imported = _imported(written)
        if imported is not None:
            if text(imported, "destroy") != "true":
                yield (
                    f"{written.name}: the machine is what is kept and marked, and what it imports to a content library "
                    "is not (destroy = true in content_library_destination)"
                )
            return
        marks = written.get("convert_to_template")
        if marks is None or marks.text == "false":
            yield (
                f"{written.name}: it leaves a virtual machine, which may be started, and is then another "
                "(convert_to_template = true)"
            )

    def wrong_location(self, location: str) -> str | None:
        """It has the form of a folder of virtual machines, below a datacenter's `vm`, or of a content library."""
        known = _FOLDER.fullmatch(location) is not None and not {".", ".."} & set(location.split("/"))
        if known or is_library(location):
            return None
        return (
            f"a vCenter's folder of virtual machines, as {VSPHERE.example_location} is, nor a content library, as "
            f"{SCHEME}vcenter.example.org/{LIBRARY}/golden is"
        )

    def name_taken(self, said: str) -> tuple[str, tuple[str, ...]] | None:
        """The line that says that another machine has the name already; Packer does not say which."""
        found = _NAME_TAKEN.search(said)
        return (found[0], ()) if found is not None else None

    def meant_earlier(self, asked: Any, named: str, *, now: Pin, resolve: Callable[[SourceRequest], Pin]) -> Pin | None:
        """The same template, by the UUID that is found there now, before it was changed."""
        del asked, resolve
        there = now.upstream
        if there is None or named.partition("@")[0] != there.id.partition("@")[0]:
            return None
        return VSPHERE.pin(there.location, named, name=there.name, created=there.created)

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """The machine's instance UUID, of which a vCenter has one each; the id of an item of a library."""
        return {"vsphereLibraryItem" if is_library(location) else "vsphereInstanceUuid": artifact_id}


DIALECT = VSphereDialect()


def is_library(location: str) -> bool:
    """Whether a location is a content library, and no folder."""
    return _LIBRARY.fullmatch(location) is not None


def _imported(written: Written) -> Written | None:
    """Where a builder says into which content library it imports what it makes, unless it is told not to."""
    found = next(iter(written.blocks(_IMPORTED)), None) if written.type in _BUILDERS else None
    return None if found is not None and text(found, "skip_import") == "true" else found


def _communicator(written: Written) -> str:
    return text(written, "communicator") or "ssh"


def _location(written: Written) -> BuildLocation | None:
    """The folder that Packer puts it in, as far as the template says it; None where it says nothing.

    Without a datacenter it is the vCenter's only one, whose name is not known here. The post-processor vsphere-template
    registers it anew in a folder of its own, unless `reregister_vm` is false.
    """
    imported = _imported(written)
    if imported is not None and text(imported, "destroy") == "true":
        return _in_library(written, imported)
    for one in reversed([written, *written.after]):
        if one.type == _IMPORT:
            return _at(one, server="host", folder="vm_folder")
        if one.type in _BUILDERS:
            return _at(one, server="vcenter_server", folder="folder")
        if one.type == _MARKED and one.get("folder") is not None and text(one, "reregister_vm") != "false":
            return _at(one, server="host", folder="folder")
    return None


def _in_library(written: Written, imported: Written) -> BuildLocation | None:
    """The library, where the machine itself is destroyed once it is imported."""
    host, library = written.get("vcenter_server"), imported.get("library")
    if host is None or library is None:
        return None
    known = f"{SCHEME}{host.text}/{LIBRARY}/{library.text}" if host.text and library.text else None
    return BuildLocation(known, None, library.place)


def _at(written: Written, *, server: str, folder: str) -> BuildLocation | None:
    host, datacenter, below = (written.get(name) for name in (server, "datacenter", folder))
    if host is None:
        return None
    known = host.text and datacenter is not None and datacenter.text and (below is None or below.text is not None)
    if not known or datacenter is None:
        return BuildLocation(None, None, host.place)
    inside = (below.text or "").strip("/") if below is not None else ""
    path = "/".join(filter(None, (datacenter.text or "", "vm", inside)))
    return BuildLocation(f"{SCHEME}{host.text}/{path.replace('//', '/')}", None, host.place)
