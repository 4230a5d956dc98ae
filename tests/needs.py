"""What a test needs of the machine, and that its marks say so: `make quick` goes by them.

A mark that is missing would let a test in among the quick ones that fails where there is no Packer, root or npm. So
what every test begins is watched: the processes of its own; and for Packer, which a command that it runs may begin,
whoever looks for one on the PATH, where one of ours comes first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from reconciler.build.packer.versions import PLUGINS_APART
from reconciler.model.constraint import parse_version
from tests.packers import installed_packers

MARKS = {
    "packer": "runs Packer",
    "sandbox": "starts a sandbox",
    "containers": "runs a container engine or registry",
    "disks": "runs qemu",
    "vsphere": "runs VMware's simulator",
    "terraform": "runs Terraform, or another program of its Go module",
    "github": "runs npm",
}
"""What a test does that has a mark of this name."""

_STAND_IN = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/ran"
echo "packer: this test is not marked as one that runs Packer" >&2
exit 97
"""


def lacking(why: str) -> NoReturn:
    """Skip a test for want of a program; where all kinds are to be tested (`make test-all`), fail it."""
    if os.environ.get("ALL_KINDS"):
        pytest.fail(why)
    pytest.skip(why)


def refuse_without_plugin(name: str, packer: str) -> None:
    """Skip a test where a Packer that brings no plugins along has not got this one."""
    if (parse_version(packer) or PLUGINS_APART) < PLUGINS_APART:
        return
    if not list(Path(os.environ["PACKER_PLUGIN_PATH"]).glob(f"github.com/*/{name}/*")):
        lacking(f"Packer {packer} has no plugin {name}: `reconciler packer --current --plugin {name}` gets it")


class Watch:
    """Sees what is begun that needs a mark."""

    def __init__(self, folder: Path) -> None:
        """`folder` is this watch's own, to be put first on the PATH of whoever is not to run Packer."""
        self.folder = folder
        self._ran = folder / "ran"
        self._begun: set[str] = set()
        self._packers = frozenset(str(packer.path) for packer in installed_packers())
        stand_in = folder / "packer"
        stand_in.write_text(_STAND_IN)
        stand_in.chmod(0o755)
        sys.addaudithook(self._hear)

    def begun(self) -> frozenset[str]:
        """The marks that are needed by what was begun since this was asked last."""
        if self._ran.exists():
            self._ran.unlink()
            self._begun.add("packer")
        begun = frozenset(self._begun)
        self._begun.clear()
        return begun

    def _hear(self, event: str, facts: tuple[object, ...]) -> None:
        if event == "subprocess.Popen":
            needed = _mark(_words(facts[1]), packers=self._packers)
            self._begun |= {needed} if needed else set()


_BUILT = {"vcsim": "vsphere", "terraform": "terraform", "actionlint": "terraform"}
"""Programs that are built of their Go modules (`tests/go_programs.py`), and the mark of the tests that run them."""


def _mark(command: Sequence[str], *, packers: Collection[str]) -> str | None:
    """The mark that a test needs to run a command; `packers` are the real ones, which no test made up."""
    if command and command[0] in packers:
        return "packer"
    if command[:1] == ["npm"]:
        return "github"
    if command and command[0].startswith("qemu-"):
        return "disks"
    built = _BUILT.get(Path(command[0]).name) if command else None
    if built is not None:
        return built
    if command and command[0] in ("docker", "dockerd", "docker-registry"):
        return "containers"
    ours = list(command[command.index("reconciler") + 1 :]) if "reconciler" in command else []
    begins = "reconciler.sandbox" in command or ours[:2] == ["sandbox", "start"] or ours[:1] == ["demo"]
    return "sandbox" if begins and "--help" not in command else None


def _words(command: object) -> list[str]:
    """What `Popen` was given: a line, a path, or words."""
    if isinstance(command, (str, bytes, os.PathLike)):
        return [os.fsdecode(command)]
    return [os.fsdecode(word) for word in command]  # type: ignore[attr-defined] # words
