"""The demo's commands, when they do not end as the story says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.cli.demo import Stage
from reconciler.model.errors import Terminal


@pytest.mark.parametrize("ending", ["exit 130", "kill -INT $$"])
def test_a_command_that_was_interrupted_interrupts_the_demo(tmp_path: Path, ending: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        Stage(tmp_path, os.environ).git("-c", f"alias.end=!{ending}", "end")


def test_another_end_than_the_story_s_is_told(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match=r"the demo expected exit code 0, and .* ended with 7"):
        Stage(tmp_path, os.environ).git("-c", "alias.end=!exit 7", "end")
