"""Environments in which this reconciler is really installed, with the tests' own packages beside it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Installed:
    """An environment, and a folder far from the source to run commands in."""

    folder: Path
    away: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def pip(self, *arguments: str) -> None:
        """Run pip's `install`. What it needs is there already, and no index is asked."""
        offline = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
        ended = self.run(str(self.python), "-m", "pip", "install", *offline, *arguments)
        assert ended.returncode == 0, ended.stderr

    def reconciler(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.folder / "bin" / "reconciler"), *arguments, cwd=cwd)

    def run(
        self, *command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        # Neither this test's path to the source nor an index that the machine is set to.
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("PIP_")}
        return subprocess.run(
            command,
            cwd=cwd or self.away,
            # What is run is compiled as it is imported, and that is little of what is installed.
            env={**kept, "PIP_COMPILE": "0", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )


NewEnvironment = Callable[[], Installed]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository as it lies in the checkout, committed: building in it leaves the checkout alone."""
    clone = tmp_path_factory.mktemp("source") / "reconciler"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in os.fsdecode(listed.stdout).split("\0"):
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    for words in (
        "init --quiet --initial-branch main",
        "add --all",
        "-c user.name=Ada -c user.email=ada@example.org commit --quiet --message 'As it is'",
    ):
        subprocess.run(["git", *shlex.split(words)], cwd=clone, check=True)
    return clone


@pytest.fixture(scope="module")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> NewEnvironment:
    def make() -> Installed:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder / "env")  # pip and setuptools are the tests' own, too
        beside = Path(
            sysconfig.get_path("purelib", vars={"base": str(folder / "env"), "platbase": str(folder / "env")})
        )
        # A path in a .pth file is searched after the environment's own, and its .pth files (ours, editable) are not.
        (beside / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        (folder / "away").mkdir()
        return Installed(folder / "env", folder / "away")

    return make
