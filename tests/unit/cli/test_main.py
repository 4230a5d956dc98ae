from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"boto3", "botocore", "git", "pydantic", "rich", "structlog", "tenacity"}
"""What takes longer to import than Python takes to start."""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["plna"]])
def test_what_no_verb_answers_waits_for_no_library(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "reconciler", *arguments]

    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines() if "|" in line}
    assert "click" in imported
    assert imported & SLOW == set()
