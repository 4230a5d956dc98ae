"""The demo's commands, when they do not end as the story says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.cli.demo import Stage
from reconciler.model.errors import Terminal


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("ending", ["exit 130", "kill -INT $$"])
def test_a_command_that_was_interrupted_interrupts_the_demo(tmp_path: Path, ending: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        Stage(tmp_path, os.environ).git("-c", f"alias.end=!{ending}", "end")


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("told", ["TERM", "INT", "HUP"])
def test_a_demo_that_is_told_to_end_lets_its_command_clean_up_first(tmp_path: Path, told: str) -> None:
    # TERM may be told to the demo alone, which passes it on; the others a terminal tells the command itself
    works = "while :; do sleep 0.01; done" if told == "TERM" else "touch cleaned-up"
    (tmp_path / "git").write_text(f"#!/bin/sh\ntrap 'touch cleaned-up; exit' TERM\nkill -{told} $PPID\n{works}\n")
    (tmp_path / "git").chmod(0o755)

    with pytest.raises(KeyboardInterrupt):
        Stage(tmp_path, {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}).git("log")

    assert (tmp_path / "cleaned-up").exists()


def test_another_end_than_the_story_s_is_told(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match=r"the demo expected exit code 0, and .* ended with 7"):
        Stage(tmp_path, os.environ).git("-c", "alias.end=!exit 7", "end")
