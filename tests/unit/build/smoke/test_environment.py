"""Tests of images run in an environment that holds nothing of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from reconciler.build.smoke.pytest_run import bare


def test_only_what_is_listed_is_handed_on(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/bin",
        "HOME": "/root",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "PYTHONPATH": "/x",
        "SSH_AUTH_SOCK": "/y",
    }

    assert bare(inherited, home=tmp_path) == {"PATH": "/bin", "HOME": str(tmp_path)}


def test_pytest_is_loaded_by_its_own_process_only() -> None:
    """`reconciler plan` starts without it."""
    check = "import sys, reconciler.build.smoke.tester; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
