"""Records that could not be pushed at all, kept beside the checkout so that nothing is lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reconciler.model.errors import Place, Terminal
from reconciler.model.lockfile import Build
from reconciler.state.lockfiles import parse_build, render_build

FOLDER = "reconciler-unsaved"


def write_unsaved(root: Path, image: str, *, build: Build) -> Path:
    """Write the exact record to `reconciler-unsaved/<image>.json` below `root`, whole or not at all, and return where.

    Raises:
        Terminal: the disk refuses; the message holds the artifacts, so that even then they are on record.
    """
    target = root / FOLDER / f"{image}.json"
    try:
        target.parent.mkdir(exist_ok=True)
        # It ignores itself: a record that waits here is no change to the repository.
        (target.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        write_atomically(target, render_build(build))
    except OSError as error:
        artifacts = ", ".join(f"{artifact.id} in {artifact.location}" for artifact in build.artifacts)
        raise Terminal(
            f"build {build.id} of {image} is not on record: {target} cannot be written ({error.strerror})",
            mend=f"what it left: {artifacts or 'nothing'}",
        ) from error
    return target


def read_unsaved(root: Path, image: str) -> Build | None:
    """The record that an earlier run could not push; None where there is none, or what is there is no record."""
    path = root / FOLDER / f"{image}.json"
    try:
        return parse_build(path.read_bytes(), Place(str(path)))
    except (OSError, Terminal):
        return None


def forget_unsaved(root: Path, image: str) -> None:
    """Remove a record that is pushed now."""
    (root / FOLDER / f"{image}.json").unlink(missing_ok=True)


def write_atomically(target: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a machine that dies now, sees the old content or the new."""
    # In the same folder, since a rename is atomic only within one filesystem.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    # The rename itself is on disk only when the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
