"""Disks in other formats: what qemu-img makes of one, and how it is told that two hold the same.

qemu-img is told what it reads, and never left to find out: it takes a few lines of text for a description of other
files (VMDK), and shows those of this machine to whoever gets what is made of them. A file is opened once: what was
looked at is what it reads, whatever somebody lays out under its name meanwhile, or writes into it (`front`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple
from uuid import UUID

from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.registries.disk.front import FRONT, layer_of, over
from reconciler.registries.disk.regular import opened

CONVERTER = "qemu-img"
FORMATS = ("qcow2", "raw", "vdi", "vhdx", "vmdk", "vpc")
"""What a disk is converted to, as `qemu-img convert -O` calls them; `vpc` is a VHD."""
_QCOW = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQ56sQ")
"""Magic, version, where the name of a backing file stands, and, beyond version 2, the incompatible features."""
_PLAIN = 2
_LEADING = ("qcow2", "vmdk")
"""Formats of which qemu opens other files, where their header names them: of the others it reads no parents."""
_APART = 1 << 2
"""The feature that the data is in a file of its own."""
_MADE_WHOLE = "`qemu-img convert` makes one of both in the build"
_SECONDS = 60.0
_CONVERTING_SECONDS = 6 * 3600.0
_LOOK = 0.05
_DIFFER = 1
"""What `qemu-img compare` ends with where the two differ; more is an error (qemu-img(1))."""
_NO_SPACE = re.compile(r"No space left on device|File too large|Disk quota exceeded")


@contextmanager
def held(disk: Path) -> Iterator[Held]:
    """A disk, for as long as it is looked at and read by qemu. Raises OSError for what is no file.

    Raises UserError for one that leads to another file, and Transient at the end where it was written to meanwhile: of
    what qemu read then, nobody looked at the beginning.
    """
    with opened(disk) as file:
        before, front = _changes(file), _front_of(file)
        with holding(file, front, form=format_of(front, disk.name)) as read:
            yield read
        if _changes(file) != before:
            raise Transient(f"{disk.name} was changed while it was read", hint="see who may write there")


@dataclass(frozen=True)
class Held:
    """A disk that is open, and the format in which qemu is to read it.

    `layer` is its beginning as it was looked at; one in whose format nothing leads anywhere has none.
    """

    file: IO[bytes]
    form: str
    layer: IO[bytes] | None = None

    @property
    def descriptors(self) -> list[int]:
        """Those of the files, which qemu has to be given."""
        return [one.fileno() for one in (self.file, self.layer) if one is not None]

    @property
    def named(self) -> str:
        """What qemu is to call it, which has the descriptors: a qcow2 stands on nothing, whatever its header says."""
        path = _path(self.file)
        if self.layer is None:
            return path
        return "json:" + json.dumps({"driver": self.form, "backing": None, "file": over(_path(self.layer), path)})


@contextmanager
def holding(file: IO[bytes], front: bytes, *, form: str) -> Iterator[Held]:
    """A disk of a format, as its front was looked at."""
    if form not in _LEADING:
        yield Held(file, form)
        return
    with layer_of(front, os.fstat(file.fileno()).st_size) as layer:
        yield Held(file, form, layer)


def _front_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(FRONT)


def _path(file: IO[bytes]) -> str:
    return f"/dev/fd/{file.fileno()}"


def _changes(file: IO[bytes]) -> tuple[int, int, int]:
    """What tells that a file was written to. Nobody sets the last of these times."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def format_of(front: bytes, name: str) -> str:
    """What a disk's bytes are, by those at its beginning alone: `qcow2`, else `raw`, which is what its builder leaves.

    Raises UserError for one that leads to another file. Its header is as in QEMU's docs/interop/qcow2.txt.
    """
    header = front[: _HEADER.size]
    if not header.startswith(_QCOW):
        return "raw"
    _, version, backing, _, incompatible = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
    if backing or (version > _PLAIN and incompatible & _APART):
        raise UserError(f"{name} is not whole: it stands on another file", hint=_MADE_WHOLE)
    return "qcow2"


def form_of(beginning: bytes) -> str:
    """The format of a disk as it is recorded, by its first `FIRST` bytes: one of `FORMATS` or `ova`, else `raw`."""
    if beginning[257:262] == _TAR:
        return "ova"
    found = (form for form, magics in _MAGIC.items() if beginning.startswith(magics))
    return next(found, "raw")


def refuse_part(disk: Path) -> None:
    """Raise UserError for a file that is no disk by itself: empty, or one that stands on files beside it.

    Told by what is at its beginning, of the formats that can: VDI and VHD in what they say that they are, VHDX in its
    metadata, VMDK in its description, which of a disk in several files stands in a file of its own ("Virtual Disk
    Format 5.0", VMware).
    """
    with opened(disk) as file:
        beginning = file.read(FIRST)
        form = form_of(beginning)
        header = _VMDK.unpack_from(beginning.ljust(FIRST, b"\0"))
        where, length = header[-2:] if form == "vmdk" else (0, 0)
        file.seek(where * _SECTOR)
        words = file.read(min(length, _WORDS) * _SECTOR)
        if not beginning:
            raise UserError(f"{disk.name} is empty, and no disk", hint="see the build's log for why nothing is in it")
        if form == "qcow2":
            format_of(beginning, disk.name)
        leads = {
            "vdi": beginning[76:80] in _PART_OF_VDI,
            "vpc": beginning[60:64] == _PART_OF_VHD,
            "vhdx": form == "vhdx" and not _is_whole_vhdx(file),
            "vmdk": header[3] == 0 or not _is_of_itself(words),
        }.get(form, beginning.startswith(_DESCRIPTION))
    if leads:
        raise UserError(
            f"{disk.name} is not whole: it is a part of a disk, or stands on another file", hint=_MADE_WHOLE
        )  # fmt: skip


def convert(disk: Path, into: Path, *, form: str, cancelled: threading.Event) -> None:
    """Write a disk to a new file in another format, and have it on the disk whole.

    Raises Transient where there is no room for it, and where it is `cancelled`; what is written by then is the caller's
    to remove.
    """
    with held(disk) as read:
        ended = _run(
            ["convert", "-q", "-f", read.form, "-O", form, read.named, str(into)],
            of=read.descriptors, seconds=_CONVERTING_SECONDS, cancelled=cancelled,
        )  # fmt: skip
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip()
        full = _NO_SPACE.search(said)
        if full is not None:
            raise Transient(
                f"there is no room for it in {into.parent.parent}: {full[0]}",
                hint="make room there: the next run converts it, and builds nothing anew",
            )
        raise Terminal(f"qemu-img convert: {said[:200]}")
    with into.open("rb") as written:
        os.fsync(written.fileno())


def holds_the_same(disk: Path, conversion: Path, *, form: str, cancelled: threading.Event) -> bool:
    """Whether a file in another format holds what a disk does, by all that a machine would read of them.

    False for what is not of that format, and for a conversion that leads to other files.
    """
    with held(disk) as read, opened(conversion) as file:
        before, front = _changes(file), _front_of(file)
        if form != "raw" and not front.startswith(_MAGIC[form]):
            return False
        if not _is_whole(file, front, form):
            return False
        with holding(file, front, form=form) as other:
            ended = _run(
                ["compare", "-q", "-f", read.form, "-F", form, read.named, other.named],
                of=[*read.descriptors, *other.descriptors], seconds=_CONVERTING_SECONDS, cancelled=cancelled,
            )  # fmt: skip
        return ended.returncode == 0 and _changes(file) == before


_MAGIC = {
    "qcow2": (_QCOW,), "vdi": (b"<<< ",), "vhdx": (b"vhdxfile",), "vmdk": (b"KDMV",), "vpc": (b"conectix",),
}  # fmt: skip
"""What a file of each format begins with, as qemu-img writes it: a VMDK of one file, and no description of others."""
_TAR = b"ustar"
"""What an archive of tar has in its first header, behind the name and seven fields (POSIX, "ustar")."""
FIRST = 512
"""Bytes at the beginning of a disk that tell its format."""


_VMDK = struct.Struct("<4sIIQQQQ")
"""Magic, version, flags, capacity and size of a grain; where the description is, and its length, in sectors."""
_SECTOR, _WORDS = 512, 20
_LEADS = re.compile(rb"parentFileNameHint|^parentCID=(?!ffffffff$)", re.MULTILINE)
_EXTENT = re.compile(rb"^(?:RW|RDONLY|NOACCESS) .*", re.MULTILINE)
_OF_ITSELF = re.compile(rb"(?:RW|RDONLY) [0-9]+ SPARSE .*")


def _is_whole(file: IO[bytes], front: bytes, form: str) -> bool:
    """Whether a file of a format that can lead to other files holds all of the disk itself."""
    if form == "vmdk":
        return _is_whole_vmdk(front)
    if form == "vpc":
        return front[60:64] in _WHOLE_VHD
    if form == "vhdx":
        return _is_whole_vhdx(file)
    try:
        return form != "qcow2" or format_of(front, form) == "qcow2"
    except UserError:
        return False


def _is_whole_vmdk(front: bytes) -> bool:
    """Whether a VMDK is one as qemu-img writes it: of one file, which begins with its own description.

    Of a capacity of 0, qemu reads the description as that of a disk of other files (vmdk_open_vmdk4, block/vmdk.c).
    """
    _, _, _, capacity, _, *described = _VMDK.unpack_from(front.ljust(_SECTOR, b"\0"))
    words = front[_SECTOR : (1 + _WORDS) * _SECTOR]
    return capacity > 0 and described == [1, _WORDS] and _is_of_itself(words)


def _is_of_itself(words: bytes) -> bool:
    """Whether the description of a VMDK names no other file: its one extent is what follows, and it has no parent."""
    extents = _EXTENT.findall(words)
    return len(extents) == 1 and _OF_ITSELF.fullmatch(extents[0]) is not None and _LEADS.search(words) is None


def _is_whole_vhdx(file: IO[bytes]) -> bool:
    """Whether a VHDX says that it has no parent, wherever it may say so: its region table is there twice.

    [MS-VHDX] v20180912, 2.2.3 (region tables), 2.6.1 (the table of metadata), 2.6.2.1 (`HasParent`), 2.6.2.6 (parent
    locators). qemu-img says nothing of parents: it refuses such a file.
    """
    size = os.fstat(file.fileno()).st_size
    listed = [_REGIONS.listed(file, at, _METADATA_REGION) for at in _REGION_TABLES]
    regions = {where for each in listed for where in each}
    return bool(regions) and all(where < size and _has_no_parent(file, where) for where in regions)


def _has_no_parent(file: IO[bytes], region: int) -> bool:
    """Whether the metadata in a region of a VHDX name no parent. False where they can't be read."""
    said = []
    for where in _METADATA.listed(file, region, _FILE_PARAMETERS):
        file.seek(region + where)
        said.append(file.read(_PARAMETERS.size).ljust(_PARAMETERS.size, b"\xff"))
    if not said or _METADATA.listed(file, region, _PARENT_LOCATOR):
        return False
    return not any(flags & _HAS_PARENT for _, flags in map(_PARAMETERS.unpack, said))


class _Table(NamedTuple):
    """How a table of a VHDX is written: its header, signature and number of entries; and an entry, GUID and offset."""

    signature: bytes
    header: struct.Struct
    begin: int
    entry: struct.Struct

    def listed(self, file: IO[bytes], at: int, guid: UUID) -> list[int]:
        """The offsets that the table at a place has under a GUID; none where there is no such table."""
        file.seek(at)
        table = file.read(_TABLE).ljust(_TABLE, b"\0")
        signature, entries = self.header.unpack_from(table)
        if signature != self.signature:
            return []
        most = (_TABLE - self.begin) // self.entry.size
        found = (
            self.entry.unpack_from(table, self.begin + number * self.entry.size)
            for number in range(min(entries, most))
        )  # fmt: skip
        return [where for own, where in found if own == guid.bytes_le]


_REGION_TABLES, _TABLE = (192 << 10, 256 << 10), 64 << 10
"""Where a VHDX has its region tables, and the bytes of one, and of the table of metadata."""
_REGIONS = _Table(b"regi", struct.Struct("<4s4xI"), 16, struct.Struct("<16sQ8x"))
_METADATA = _Table(b"metadata", struct.Struct("<8s2xH"), 32, struct.Struct("<16sI12x"))
_METADATA_REGION = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_FILE_PARAMETERS = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
_PARENT_LOCATOR = UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
_PARAMETERS, _HAS_PARENT = struct.Struct("<II"), 1 << 1
"""The size of a block, and flags."""


_DESCRIPTION = b"# Disk DescriptorFile"
"""What the description of a VMDK begins with that is in files beside it."""
_PART_OF_VDI, _PART_OF_VHD = (b"\3\0\0\0", b"\4\0\0\0"), b"\0\0\0\4"
"""What VDI and VHD say of themselves where they have a parent: undo and differencing, and differencing."""
_WHOLE_VHD = (b"\0\0\0\2", b"\0\0\0\3")
"""The type of a VHD, fixed or dynamic: a differencing one has a parent, which qemu does not look at."""


def overlay(disk: Held, layer: Path) -> None:
    """Make a layer to write to, on top of a disk that stays as it is. Whoever opens it has to have its descriptor."""
    ended = _run(
        ["create", "-q", "-f", "qcow2", "-F", disk.form, "-b", disk.named, str(layer)],
        of=disk.descriptors, seconds=_SECONDS,
    )  # fmt: skip
    if ended.returncode != 0:
        raise Terminal(f"qemu-img create: {ended.stderr.decode(errors='replace').strip()[:200]}")


def _run(
    arguments: list[str], *, of: Sequence[int], seconds: float, cancelled: threading.Event | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run qemu-img, which is given some descriptors; it ends with the thread that began it.

    Raises Transient where it is stopped.
    """
    command = [program("setpriv"), "--pdeathsig", "KILL", program(CONVERTER), *arguments]
    until = time.monotonic() + seconds
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=of
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    out, errors = process.communicate(timeout=_LOOK)
                except subprocess.TimeoutExpired:
                    _refuse_stopped(arguments[0], late=time.monotonic() > until, seconds=seconds, cancelled=cancelled)
                else:
                    return subprocess.CompletedProcess(command, process.returncode, out, errors)
        finally:
            process.kill()


def _refuse_stopped(what: str, *, late: bool, seconds: float, cancelled: threading.Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise Transient(f"interrupted in qemu-img {what}")
    if late:
        raise Transient(f"qemu-img {what} took more than {seconds:.0f} s")


def program(name: str) -> str:
    """The path of a program. Raises UserError where it is not here."""
    found = shutil.which(name)
    if found is None:
        raise UserError(
            f"there is no {name} here, with which a disk is converted, and booted to be tested",
            hint=("`apt-get install qemu-system-x86 qemu-utils util-linux`", "or declare `smoke_test: {boot: false}`"),
        )
    return found
