"""A submodule names a commit; what it names may be any object of ours, and what stands there is reviewed by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.git.repository import Repository
from reconciler.model.tree import content_at
from tests.integration.git.conftest import git

SETTINGS = "desired/reconciler.yaml"


@pytest.mark.parametrize("mode", ["160000", "120000"])
def test_only_a_file_is_read_as_one(clone: Path, mode: str) -> None:
    # Given a blob that came with some branch, and a submodule or a link of a file's name that names it
    (clone / "hidden").write_text("git: {branch: mine}\n")
    blob = git(clone, "hash-object", "-w", "hidden")
    git(clone, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{SETTINGS}")
    git(clone, "commit", "--quiet", "--message", "Add a module")

    assert content_at(Repository.open(clone).tree(), SETTINGS) is None
