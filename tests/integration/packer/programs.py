"""Programs of a few lines that stand in for Packer, Go and apt, on a PATH that has nothing else."""

from __future__ import annotations

from pathlib import Path

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
