from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.errors import Place, Terminal
from reconciler.model.lockfile import Artifact, Build
from reconciler.state.lockfiles import parse_build
from reconciler.state.unsaved import write_atomically, write_unsaved

BUILD = Build(
    id="20261122T101530Z-1a2b3c4", key="sha256:1a", components={}, commit="c", phase="preliminary",
    artifacts=(Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-0a"),),
)  # fmt: skip


def test_an_unsaved_record_can_be_read_back(tmp_path: Path) -> None:
    path = write_unsaved(tmp_path, "web", build=BUILD)

    assert path == tmp_path / "reconciler-unsaved" / "web.json"
    assert parse_build(path.read_bytes(), Place(str(path))) == BUILD


def test_a_record_that_cannot_be_written_is_told_instead(tmp_path: Path) -> None:
    tmp_path.joinpath("reconciler-unsaved").write_text("in the way")

    with pytest.raises(Terminal, match="is not on record") as raised:
        write_unsaved(tmp_path, "web", build=BUILD)

    assert "ami-0a in us-east-1" in str(raised.value)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)

    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]
