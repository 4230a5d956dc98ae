"""Exports: what a build sees is what was committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import Terminal, UserError
from tests.integration.git.conftest import commit, git, snapshot


def test_an_export_is_the_commit_and_not_the_checkout(clone: Path, tmp_path: Path) -> None:
    clone.joinpath("run.sh").write_text("#!/bin/sh\n")
    clone.joinpath("run.sh").chmod(0o755)
    clone.joinpath("link").symlink_to("README.md")
    made = commit(clone, {"deep/er/file": "1\n"})
    clone.joinpath("README.md").write_text("half a sen")
    clone.joinpath("untracked").write_text("1")
    before = snapshot(clone)

    export = Repository.open(clone).export(made, tmp_path / "work" / "tree")

    files = sorted(str(p.relative_to(export.directory)) for p in export.directory.rglob("*") if not p.is_dir())
    assert files == ["README.md", "deep/er/file", "desired/web/web.pkr.hcl", "link", "run.sh"]
    assert export.directory.joinpath("README.md").read_text() == "fleet\n"
    assert os.access(export.directory / "run.sh", os.X_OK)
    assert export.directory.joinpath("link").readlink() == Path("README.md")
    assert snapshot(clone) == before


def test_what_tarballs_leave_out_and_fill_in_stays_as_committed(clone: Path, tmp_path: Path) -> None:
    made = commit(
        clone, {".gitattributes": "kept export-ignore\nraw export-subst\n", "kept": "1", "raw": "$Format:%H$"}
    )

    export = Repository.open(clone).export(made, tmp_path / "tree")

    assert export.directory.joinpath("kept").read_text() == "1"
    assert export.directory.joinpath("raw").read_text() == "$Format:%H$"


def test_line_endings_follow_the_commits_attributes_not_the_person_or_the_checkout(clone: Path, tmp_path: Path) -> None:
    made = commit(clone, {".gitattributes": "*.ps1 text eol=crlf\n", "a.ps1": "1\n", "a.sh": "1\n"})
    clone.joinpath(".gitattributes").write_text("*.sh text eol=crlf\n")
    git(clone, "config", "core.autocrlf", "true")

    export = Repository.open(clone).export(made, tmp_path / "tree")

    assert export.directory.joinpath("a.ps1").read_bytes() == b"1\r\n"
    assert export.directory.joinpath("a.sh").read_bytes() == b"1\n"


def test_submodules_are_named_since_they_are_not_exported(clone: Path, tmp_path: Path) -> None:
    git(clone, "submodule", "--quiet", "add", str(clone), "roles/shared")
    made = commit(clone, {})

    export = Repository.open(clone).export(made, tmp_path / "tree")

    assert export.submodules == ("roles/shared",)


def test_a_filter_runs_as_configured(clone: Path, tmp_path: Path) -> None:
    made = commit(clone, {".gitattributes": "big filter=store\n", "big": "pointer"})
    git(clone, "config", "filter.store.smudge", "sed s/pointer/content/")

    export = Repository.open(clone).export(made, tmp_path / "tree")

    assert export.directory.joinpath("big").read_text() == "content"


def test_a_filter_that_fails_is_named(clone: Path, tmp_path: Path) -> None:
    made = commit(clone, {".gitattributes": "big filter=store\n", "big": "pointer"})
    git(clone, "config", "filter.store.smudge", "false")
    git(clone, "config", "filter.store.required", "true")

    with pytest.raises(UserError, match="failed in a filter"):
        Repository.open(clone).export(made, tmp_path / "tree")


def test_a_folder_with_something_in_it_is_refused(clone: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("tree").mkdir()
    tmp_path.joinpath("tree", "old").write_text("1")

    with pytest.raises(Terminal, match="is not empty"):
        Repository.open(clone).export("HEAD", tmp_path / "tree")


def test_a_relative_folder_is_relative_to_here(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    Repository.open(clone).export("HEAD", Path("tree"))

    assert tmp_path.joinpath("tree", "README.md").exists()
