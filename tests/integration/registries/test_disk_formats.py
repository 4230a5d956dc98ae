"""A disk in other formats, in a folder and in a bucket: qemu-img makes them, and qemu-img is the judge."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Seen
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.registries.disk import formats
from reconciler.registries.disk.formats import FORMATS, convert, held, holds_the_same, overlay
from reconciler.registries.disk.front import FRONT, layer_of, over
from reconciler.registries.disk.registry import DiskRegistry
from tests.needs import lacking

pytestmark = pytest.mark.disks

FLEET = "acme/images"
BIRTH = own(fleet=FLEET, image="web", build="20261122T101530Z-1a2b3c4")
KIB = 1 << 10


@pytest.fixture
def qemu_img() -> str:
    found = shutil.which("qemu-img")
    if found is None:
        lacking("no disk can be converted here: apt-get install qemu-utils")
    return found


@pytest.fixture
def opening() -> Opening:
    return Opening(FLEET, Settings())


@pytest.fixture
def registry(opening: Opening, moto: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DiskRegistry:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="acme-disks")
    return DiskRegistry(opening)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else "s3://acme-disks/images"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A disk that no machine boots: random bytes, nothing, random bytes."""
    disk = tmp_path / "left.raw"
    disk.write_bytes(os.urandom(64 * KIB) + bytes(256 * KIB) + os.urandom(64 * KIB))
    return disk


def stored(registry: DiskRegistry, location: str, file: Path, *, name: str = "web-1") -> Artifact:
    (one,) = registry.store(location, [Made("qemu.web", "", "", (str(file),))], name=name, tags=BIRTH)
    return one


def laid(registry: DiskRegistry, location: str, file: Path, *, name: str = "web-1") -> Artifact:
    """What somebody lays there who may write there, and no build leaves."""
    kept = registry.of(location).keep(file, location, name=name, tags=BIRTH)
    return Artifact(kind="disk", builder="qemu.web", location=location, id=kept, name=name)


def converted(registry: DiskRegistry, disk: Artifact, form: str, *known: tuple[str, str]) -> Conversion:
    return registry.convert(disk, form=form, name=f"{disk.name}.{form}", tags=BIRTH, known=known)


def found(registry: DiskRegistry, disk: Artifact) -> Seen:
    seen = registry.find(disk.location, disk.id)
    assert seen is not None
    return seen


def at(registry: DiskRegistry, disk: Artifact, artifact_id: str) -> Path:
    return registry.of(disk.location).path(disk.location, artifact_id)


def claims(disk: Artifact) -> dict[str, str]:
    """The marks of what is a conversion of a disk, or says so."""
    return {"reconciler:converted-from": disk.id, "reconciler:format": "vmdk"}


def judged(qemu_img: str, file: Path, form: str, *, like: Path) -> dict[str, Any]:
    """What `qemu-img info` says of a file, which `qemu-img compare` finds to hold what another does."""
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", form, str(like), str(file)], check=True)
    said = subprocess.run([qemu_img, "info", "--output=json", str(file)], check=True, capture_output=True).stdout
    return dict(json.loads(said))


@pytest.mark.parametrize(
    "words",
    [
        "create -f qcow2 -F raw -b {raw} {disk}", "create -f qcow2 -o data_file={raw}.data {disk} 1M",
        "create -f vmdk -F vmdk -b {whole} {disk}", "convert -O vmdk -o subformat=monolithicFlat {raw} {disk}",
        "convert -O vmdk -o subformat=twoGbMaxExtentSparse {raw} {disk}",
    ],
)  # fmt: skip
def test_a_part_of_a_disk_is_not_kept(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str, words: str
) -> None:
    place = str(tmp_path / "store")
    whole, disk = tmp_path / "whole.vmdk", tmp_path / "disk"
    subprocess.run([qemu_img, "convert", "-O", "vmdk", raw, whole], check=True)
    asked = words.format(raw=raw, whole=whole, disk=disk).split()
    subprocess.run([qemu_img, *asked], check=True, capture_output=True)

    with pytest.raises(UserError, match="is not whole"):
        stored(registry, place, disk)
    for extent in tmp_path.glob("disk-s0*"):
        with pytest.raises(UserError, match="is not whole"):
            stored(registry, place, extent)


def test_a_differencing_disk_and_an_empty_file_are_not_kept(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    place, disk = str(tmp_path / "store"), tmp_path / "disk"
    for form, at_byte, kind in (("vdi", 76, b"\4\0\0\0"), ("vpc", 60, b"\0\0\0\4")):
        subprocess.run([qemu_img, "convert", "-O", form, raw, disk], check=True)
        content = bytearray(disk.read_bytes())
        content[at_byte : at_byte + 4] = kind
        disk.write_bytes(content)
        with pytest.raises(UserError, match="is not whole"):
            stored(registry, place, disk)
    disk.write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        stored(registry, place, disk)


FILE_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
PARENT_LOCATOR = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")


def with_a_parent(disk: bytearray) -> None:
    """Set what says that there is one: the second bit behind the size of a block."""
    entry = disk.index(FILE_PARAMETERS)
    table = disk.rindex(b"metadata", 0, entry)
    disk[table + int.from_bytes(disk[entry + 16 : entry + 20], "little") + 4] |= 2


def with_a_locator(disk: bytearray) -> None:
    """Have an item of the metadata lead to a parent, and no flag say so."""
    table = disk.rindex(b"metadata", 0, disk.index(FILE_PARAMETERS))
    count = int.from_bytes(disk[table + 10 : table + 12], "little")
    disk[table + 10 : table + 12] = (count + 1).to_bytes(2, "little")
    entry = table + 32 + 32 * count
    disk[entry : entry + 28] = PARENT_LOCATOR + (0x1_1000).to_bytes(4, "little") + bytes([20, 0, 0, 0, 4, 0, 0, 0])


def with_a_parent_in_the_second_table(disk: bytearray) -> None:
    """Have the region table that counts if the first is broken lead to metadata that name a parent."""
    table = disk.rindex(b"metadata", 0, disk.index(FILE_PARAMETERS))
    another = disk[table : table + (1 << 20)]
    with_a_parent(another)
    disk.extend(bytes(-len(disk) % len(another)))
    listed = disk.index(table.to_bytes(8, "little"), 256 << 10)
    disk[listed : listed + 8] = len(disk).to_bytes(8, "little")
    disk.extend(another)


def with_metadata_nowhere(disk: bytearray) -> None:
    """Have the region table lead to where nothing can be."""
    table = disk.rindex(b"metadata", 0, disk.index(FILE_PARAMETERS))
    listed = disk.index(table.to_bytes(8, "little"), 192 << 10)
    disk[listed : listed + 8] = b"\xff" * 8


def without_metadata(disk: bytearray) -> None:
    """Cut it short behind its headers."""
    del disk[300 << 10 :]


@pytest.mark.parametrize(
    "changed",
    [with_a_parent, with_a_locator, with_a_parent_in_the_second_table, with_metadata_nowhere, without_metadata],
)
def test_a_vhdx_that_has_a_parent_or_may_have_one_is_not_kept(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str, changed: Callable[[bytearray], None]
) -> None:
    disk = tmp_path / "disk"
    subprocess.run([qemu_img, "convert", "-O", "vhdx", raw, disk], check=True)
    content = bytearray(disk.read_bytes())
    changed(content)
    disk.write_bytes(content)

    with pytest.raises(UserError, match="is not whole"):
        stored(registry, str(tmp_path / "store"), disk)
    assert not holds_the_same(raw, disk, form="vhdx", cancelled=threading.Event())


def test_of_a_vhdx_qemu_takes_the_same_for_one_with_a_parent(raw: Path, tmp_path: Path, qemu_img: str) -> None:
    disk = tmp_path / "disk"
    subprocess.run([qemu_img, "convert", "-O", "vhdx", raw, disk], check=True)
    reads = [qemu_img, "info", "-f", "vhdx", str(disk)]
    assert subprocess.run(reads, capture_output=True, check=False).returncode == 0
    content = bytearray(disk.read_bytes())
    with_a_parent(content)
    disk.write_bytes(content)

    ended = subprocess.run(reads, capture_output=True, check=False)

    assert ended.returncode != 0


@pytest.mark.parametrize("form", [*FORMATS, "vmdk -o subformat=streamOptimized", "qcow2 -c", "vpc -o subformat=fixed"])
def test_a_whole_disk_of_each_format_is_kept(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str, form: str
) -> None:
    disk = tmp_path / "disk"
    subprocess.run([qemu_img, "convert", "-O", *form.split(), raw, disk], check=True)

    assert stored(registry, str(tmp_path / "store"), disk).id.startswith("sha256:")


@pytest.mark.parametrize("form", FORMATS)
def test_a_disk_is_kept_in_another_format_under_that_ones_own_digest(
    registry: DiskRegistry, place: str, raw: Path, qemu_img: str, form: str
) -> None:
    disk = stored(registry, place, raw)

    made = converted(registry, disk, form)

    file = at(registry, disk, made.id)
    assert judged(qemu_img, file, form, like=raw)["format"] == form
    assert made.size == file.stat().st_size
    assert found(registry, disk).conversions == (made,)
    assert [one.id for one in registry.observe([place]).artifacts] == [disk.id]


def test_what_is_there_is_not_made_again_and_all_of_it_goes_with_its_disk(
    registry: DiskRegistry, place: str, raw: Path, qemu_img: str
) -> None:
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")

    # Of a VMDK no two are alike: qemu-img gives each a number of its own
    assert converted(registry, disk, "vmdk") == first
    assert converted(registry, disk, "vmdk", (place, first.id)) == first
    registry.retire(disk.model_copy(update={"conversions": (first,)}), image="web")

    assert list(registry.of(place).listed(place)) == []


def test_no_disk_goes_with_another_because_its_marks_say_it_was_converted_of_that(
    registry: DiskRegistry, place: str, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    # Given a disk whose marks somebody wrote over, be it what a record names or not
    other = tmp_path / "other"
    other.write_bytes(os.urandom(KIB))
    stable = stored(registry, place, other, name="db-1")
    registry.tag(stable, {"reconciler:image": "db", "reconciler:build": "20261122T101530Z-2b3c4d5"})
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    registry.tag(stable, claims(disk))
    named = Conversion(format="qcow2", id=stable.id, size=KIB)

    # When the disk that they name goes
    with pytest.raises(Terminal, match="db"):
        registry.retire(disk.model_copy(update={"conversions": (first, named)}), image="web")
    registry.retire(disk.model_copy(update={"conversions": (first,)}), image="web")

    # Then what no record names is there still, and is listed
    assert [one.id for one in registry.observe([place]).artifacts] == [stable.id]


def test_a_copy_gets_the_very_conversion_that_was_made_elsewhere(
    registry: DiskRegistry, place: str, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    elsewhere = str(tmp_path / "elsewhere")
    copy_id = registry.copy(disk, to=elsewhere, name="web-1", tags=BIRTH, token="")
    copy = disk.model_copy(update={"location": elsewhere, "id": copy_id})
    assert found(registry, copy).conversions == ()

    assert converted(registry, copy, "vmdk", (place, first.id)) == first

    assert found(registry, copy).conversions == (first,)


def test_what_a_killed_run_made_and_did_not_name_is_found_again(
    registry: DiskRegistry, place: str, raw: Path, qemu_img: str
) -> None:
    # Given a run that died before the disk's marks said so
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    registry.tag(disk, {"reconciler:format-vmdk": ""})
    assert found(registry, disk).conversions == ()

    # Then the next takes what is there, as it holds the same
    assert converted(registry, disk, "vmdk") == first
    assert found(registry, disk).conversions == (first,)


def test_what_only_says_that_it_was_converted_of_a_disk_is_not_taken_for_it(
    registry: DiskRegistry, place: str, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    # Given another disk, whose marks somebody wrote
    disk = stored(registry, place, raw)
    other = tmp_path / "other.raw"
    other.write_bytes(os.urandom(384 * KIB))
    liar = tmp_path / "liar.vmdk"
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "vmdk", str(other), str(liar)], check=True)
    lie = stored(registry, place, liar, name="web-1.vmdk")
    registry.of(place).tag(lie, claims(disk))

    made = converted(registry, disk, "vmdk")

    assert made.id != lie.id
    judged(qemu_img, at(registry, disk, made.id), "vmdk", like=raw)
    assert registry.find(place, lie.id) is not None  # it may be anybody's


def test_a_description_of_other_files_is_not_taken_for_a_conversion(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    # Given a VMDK of text, which has a file of this machine shown as a disk
    store = str(tmp_path / "store")
    disk = stored(registry, store, raw)
    lie = tmp_path / "lie.vmdk"
    sectors = raw.stat().st_size // 512
    lie.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW {sectors} FLAT "{raw}" 0\n'
    )  # fmt: skip
    kept = laid(registry, store, lie, name="web-1.vmdk")
    registry.of(store).tag(kept, claims(disk))

    made = converted(registry, disk, "vmdk")

    assert made.id != kept.id
    assert Path(store, made.id).read_bytes().startswith(b"KDMV")


@pytest.mark.parametrize("leads", ["by a description that its header points to", "by a parent"])
def test_a_header_that_leads_to_other_files_is_that_of_no_conversion(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str, leads: str
) -> None:
    # Given a VMDK that begins as one of one file does, and holds nothing of the disk
    store = str(tmp_path / "store")
    disk = stored(registry, store, raw)
    lie, whole = tmp_path / "lie.vmdk", tmp_path / "whole.vmdk"
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "vmdk", str(raw), str(whole)], check=True)
    create = [qemu_img, "create", "-q", "-f", "vmdk"]
    if leads == "by a parent":
        subprocess.run([*create, "-F", "vmdk", "-b", str(whole), str(lie)], check=True)
    else:  # which is read where its capacity is 0
        subprocess.run([*create, str(lie), str(raw.stat().st_size)], check=True)
        header, words = lie.read_bytes()[:512], lie.read_bytes()[512 : 21 * 512].rstrip(b"\0")
        words = words.replace(b'SPARSE "lie.vmdk"', f'FLAT "{raw}" 0'.encode())
        words = words.replace(b"monolithicSparse", b"monolithicFlat")
        lie.write_bytes(header[:12] + bytes(8) + header[20:] + words.ljust(20 * 512, b"\0"))
    kept = laid(registry, store, lie, name="web-1.vmdk")
    judged(qemu_img, lie, "vmdk", like=raw)
    registry.of(store).tag(kept, claims(disk))

    made = converted(registry, disk, "vmdk")

    assert made.id != kept.id
    lie.unlink()
    judged(qemu_img, Path(store, made.id), "vmdk", like=raw)


def test_a_vhd_with_a_parent_is_no_conversion(registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str) -> None:
    # Given a VHD that says it differs from another: qemu takes it for whole, and what else reads it does not
    store = str(tmp_path / "store")
    disk = stored(registry, store, raw)
    lie = tmp_path / "lie.vhd"
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "vpc", str(raw), str(lie)], check=True)
    written = lie.read_bytes()
    checksum = int.from_bytes(written[64:68]) - 1  # the complement of the sum of its bytes
    lie.write_bytes(written[:60] + b"\0\0\0\4" + checksum.to_bytes(4) + written[68:])
    judged(qemu_img, lie, "vpc", like=raw)
    kept = laid(registry, store, lie, name="web-1.vpc")
    tags = claims(disk) | {"reconciler:format": "vpc"}
    registry.of(store).tag(kept, tags)

    assert converted(registry, disk, "vpc").id != kept.id


def test_a_conversion_that_was_changed_counts_as_gone_and_is_made_anew(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    disk = stored(registry, str(tmp_path / "store"), raw)
    first = converted(registry, disk, "qcow2")
    file = Path(disk.location, first.id)
    file.write_bytes(file.read_bytes()[:-KIB])
    assert found(registry, disk).conversions == ()

    again = converted(registry, disk, "qcow2", (disk.location, first.id))

    assert found(registry, disk).conversions == (again,)
    judged(qemu_img, Path(disk.location, again.id), "qcow2", like=raw)


def test_what_another_conversion_took_the_place_of_goes_and_nothing_that_no_record_names(
    registry: DiskRegistry, place: str, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    # Given a conversion that was changed, and another disk whose marks say that it was converted so
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    shelf, other = registry.of(place), tmp_path / "other"
    other.write_bytes(os.urandom(KIB))
    theirs = laid(registry, place, other, name="db-1")
    registry.tag(theirs, claims(disk))
    changed(registry, place, first.id)

    # When it is made anew
    again = converted(registry, disk, "vmdk", (place, first.id))

    # Then it is there once: what was recorded of it before would be in no record, and nobody would remove it
    assert again.id != first.id
    assert {one.id for one in shelf.listed(place)} == {disk.id, again.id, theirs.id}
    registry.retire(disk.model_copy(update={"conversions": (again,)}), image="web")
    assert {one.id for one in shelf.listed(place)} == {theirs.id}


def test_a_conversion_goes_alone_where_its_format_is_wanted_no_more(
    registry: DiskRegistry, place: str, raw: Path, qemu_img: str
) -> None:
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    registry.retire(Artifact(kind="disk", builder="qemu.web", location=place, id=first.id), image="web")
    assert [one.id for one in registry.of(place).listed(place)] == [disk.id]
    assert found(registry, disk).conversions == ()


def test_a_conversion_goes_with_its_disk_whose_image_has_another_name_by_now(
    registry: DiskRegistry, place: str, raw: Path, qemu_img: str
) -> None:
    disk = stored(registry, place, raw)
    first = converted(registry, disk, "vmdk")
    registry.tag(disk, {"reconciler:image": "shop"})
    registry.retire(disk.model_copy(update={"conversions": (first,)}), image="shop")
    assert list(registry.of(place).listed(place)) == []


def changed(registry: DiskRegistry, place: str, artifact_id: str) -> None:
    """Have something else lie where an artifact lay, by somebody who has nothing to do with the reconciler."""
    if place.startswith("s3://"):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        boto3.client("s3", region_name="us-east-1").put_object(
            Bucket=bucket, Key=f"{prefix}/{artifact_id}", Body=b"else"
        )
    else:
        Path(place, artifact_id).write_bytes(b"else")


def test_a_disk_that_is_another_by_now_is_not_converted(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    disk = stored(registry, str(tmp_path / "store"), raw)
    kept = Path(disk.location, disk.id)
    was = kept.stat()
    kept.write_bytes(os.urandom(was.st_size))
    os.utime(kept, ns=(was.st_atime_ns, was.st_mtime_ns))

    with pytest.raises(Terminal, match="is not what it is called"):
        converted(registry, disk, "vmdk")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder in which there is room for a disk, and not for another."""
    folder = tmp_path / "full"
    folder.mkdir()
    if os.geteuid() != 0:
        lacking("only root mounts a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_where_there_is_no_room_that_is_one_clear_error_and_nothing_is_lost(
    registry: DiskRegistry, raw: Path, full: Path, qemu_img: str
) -> None:
    disk = stored(registry, str(full), raw)
    before = sorted(one.name for one in full.iterdir())

    with pytest.raises(Transient, match=f"there is no room for it in {full}: No space left on device") as refused:
        converted(registry, disk, "qcow2")

    assert refused.value.hint == ("make room there: the next run converts it, and builds nothing anew",)
    assert sorted(one.name for one in full.iterdir()) == before
    assert found(registry, disk).state == "available"


def test_where_there_is_no_room_for_a_disk_the_folder_is_named_and_nothing_stays(
    registry: DiskRegistry, tmp_path: Path, full: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20))

    with pytest.raises(Transient) as refused:
        stored(registry, str(full), large)

    assert refused.value.what == f"{full}: No space left on device"
    assert not [one.name for one in full.iterdir() if one.name.startswith((".draft-", "sha256:"))]


def test_without_the_program_it_is_said_how_to_get_it(
    registry: DiskRegistry, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = stored(registry, str(tmp_path / "store"), raw)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError) as refused:
        converted(registry, disk, "vmdk")

    assert "qemu-utils" in refused.value.hint[0]


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_what_a_disk_is_booted_from_is_a_layer_on_top_of_it(
    raw: Path, tmp_path: Path, qemu_img: str, form: str
) -> None:
    disk, layer = tmp_path / "disk", tmp_path / "layer"
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", form, str(raw), str(disk)], check=True)

    with held(disk) as read:
        overlay(read, layer)

    told = json.loads(subprocess.check_output([qemu_img, "info", "--output=json", layer]))
    assert told["backing-filename-format"] == form
    subprocess.run([qemu_img, "rebase", "-u", "-b", disk, "-F", form, layer], check=True)
    judged(qemu_img, layer, "qcow2", like=raw)


def test_what_stands_on_another_file_is_neither_converted_nor_booted(
    registry: DiskRegistry, raw: Path, tmp_path: Path, qemu_img: str
) -> None:
    layer = tmp_path / "layer"
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, layer], check=True)
    disk = laid(registry, str(tmp_path / "store"), layer)

    with pytest.raises(UserError, match="is not whole: it stands on another file"):
        converted(registry, disk, "vmdk")
    with pytest.raises(UserError, match="is not whole: it stands on another file"):
        held(layer).__enter__()
    assert found(registry, disk).conversions == ()


@pytest.fixture
def swapped(tmp_path: Path, qemu_img: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have a disk become one that leads to a file of this machine, between a look at it and qemu's own; the disk."""

    def swap(how: str) -> Path:
        secret, disk, theirs = (tmp_path / name for name in ("secret", "theirs.qcow2", "evil.qcow2"))
        secret.write_bytes(b"only for this machine".ljust(1 << 20, b"."))
        for file, stands_on in ((disk, ()), (theirs, ("-F", "raw", "-b", str(secret)))):
            subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", *stands_on, file, "1M"], check=True)
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "qemu-img").write_text(f'#!/bin/sh\n{how} {theirs} {disk}\nexec {qemu_img} "$@"\n')
        (programs / "qemu-img").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        return disk

    return swap


@pytest.mark.parametrize("how", ["mv", "cp"])
def test_what_takes_a_disk_s_place_while_qemu_reads_it_leads_nowhere_and_counts_for_nothing(
    swapped: Callable[[str], Path], tmp_path: Path, qemu_img: str, how: str
) -> None:
    # When another file is laid out under a disk's name, or written into it, after it was looked at
    disk, into, seen = swapped(how), tmp_path / "into", tmp_path / "seen"
    with pytest.raises(Transient, match=r"theirs\.qcow2 was changed while it was read"):
        convert(disk, into, form="raw", cancelled=threading.Event())

    # Then nothing of what that leads to was read, which by its name alone would be
    assert into.read_bytes() == bytes(1 << 20)
    subprocess.run([qemu_img, "convert", "-f", "qcow2", "-O", "raw", disk, seen], check=True)
    assert seen.read_bytes().startswith(b"only for this machine")


@pytest.mark.parametrize("how", ["mv", "cp"])
def test_no_disk_that_takes_another_s_place_meanwhile_counts_as_its_conversion(
    swapped: Callable[[str], Path], tmp_path: Path, how: str
) -> None:
    disk, empty = swapped(how), tmp_path / "empty"
    empty.write_bytes(bytes(1 << 20))
    assert not holds_the_same(empty, disk, form="qcow2", cancelled=threading.Event())


LEADING: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "to a file below it": lambda secret: ("-F", "raw", "-b", str(secret)),
    "to one that has its data": lambda secret: ("-o", f"data_file={secret},data_file_raw=on"),
}
DESCRIPTION = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicFlat"
RW 2048 FLAT "{}" 0
"""


@pytest.fixture
def rewritten(tmp_path: Path, qemu_img: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Have a disk lead to a file of this machine whenever qemu reads it, and at no other time; the disk.

    It is written by a mapping of it that was written to before: then none of its times moves.
    """
    mapped: list[mmap.mmap] = []

    def rewrite(leads: str, form: str) -> Path:
        secret, disk, theirs = (tmp_path / name for name in ("secret", f"theirs.{form}", "evil"))
        make = [qemu_img, "create", "-q", "-f"]
        secret.write_bytes(bytes(1 << 20))
        if leads in LEADING:
            subprocess.run([*make, "qcow2", *LEADING[leads](secret), theirs, "1M"], check=True)
        else:
            theirs.write_text(DESCRIPTION.format(secret))
        subprocess.run([*make, form, disk, "1M"], check=True)
        secret.write_bytes(b"only for this machine".ljust(1 << 20, b"."))
        honest, evil = (file.read_bytes().ljust(1 << 20, b"\0") for file in (disk, theirs))
        disk.write_bytes(honest)
        with disk.open("r+b") as file:
            mapped.append(mmap.mmap(file.fileno(), len(honest)))
        mapped[0][:] = honest
        run = formats._run

        def while_it_leads_there(arguments: list[str], **named: Any) -> Any:
            mapped[0][:] = evil
            try:
                return run(arguments, **named)
            finally:
                mapped[0][:] = honest

        monkeypatch.setattr(formats, "_run", while_it_leads_there)
        return disk

    yield rewrite
    for one in mapped:
        one.close()


@pytest.mark.parametrize("leads", LEADING)
def test_what_is_written_into_a_disk_while_qemu_reads_it_leads_nowhere(
    rewritten: Callable[[str, str], Path], tmp_path: Path, qemu_img: str, leads: str
) -> None:
    disk, into, layer = rewritten(leads, "qcow2"), tmp_path / "into", tmp_path / "layer"

    # When it is converted, or booted, whether or not that is noticed, as it is once the file was on the disk meanwhile
    with suppress(Transient):
        convert(disk, into, form="raw", cancelled=threading.Event())
    with suppress(Transient), held(disk) as read:
        overlay(read, layer)
        shown = ["convert", "-q", "-f", "qcow2", "-O", "raw", str(layer), str(tmp_path / "booted")]
        assert formats._run(shown, of=read.descriptors, seconds=60).returncode == 0

    # Then nothing of that file is in what comes of it
    for made in (into, tmp_path / "booted"):
        assert b"only for this machine" not in made.read_bytes()


@pytest.mark.parametrize(("leads", "form"), [*((leads, "qcow2") for leads in LEADING), ("to all it describes", "vmdk")])
def test_nor_does_a_conversion_that_is_written_into_while_it_is_compared(
    rewritten: Callable[[str, str], Path], tmp_path: Path, leads: str, form: str
) -> None:
    disk, secret = rewritten(leads, form), tmp_path / "secret"
    assert not holds_the_same(secret, disk, form=form, cancelled=threading.Event())


@pytest.mark.parametrize("size", [1, 511, 512, FRONT - 1, FRONT, FRONT + 1, (512 << 20) + 1])
def test_a_front_over_its_file_is_that_file(tmp_path: Path, qemu_img: str, size: int) -> None:
    # Given a file with something at its beginning, around the end of the front, and at its own end
    path, random = tmp_path / "disk", Random(size)  # noqa: S311 - no secret
    with path.open("w+b") as file:
        file.truncate(size)
        for where in {0, max(0, min(FRONT, size) - 5), max(0, size - 7), size // 2}:
            file.seek(where)
            file.write(random.randbytes(min(9, size - where)))
    honest = path.read_bytes()[:FRONT]
    # When its front is written over
    with layer_of(honest, size) as layer:
        whole = tmp_path / "whole"
        subprocess.run(["cp", "--sparse=always", path, whole], check=True)
        with path.open("r+b") as file:
            file.write(b"\xff" * min(FRONT, size))
        read = over(f"/dev/fd/{layer.fileno()}", str(path))
        ended = subprocess.run(
            [qemu_img, "compare", "-f", "qcow2", "-F", "raw", f"json:{json.dumps(read)}", whole],
            pass_fds=[layer.fileno()], capture_output=True, text=True, check=False,
        )  # fmt: skip
    # Then it reads as it was
    assert ended.stdout == "Images are identical.\n", ended.stderr


def test_a_pipe_in_a_disk_s_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "disk")
    with pytest.raises(OSError, match="it is no file"), held(tmp_path / "disk"):
        pytest.fail("it is held")


SLOW = """#!/bin/sh
for into; do :; done
head -c 4096 /dev/urandom > "$into"
echo begun > {told}
exec sleep 600
"""
CONVERT = """
import sys
from reconciler.model.declaration import Settings
from reconciler.model.lockfile import Artifact
from reconciler.ports.registry import Opening
from reconciler.registries.disk.registry import DiskRegistry
location, disk, fleet = sys.argv[1:]
one = Artifact(kind="disk", builder="qemu.web", location=location, id=disk, name="web-1")
registry = DiskRegistry(Opening(fleet, Settings()))
registry.convert(one, form="vmdk", name="web-1.vmdk", tags={}, known=())
"""


@pytest.fixture
def slow(tmp_path: Path) -> Callable[[], dict[str, str]]:
    """A qemu-img that never comes to an end, as an environment."""
    folder = tmp_path / "slow"
    folder.mkdir()
    program = folder / "qemu-img"
    program.write_text(SLOW.format(told=tmp_path / "begun"))
    program.chmod(0o755)
    return lambda: {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def begun(tmp_path: Path) -> None:
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.02)  # the other process is to come so far


def test_a_run_that_is_killed_in_it_leaves_nothing_half_and_the_next_converts(
    registry: DiskRegistry, raw: Path, tmp_path: Path, slow: Callable[[], dict[str, str]], qemu_img: str
) -> None:
    store = tmp_path / "store"
    disk = stored(registry, str(store), raw)
    command = [sys.executable, "-c", CONVERT, str(store), disk.id, FLEET]
    with subprocess.Popen(command, env=slow()) as process:
        begun(tmp_path)
        assert list(store.glob(".draft-*"))
        process.send_signal(signal.SIGKILL)
    assert [one.id for one in registry.listed(str(store))] == [disk.id]
    assert found(registry, disk).conversions == ()

    made = converted(registry, disk, "vmdk")

    assert found(registry, disk).conversions == (made,)
    assert not list(store.glob(".draft-*"))


def test_a_run_that_is_cancelled_ends_it(
    raw: Path, tmp_path: Path, slow: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = threading.Event()
    registry = DiskRegistry(Opening(FLEET, Settings(), cancelled=cancelled))
    disk = stored(registry, str(tmp_path / "store"), raw)
    monkeypatch.setenv("PATH", slow()["PATH"])

    def cancel() -> None:
        begun(tmp_path)
        cancelled.set()

    threading.Thread(target=cancel).start()

    with pytest.raises(Transient, match="interrupted in qemu-img convert"):
        converted(registry, disk, "vmdk")

    assert not list((tmp_path / "store").glob(".draft-*"))
