from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.state.files import write_atomically


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
