"""npm's packages that tests run: installed once, by a lockfile's versions and digests, into the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def installed(packages: Path, *, trim: Callable[[Path], None] = lambda _: None) -> Path:
    """A copy of the folder with its node_modules; workers wait for each other. `trim` drops what nobody reads."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    lock = packages / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler"
    folder = cache / f"npm-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "npm.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(packages, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            npm = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert npm.returncode == 0, npm.stderr
            trim(folder)
            (folder / "complete").touch()
    return folder
