"""Files of a checkout, written whole or not at all, and folders that git sees nothing of."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def ignores_itself(folder: Path) -> None:
    """Have git see nothing of a folder, so that nobody has to add it to .gitignore. Raises OSError."""
    write_atomically(folder / ".gitignore", b"*\n")


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
