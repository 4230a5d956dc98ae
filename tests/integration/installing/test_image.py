"""The container image: what is said where an engine can't build it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / ".ci" / "image"


def build(folder: Path, *arguments: str, engine: str) -> subprocess.CompletedProcess[str]:
    """Build it with a podman that is a script."""
    program = folder / "podman"
    program.write_text(f"#!/bin/sh\n{engine}\n")
    program.chmod(0o755)
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    command = [str(PROGRAM), *arguments]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", [1, 125])
def test_an_engine_without_a_registry_is_no_dead_end(tmp_path: Path, code: int) -> None:
    ended = build(tmp_path, engine=f"echo 'dial tcp: no such host' >&2; exit {code}")

    assert ended.returncode == code
    said = ended.stderr.splitlines()
    assert said[:2] == ["dial tcp: no such host", "error: podman could not build the image"]
    assert "--build-arg BASE=IMAGE" in ended.stderr
    assert "--from-archive" in said[-1]


def test_what_it_is_given_is_the_engines(tmp_path: Path) -> None:
    ended = build(tmp_path, "--build-arg", "BASE=a b", engine='printf "%s\\n" "$@"')

    assert ended.returncode == 0
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        *("build", "--file", "Containerfile", "--tag", "reconciler", "--build-arg", "BASE=a b", "."),
    ]
