"""A fork of the `reconciler` command answers as a process of it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import Command, forking

pytestmark = pytest.mark.long


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a commit and no images."""
    root = tmp_path / "images"
    git = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(root))
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "Begin"], check=True)
    return root


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--version",), {}),
        (("reconcile", "--help"), {"COLUMNS": "40"}),
        (("validate", "--json"), {"PATH": "/none"}),
        (("status", "-C"), {"PYTHONUTF8": "0"}),
    ],
)
def test_it_ends_and_says_the_same(
    command: Command, repository: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    """In its folder and with its environment, also where Python or GitPython would start otherwise."""
    seen = {**os.environ, **environment}
    process = subprocess.run(
        [sys.executable, "-m", "reconciler", *arguments],
        cwd=repository, env=seen, capture_output=True, text=True, check=False,
    )  # fmt: skip

    fork = command.run(*arguments, cwd=repository, environment=seen)

    assert (fork.returncode, fork.stdout, fork.stderr) == (process.returncode, process.stdout, process.stderr)


def test_one_that_is_killed_has_the_signal_as_its_status(tmp_path: Path) -> None:
    """Given a git that kills whoever runs it, the command ends and not the process that forks."""
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\nkill -KILL "$PPID"\n')
    git.chmod(0o755)
    seen = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with forking() as command:
        killed = command.run("validate", cwd=tmp_path, environment=seen)
        after = command.run("--version", cwd=tmp_path)

    assert (killed.returncode, killed.stdout) == (-9, "")
    assert after.returncode == 0
