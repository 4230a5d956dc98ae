"""The example workflow, judged by actionlint: expressions, contexts, events, and the shell of each step."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.go_programs import actionlint

pytestmark = pytest.mark.terraform

WORKFLOW = Path(__file__).parents[3] / "examples" / "github-actions" / "images.yml"


def judged(workflow: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([actionlint(), "-no-color", workflow], capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing_in_the_example_workflow() -> None:
    found = judged(WORKFLOW)
    assert (found.returncode, found.stdout) == (0, "")


def test_actionlint_reads_it_and_would_find_a_context_that_is_none(tmp_path: Path) -> None:
    workflow = tmp_path / "images.yml"
    text = WORKFLOW.read_text()
    workflow.write_text(text.replace("github.event_name", "github.event_nam"))

    found = judged(workflow)

    assert "github.event_name" in text
    assert found.returncode == 1
    assert 'property "event_nam" is not defined' in found.stdout
