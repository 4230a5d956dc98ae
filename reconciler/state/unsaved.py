"""Records that are not pushed yet, or could not be, kept beside the checkout so that nothing is lost."""

from __future__ import annotations

import errno
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from reconciler.model.errors import Place, Terminal
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Build
from reconciler.model.tree import Tree
from reconciler.state.files import ignores_itself, write_atomically
from reconciler.state.lockfiles import parse_build, render_build
from reconciler.state.sbom import render_sbom

FOLDER = "reconciler-unsaved"
_SBOMS = "sbom"
_CHANGING = threading.Lock()
"""The folder goes with its last record, while another thread may be writing the next."""


def write_unsaved(root: Path, image: str, *, build: Build, inventory: Inventory | None = None) -> Path:
    """Write the exact record to `reconciler-unsaved/<image>.json` below `root`, whole or not at all, and return where.

    What is inside the build goes beside it, to `sbom/<image>.cdx.json`: a test that passed needs no repeating then.

    Raises:
        Terminal: the disk refuses; the message holds the artifacts, so that even then they are on record.
    """
    target = root / FOLDER / f"{image}.json"
    try:
        with _CHANGING:
            _write(target, build, sbom=render_sbom(image, build.id, inventory) if inventory is not None else None)
    except OSError as error:
        artifacts = ", ".join(f"{artifact.id} in {artifact.location}" for artifact in build.artifacts)
        raise Terminal(
            f"build {build.id} of {image} is not on record: {target} cannot be written ({error.strerror})",
            hint=f"what it left: {artifacts or 'nothing'}",
        ) from error
    return target


def read_unsaved(root: Path, image: str) -> Build | None:
    """The record that an earlier run could not push; None where there is none, or what is there is no record."""
    path = root / FOLDER / f"{image}.json"
    try:
        return parse_build(path.read_bytes(), Place(str(path)))
    except (OSError, Terminal):
        return None


def is_committed(tree: Tree, image: str) -> bool:
    """Whether a commit brought what stands there: then no run of this checkout wrote it, and it says nothing.

    A link in the place of a folder leads to what a commit brought elsewhere, and so does a submodule.
    """
    files = (f"{FOLDER}/{image}.json", f"{FOLDER}/{_SBOMS}/{image}.cdx.json")
    return not {*files, f"{FOLDER}/{_SBOMS}", FOLDER}.isdisjoint(tree.entries)


def read_unsaved_sbom(root: Path, image: str) -> bytes | None:
    """The SBOM that was kept with the record; None where there is none."""
    try:
        return _sbom_beside(root / FOLDER / f"{image}.json").read_bytes()
    except OSError:
        return None


def forget_unsaved(root: Path, image: str) -> None:
    """Remove a record that is pushed now, and the folder with the last of them."""
    record = root / FOLDER / f"{image}.json"
    # What can't be removed does no harm: its build is recorded.
    with _CHANGING, suppress(OSError):
        record.unlink(missing_ok=True)
        _sbom_beside(record).unlink(missing_ok=True)
        left = (path for path in record.parent.rglob("*") if path.is_file() and path.name != ".gitignore")
        if not any(left):
            shutil.rmtree(record.parent, ignore_errors=True)


def _write(record: Path, build: Build, *, sbom: bytes | None) -> None:
    beside = _sbom_beside(record)
    for folder in (record.parent, beside.parent):
        if folder.is_symlink():
            raise OSError(errno.ELOOP, f"{folder.name} is a link")  # a commit may have brought it: it leads anywhere
    (beside if sbom is not None else record).parent.mkdir(parents=True, exist_ok=True)
    # It ignores itself: a record that waits here is no change to the repository.
    ignores_itself(record.parent)
    if sbom is not None:
        write_atomically(beside, sbom)
    write_atomically(record, render_build(build))


def _sbom_beside(record: Path) -> Path:
    return record.parent / _SBOMS / f"{record.stem}.cdx.json"
