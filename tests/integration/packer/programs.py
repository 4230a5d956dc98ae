"""A machine to have Packer on: programs of a few lines for Packer, Go and apt, and a disk that is soon full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOLS = ("sh", "cat", "mkdir", "sleep", "touch", "cp", "chmod")


def bare_path(folder: Path) -> Path:
    """A folder to be the whole PATH: the few programs that the scripts need, and no Packer, Go or apt."""
    folder.mkdir(parents=True, exist_ok=True)
    for tool in TOOLS:
        found = next(one for one in (Path("/bin") / tool, Path("/usr/bin") / tool) if one.exists())
        (folder / tool).symlink_to(found)
    return folder


def write_program(folder: Path, name: str, script: str) -> Path:
    """Put a shell script of this name into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def speaks(version: str) -> str:
    """The part of a script that answers as Packer does when it is asked for its version."""
    return f"case \"$*\" in *version) echo '1795347917,,version,{version}'; exit 0;; esac"


@contextmanager
def disk_of_100_kb(folder: Path) -> Iterator[Path]:
    """A folder that is a disk of its own; without root, which mounts it, the test is skipped."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs root, to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
