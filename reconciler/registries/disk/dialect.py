"""How disks are spoken of: the builders that leave a file, and what they are built on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from reconciler.model.errors import UserError
from reconciler.model.fleet import Builder, MachineUse
from reconciler.model.kind import Kind
from reconciler.model.source import SourceRequest
from reconciler.model.values import Model
from reconciler.ports.dialect import Written
from reconciler.registries.disk.formats import CONVERTER, FORMATS
from reconciler.registries.plain import PlainDialect, leaves_a_key, text

SHA256 = "sha256:"
BUCKET = "s3://"
DISK = Kind(
    name="disk", artifact="a disk", location="folder", registry="the folder", key="locations",
    example_location="/srv/images", id_form=rf"{SHA256}[0-9a-f]{{64}}(?:\.[1-9][0-9]*)?", example_id=f"{SHA256}…",
    ids_are_digests=True,
    between="/",
    sources={"disk": {"checksum": None}}, example='source: {disk: {url: "…", checksum: "sha256:…"}}',
    pinned=("disk", "url"), source_variable="source_disk", source_attribute="iso_url",
    given="{location}/{id}", given_upstream="{id} {location}", builds_where_source_is=False,
    stands_in="s3://[^/]+",
    converted=True,
)  # fmt: skip

_QEMU = "qemu-system-x86_64"  # where `qemu_binary` says nothing else (documentation of Packer's builder)
_CONVERTED = frozenset({"qemu", "file"})
"""Builders whose file is a disk as it is, raw or qcow2, and can be converted: an OVA is an archive of several."""
_BOOTED = frozenset({"qemu"})
"""Builders that boot what they leave, so that it can be booted to be tested; another may write any file."""


TAKEN_OVER = 'declare variable "accelerator" { default = "" }, and take it: accelerator = var.accelerator'
"""How a template is given what works on the machine that it is built on."""
_FOLDERS = frozenset({"virtualbox-iso", "virtualbox-ovf", "vmware-iso", "vmware-vmx"})
"""Builders that leave a folder of files, unless `format` has them export one (the plugins' pages on each)."""
_ONE_FILE = "ova"
_AS_IT_IS = frozenset({"manifest", "checksum", "shell-local"})
"""Post-processors that pass on what they are given (the pages of Packer on each): none of them makes one file of it."""
_PACKED = frozenset({"compress", "vagrant"})
"""Those that make an archive of it, which is no disk that could be booted or converted."""
_BUILT_ON = {"virtualbox-ovf": ("source_path", "checksum"), "vmware-vmx": ("source_path", "")}
"""The attributes that say what else than `iso_url` a builder begins with, and its digest, where it has one."""


_PREFIX = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9!_.*'()-]+)+")
"""A bucket ("Bucket naming rules" of the S3 user guide), and a prefix of characters that are safe in a key."""


class DiskRequest(Model):
    """A file that a disk is built on: a path, or an address with the digest of what is there."""

    url: str = Field(pattern=r"^(?:(?:/|file:///)[^\x00-\x1f\x7f]+|https?://\S+)$")
    checksum: str | None = Field(None, pattern="^sha256:[0-9a-f]{64}$", description="Of a path it is found out.")

    @model_validator(mode="after")
    def _is_exact(self) -> Self:
        if self.url.startswith("http") and self.checksum is None:
            raise ValueError('what is at an address may change: add its checksum, "sha256:…"')
        return self


class DiskDialect(PlainDialect):
    """The `Dialect` of disks."""

    kind: Kind = DISK

    @property
    def sources(self) -> Mapping[str, Any]:
        """A file somewhere."""
        return {"disk": DiskRequest}

    def builder(self, written: Written) -> Builder:
        """A builder, with what it is built on where it says that with a digest.

        Raises UserError for one that leaves several files, with nothing after it that may make one of them.
        """
        _refuse_folder(written)
        taken, by = _BUILT_ON.get(written.type, ("iso_url", "iso_checksum"))
        url, at = text(written, taken), written.get(taken)
        digest = (text(written, by) or "").removeprefix(SHA256)
        asked = {"url": url, "checksum": f"{SHA256}{digest}"}
        wrong = _wrong(asked, taken=taken, by=by) if at is not None else None
        source = SourceRequest.model_validate({"disk": asked}) if at is not None and wrong is None else None
        packed = any(one.type in _PACKED for one in written.after)
        converted = written.type in _CONVERTED and not packed
        return Builder(
            written.name, written.type, written.place, None, source, at.place if at else None, wrong,
            ssh_username=text(written, "ssh_username"),
            communicator="none" if packed else _communicator(written),
            clears_keys=written.type not in _BOOTED or not leaves_a_key(written),
            programs=_programs(written),
            formats=FORMATS if converted else (), converter=CONVERTER if converted else "",
            machine=_machine(written) if written.type in _BOOTED else None,
        )  # fmt: skip

    def notes(self, written: Written) -> Iterator[str]:
        """That it is left to Packer what a machine runs on."""
        if written.type in _BOOTED and not _machine(written).is_said:
            taken = f"{written.name} names no accelerator, so that Packer takes KVM wherever /dev/kvm can be opened"
            yield f"{written.place}: {taken}; for what works: {TAKEN_OVER}"

    def wrong_location(self, location: str) -> str | None:
        """A folder has its whole path: a relative one would be another for every checkout."""
        known = (location.startswith("/") and location.strip("/") != "") or _PREFIX.fullmatch(location) is not None
        if not known or not location.isprintable():
            return "the whole path of a folder, as /srv/images is, or s3://bucket/prefix"
        scheme = BUCKET if location.startswith(BUCKET) else "/"
        steps = [step for step in location.removeprefix(scheme).split("/") if step not in ("", ".")]
        if ".." in steps:
            return 'a path without ".."'
        shortest = scheme + "/".join(steps)
        return None if location == shortest else f"the shortest name of that place, {shortest}"

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """The digest of its bytes."""
        del location
        return {"sha256": artifact_id.removeprefix(SHA256).partition(".")[0]}


DIALECT = DiskDialect()


def _wrong(asked: Mapping[str, str | None], *, taken: str, by: str) -> str | None:
    """Why what a builder begins with can't be pinned; None where it can."""
    if not by:
        return f"{taken} is several files, of which no digest is given"
    try:
        DiskRequest.model_validate(asked)
    except ValidationError as error:
        of_url = any(one["loc"] == ("url",) for one in error.errors()) and asked["url"] is not None
        return f"{taken} is neither a whole path nor an address" if of_url else f"{by} is no sha256 that is known"
    return None


def _communicator(written: Written) -> str:
    return text(written, "communicator") or ("ssh" if written.type in _BOOTED else "none")


def _programs(written: Written) -> tuple[str, ...]:
    """What a builder runs: of qemu the one that the template names, where that is known."""
    if written.type != "qemu":  # VMware's may be run on a host elsewhere
        return ("VBoxManage",) if written.type.startswith("virtualbox-") else ()
    named = written.get("qemu_binary")
    return (CONVERTER, *([text(written, "qemu_binary") or _QEMU] if named is None or named.text else ()))


def _machine(written: Written) -> MachineUse:
    """What a builder has qemu run on."""
    said = written.get("accelerator")
    if said is None or (said.is_empty and said.variable is None):
        return MachineUse(None, None, said.place if said is not None else written.place, is_said=False)
    return MachineUse(said.text or None, said.variable if said.is_empty else None, said.place)


def _refuse_folder(written: Written) -> None:
    """Raise UserError for a builder that leaves a folder of files, as far as its template tells."""
    form = written.get("format")
    made = any(one.type not in _AS_IT_IS for one in written.after)
    if written.type not in _FOLDERS or made or (form is not None and form.text in (None, _ONE_FILE)):
        return
    raise UserError(
        f"{written.name} leaves several files, and a disk is one",
        where=form.place if form is not None else written.place,
        hint=f'set format = "{_ONE_FILE}" in the builder',
    )
