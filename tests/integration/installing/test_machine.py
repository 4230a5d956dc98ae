"""A bare machine gets what a command needs from its archive, and no more; it is told what, and why it could not be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_THERE = ("bash", "cat", "dirname", "env", "id")

Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bare_machine(tmp_path: Path) -> Machine:
    """Run `.ci/install` where nothing is installed but a shell, and root's `apt-get` is the given script."""
    programs, clone = tmp_path / "bin", tmp_path / "clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy2(ROOT / ".ci" / "install", clone / ".ci" / "install")
    programs.mkdir()
    for name in _THERE:
        (programs / name).symlink_to(str(shutil.which(name)))

    def run(
        *arguments: str, apt_get: str | None = 'echo "asked: $*"; exit 1', user: int = 0
    ) -> subprocess.CompletedProcess[str]:
        for name, script in (("apt-get", apt_get), ("id", f"echo {user}")):
            (programs / name).unlink(missing_ok=True)
            if script is not None:
                (programs / name).write_text(f"#!/bin/sh\n{script}\n")
                (programs / name).chmod(0o755)
        return subprocess.run(
            [clone / ".ci" / "install", *arguments],
            env={"PATH": str(programs), "HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("what_for", "needed", "not_needed"),
    [
        ("demo", {"mmdebstrap", "openssh-client", "python3-venv"}, {"npm", "nodejs", "git-lfs", "sudo"}),
        ("quick", {"openssh-client", "git-lfs", "python3-venv"}, {"npm", "nodejs", "mmdebstrap", "nftables", "sudo"}),
        ("", {"mmdebstrap", "git-lfs", "npm", "nodejs", "sudo", "gpg-agent"}, set()),
    ],
    ids=["the demo", "the tests without root", "all tests"],
)
def test_a_bare_machine_gets_what_is_needed_and_no_more(
    bare_machine: Machine, what_for: str, needed: set[str], not_needed: set[str]
) -> None:
    ended = bare_machine(*filter(None, [what_for]))

    asked = set(ended.stdout.split())
    assert ended.stdout.startswith("installing from this system's archive: ")
    assert needed <= asked
    assert not asked & not_needed


def test_what_apt_get_says_is_shown_where_it_fails_alone(bare_machine: Machine) -> None:
    works_and_talks = 'case "$*" in *install*) echo "Setting up mmdebstrap"; exit 0 ;; *) echo Reading; exit 0 ;; esac'
    fails = 'case "$*" in *install*) echo "Unable to locate package mmdebstrap"; exit 100 ;; *) exit 0 ;; esac'

    assert "Setting up" not in (worked := bare_machine("demo", apt_get=works_and_talks)).stdout + worked.stderr
    failed = bare_machine("demo", apt_get=fails)
    assert failed.returncode == 1
    assert "Unable to locate package mmdebstrap\nerror: apt-get could not install: " in failed.stderr


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        ({"user": 1000}, "which only root may install, and there is no sudo here\n  as root: apt-get install git "),
        ({"apt_get": None}, "and there is no apt-get to install them with"),
        ({}, "apt-get could not read the archive's lists"),
    ],
    ids=["nobody may", "another Linux", "no network"],
)
def test_what_can_not_be_installed_is_said(bare_machine: Machine, machine: dict[str, object], says: str) -> None:
    ended = bare_machine("demo", **machine)

    assert ended.returncode == 1
    assert says in ended.stderr
    assert "command not found" not in ended.stderr
