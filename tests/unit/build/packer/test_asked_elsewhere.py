"""What a program says of itself is not asked in the checkout: Packer runs what it takes for plugins where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.build.packer.binary import ask


def test_a_program_is_asked_where_nobody_committed_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "where").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "where").chmod(0o755)
    monkeypatch.chdir(tmp_path)

    assert ask(("./where",), os.environ) == b"/\n"
    assert ask(("pwd",), os.environ) == b"/\n"
