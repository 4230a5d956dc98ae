"""`reconciler demo`: the first thing that a newcomer runs, whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.packer, pytest.mark.xdist_group("story-demo")]

PROJECT = Path(__file__).parents[3]


@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox needs root")
@pytest.mark.skipif(shutil.which("packer") is None, reason="needs packer")
def test_the_demo_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = status()

    told = subprocess.run(
        [sys.executable, "-m", "reconciler", "demo", "-C", str(PROJECT)],
        env={**os.environ, "COLUMNS": "80", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    answers = [
        "2 of 2 images drifted: base (new), web (new)",
        "Recorded in state/: 2 commits pushed to main",
        "2 images in sync: nothing to do.",
        "1 of 2 images drifted: web (inputs-changed)",
        "2 of 2 images drifted: base (source-changed), web (parent-rebuilt)",
        "The story took ",
    ]
    places = [told.stdout.find(answer) for answer in answers]
    assert -1 not in places, told.stdout
    assert places == sorted(places), "in this order"
    assert re.search(r"(?m)^web .*\bbase\b", told.stdout), "web saw what base left"
    assert "Traceback" not in told.stdout + told.stderr
    assert "\x1b" not in told.stdout + told.stderr
    assert list(tmp_path.iterdir()) == []
    assert status() == before


def status() -> str:
    """What git says of this project's own state/, which the demo must not touch."""
    command = ["git", "-C", str(PROJECT), "status", "--porcelain", "--", "state"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
