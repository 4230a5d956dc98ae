"""An engine's command, of whose output no more is held than anybody reads."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal, Transient
from reconciler.registries.oci.engine import Engine

MANY = 64 << 20


def engine(folder: Path, script: str) -> Engine:
    """A command `docker` that is a script."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Engine(str(program), {"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("to", ["1", "2"])
def test_what_is_printed_without_end_is_ended(tmp_path: Path, to: str) -> None:
    endless = engine(tmp_path, f"head -c {MANY} /dev/zero >&{to}; touch {tmp_path}/ended")

    with pytest.raises(Transient, match="docker ps: it prints more than 4,194,304 bytes"):
        endless.run("ps")
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize("to", ["1", "2"])
def test_of_what_is_only_shown_the_end_is_held(tmp_path: Path, to: str) -> None:
    endless = engine(tmp_path, f"head -c {MANY} /dev/zero >&{to}; echo the end >&{to}")
    tracemalloc.start()
    try:
        said = endless.run("logs", "--tail", "20", "it", check=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert said.endswith("\0the end\n")
    assert len(said) <= 64 << 10
    assert most < 4 << 20


def test_what_it_prints_is_told_as_before(tmp_path: Path) -> None:
    both = engine(tmp_path, 'echo out; echo errors >&2; exit "$1"')

    assert both.run("0") == "out\n"
    assert both.run("3", check=False) == "out\nerrors\n"
    with pytest.raises((Terminal, Transient), match="errors"):
        both.run("3")


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Transient, match=r"docker ps takes longer than 0 s"):
        engine(tmp_path, "exec sleep 60").run("ps", seconds=0.2)
