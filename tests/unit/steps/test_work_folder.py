"""The folder of a build is gone after it, also where its run was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.model.errors import Terminal
from reconciler.steps.work_folder import sweep, work_folder

HOLD = """
import sys, pathlib
from reconciler.steps.work_folder import work_folder
with work_folder(pathlib.Path(sys.argv[1]), "web") as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def holding(root: Path) -> tuple[subprocess.Popen[str], Path]:
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    return run, Path(run.stdout.readline().strip())


def test_a_folder_is_gone_after_its_build_even_if_that_raised(tmp_path: Path) -> None:
    def build() -> None:
        with work_folder(tmp_path, "web") as folder:
            (folder / "export").mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    killed, left = holding(tmp_path)
    living, held = holding(tmp_path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    assert sweep(tmp_path) == (left,)

    assert list(tmp_path.iterdir()) == [held]
    living.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_just_being_made_is_left_alone_and_an_old_one_without_a_lock_is_not(tmp_path: Path) -> None:
    young, old = tmp_path / "young", tmp_path / "old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))

    assert sweep(tmp_path) == (old,)
    assert young.is_dir()


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder should be")

    with (
        pytest.raises(Terminal, match=r"web can't be built: .* cannot be written"),
        work_folder(tmp_path / "work", "web"),
    ):
        pass
