"""Records that could not be pushed at all, kept beside the checkout so that nothing is lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reconciler.model.errors import Terminal
from reconciler.model.lockfile import Build
from reconciler.state.lockfiles import render_build

FOLDER = "reconciler-unsaved"


def write_unsaved(root: Path, image: str, *, build: Build) -> Path:
    """Write the exact record to `reconciler-unsaved/<image>.json` below `root`, whole or not at all, and return where.

    Raises:
        Terminal: the disk refuses; the message holds the artifacts, so that even then they are on record.
    """
    target = root / FOLDER / f"{image}.json"
    try:
        target.parent.mkdir(exist_ok=True)
        write_atomically(target, render_build(build))
    except OSError as error:
        artifacts = ", ".join(f"{artifact.id} in {artifact.location}" for artifact in build.artifacts)
        raise Terminal(
            f"build {build.id} of {image} is not on record: {target} cannot be written ({error.strerror})",
            mend=f"what it left: {artifacts or 'nothing'}",
        ) from error
    return target


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
