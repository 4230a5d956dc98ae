"""What git takes for more than a file: a submodule, which may name any object; a repository among a commit's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.tree import content_at
from tests.integration.git.conftest import commit, git

SETTINGS = "desired/reconciler.yaml"


@pytest.mark.parametrize("mode", ["160000", "120000"])
def test_only_a_file_is_read_as_one(clone: Path, mode: str) -> None:
    # Given a blob that came with some branch, and a submodule or a link of a file's name that names it
    (clone / "hidden").write_text("git: {branch: mine}\n")
    blob = git(clone, "hash-object", "-w", "hidden")
    git(clone, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{SETTINGS}")
    git(clone, "commit", "--quiet", "--message", "Add a module")

    assert content_at(Repository.open(clone).tree(), SETTINGS) is None


@pytest.mark.parametrize("begun_in", ["fleet", "fleet/desired"])
def test_a_repository_that_a_commit_brought_is_none(clone: Path, tmp_path: Path, begun_in: str) -> None:
    # Given a fleet in a folder, to which a commit adds what makes git take that folder for a repository of its own
    commit(clone, {"fleet/desired/web/web.pkr.hcl": "source {}\n", "fleet/.gitattributes": "* filter=theirs\n"})
    marker = tmp_path / "run"
    git(clone, "init", "--quiet", "--bare", "theirs")
    git(clone, "push", "--quiet", "./theirs", "HEAD:refs/heads/main")
    for part in (clone / "theirs").iterdir():
        part.rename(clone / "fleet" / part.name)
    core = f"[core]\nrepositoryformatversion = 0\nbare = false\nworktree = {clone}/fleet\n"
    settings = f'{core}[filter "theirs"]\nclean = touch {marker}; cat\n'
    (clone / "fleet/config").write_text(settings)
    commit(clone, {})

    # When it is opened there, then nothing that its settings name is run
    with pytest.raises(UserError, match="takes for a repository of its own"):
        Repository.open(clone / begun_in).worktree_tree()
    assert not marker.exists()
