"""What storing a disk, reading it whole again, and copying it cost: against sha256 and one copy."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reconciler.model.declaration import Settings
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.registries.disk.registry import DiskRegistry, open_registry
from tests.bench.rows import Row, at_most, told

SIZE = 1 << 30
ROUNDS = 5
FLEET = "acme/images"
TARGET = 1.2
_PIECE = 1 << 20


def disk_rows(folder: Path) -> Iterator[Row]:
    """A disk of 1 GiB in a folder: stored, and then read whole, as `verify --online` does."""
    folder.mkdir()
    if shutil.disk_usage(folder).free < 4 * SIZE:
        yield told("a disk of 1 GiB: stored", f"not measured: less than 4 GiB are free in {folder.parent}")
        return
    left = _made(folder / "left.raw")
    took = [_round(left, folder / str(number)) for number in range(ROUNDS)]
    copied, hashed, stored, verified = (statistics.median(each) for each in zip(*took, strict=True))
    yield at_most(
        "a disk of 1 GiB: stored", measured=stored, against=copied + hashed, target=TARGET,
        floor="sha256 and one copy",
    )  # fmt: skip
    yield at_most("a disk of 1 GiB: verified", measured=verified, against=hashed, target=TARGET, floor="sha256")


def _round(left: Path, folder: Path) -> tuple[float, float, float, float]:
    """Seconds of a copy, of its sha256, of a disk that is stored, and of one that is verified: in turns."""
    folder.mkdir()
    copy, store = folder / "copy", folder / "store"
    copied, hashed = _seconds(lambda: _copied(left, copy)), _seconds(lambda: _hashed(copy))
    copy.unlink()
    stored = _seconds(lambda: _stored(left, store))
    (disk,) = (one.id for one in _ours().listed(str(store)))
    verified = _seconds(lambda: _verified(store, disk))
    shutil.rmtree(folder)
    return copied, hashed, stored, verified


def _ours() -> DiskRegistry:
    found = open_registry(Opening(FLEET, Settings()))
    assert isinstance(found, DiskRegistry)
    return found


def _made(file: Path) -> Path:
    """A file that no file system and no disk makes less of."""
    with file.open("wb") as written:
        for _ in range(SIZE // _PIECE):
            written.write(os.urandom(_PIECE))
        os.fsync(written.fileno())
    return file


def _copied(file: Path, to: Path) -> None:
    """One copy that is on the disk when it is through, as quick as Python makes one."""
    shutil.copyfile(file, to)
    with to.open("rb") as written:
        os.fsync(written.fileno())


def _hashed(file: Path) -> None:
    with file.open("rb") as read:
        hashlib.file_digest(read, "sha256")


def _stored(file: Path, store: Path) -> None:
    made = Made("qemu.web", "transcend.qemu", str(file), (str(file),))
    tags = own(fleet=FLEET, image="web", build="20261122T101530Z-1a2b3c4")
    _ours().store(str(store), [made], name="web-1", tags=tags)


def _verified(store: Path, disk: str) -> None:
    registry = _ours()
    seen = registry.find(str(store), disk)
    assert seen is not None
    assert registry.given(str(store), f"{store}/{disk}") == f"{store}/{disk}"


def _seconds(measured: Callable[[], object]) -> float:
    begun = time.perf_counter()
    measured()
    return time.perf_counter() - begun
