"""Exports: what a build sees is what was committed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.git import export as export_module
from reconciler.git.repository import Repository
from reconciler.model.errors import Terminal
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


ATTRIBUTES = {
    "line ends": ("* text eol=crlf\n", "a\nb\n"),
    "text of this system": ("* text=auto\n", "a\r\nb\r\n"),
    "an identity": ("* ident\n", "# $Id$\n"),
    "another encoding": ("* text working-tree-encoding=UTF-16LE\n", "echo \uff04(id)\n"),
    "a release": ("* export-ignore\n* export-subst\n", "$Format:%H$\n"),
    "an old word": ("* crlf=input\n", "a\r\n"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["the commit", "the checkout", "info", "a person", "the system"])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_export_is_what_was_reviewed_whatever_attributes_say(
    attribute: str, where: str, *, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, text = ATTRIBUTES[attribute]
    commit(clone, {"a.sh": text})
    match where:
        case "the commit":
            # As it comes to a repository that was made without it: the blob stays what it was.
            clone.joinpath(".gitattributes").write_text(line)
            git(clone, "add", ".gitattributes")
            git(clone, "commit", "--quiet", "--message", "Set attributes")
        case "the checkout":
            clone.joinpath(".gitattributes").write_text(line)
        case "info":
            clone.joinpath(".git/info").mkdir(exist_ok=True)
            clone.joinpath(".git/info/attributes").write_text(line)
        case "a person":
            (Path.home() / ".config/git").mkdir(parents=True)
            (Path.home() / ".config/git/attributes").write_text(line)
        case "the system":
            (tmp_path / "attributes").write_text(line)
            (tmp_path / "gitconfig").write_text(
                f"[core]\nattributesFile = {tmp_path / 'attributes'}\nautocrlf = true\n"
            )
            monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
            monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "gitconfig"))

    export = Repository.open(clone).export("HEAD", tmp_path / "tree", used=["a.sh"])

    assert export.directory.joinpath("a.sh").read_bytes() == text.encode()


@pytest.mark.parametrize(
    "setting", ["core.autocrlf=true", "core.eol=crlf", "core.symlinks=false", "core.fileMode=false"]
)
def test_an_export_does_not_depend_on_who_runs_it(setting: str, clone: Path, tmp_path: Path) -> None:
    clone.joinpath("link").symlink_to("run.sh")
    clone.joinpath("run.sh").write_text("#!/bin/sh\n")
    clone.joinpath("run.sh").chmod(0o700)
    commit(clone, {"folder/data": "1\n"})
    git(clone, "config", "--global", *setting.split("="))

    before = os.umask(0o077)
    try:
        export = Repository.open(clone).export("HEAD", tmp_path / "tree")
    finally:
        os.umask(before)

    root = export.directory
    modes = {name: f"{(root / name).lstat().st_mode & 0o777:o}" for name in ("run.sh", "folder", "folder/data")}
    assert modes == {"run.sh": "755", "folder": "755", "folder/data": "644"}
    assert root.joinpath("link").readlink() == Path("run.sh")
    assert root.joinpath("folder/data").read_bytes() == b"1\n"


def test_names_of_any_bytes_and_large_files_come_out_whole(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "_AT_ONCE", 1000)
    large = bytes(range(256)) * 8
    files = {"large": large, "a b\n\t*.hcl": b"odd\n", "empty": b"", **{f"small/{n}": b"x" * 400 for n in range(7)}}
    for name, content in files.items():
        clone.joinpath(name).parent.mkdir(exist_ok=True)
        clone.joinpath(name).write_bytes(content)
    Path(os.fsdecode(os.fsencode(clone) + b"/caf\xe9")).write_bytes(b"latin\n")
    made = commit(clone, {})

    root = Repository.open(clone).export(made, tmp_path / "tree").directory

    assert {name: root.joinpath(name).read_bytes() for name in files} == files
    assert Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).read_bytes() == b"latin\n"


@pytest.mark.parametrize("path", ["../out", ".git/hooks/x", "a/../../out", ".GIT/config"])
def test_a_commit_whose_paths_lead_elsewhere_is_refused(path: str, clone: Path, tmp_path: Path) -> None:
    made = _commit_of_tree(clone, _tree(clone, path))

    with pytest.raises(Terminal, match="which leads elsewhere"):
        Repository.open(clone).export(made, tmp_path / "work" / "tree")

    assert [*tmp_path.joinpath("work").rglob("*")] == [tmp_path / "work" / "tree"]


def test_nothing_is_written_through_a_link_of_the_commit(clone: Path, tmp_path: Path) -> None:
    """A tree with one name twice: a link, and a folder."""
    link = _hashed(clone, "../outside")
    below = _tree(clone, "file")
    listing = f"120000 blob {link}\ta\x00" + f"040000 tree {below}\ta\x00"
    tree = subprocess.run(
        ["git", "mktree", "-z", "--missing"], cwd=clone, input=listing, capture_output=True, text=True, check=True
    ).stdout.strip()
    tmp_path.joinpath("work", "outside").mkdir(parents=True)

    with pytest.raises(Terminal, match="can't be exported"):
        Repository.open(clone).export(_commit_of_tree(clone, tree), tmp_path / "work" / "tree")

    assert [*tmp_path.joinpath("work", "outside").iterdir()] == []


def _hashed(clone: Path, text: str) -> str:
    return subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=clone, input=text, capture_output=True, text=True, check=True
    ).stdout.strip()


def _tree(clone: Path, path: str) -> str:
    """A tree with one file, made as no checkout would."""
    kind, mode, oid = "blob", "100644", _hashed(clone, "x")
    for part in reversed(path.split("/")):
        raw = f"{mode.lstrip('0')} {part}\0".encode() + bytes.fromhex(oid)
        oid = subprocess.run(
            ["git", "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
            cwd=clone, input=raw, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        kind, mode = "tree", "40000"
    assert kind == "tree"
    return oid


def _commit_of_tree(clone: Path, tree: str) -> str:
    return git(clone, "commit-tree", "-m", "odd", tree)


def test_submodules_are_named_since_they_are_not_exported(clone: Path, tmp_path: Path) -> None:
    git(clone, "submodule", "--quiet", "add", str(clone), "roles/shared")
    made = commit(clone, {})

    export = Repository.open(clone).export(made, tmp_path / "tree")

    assert export.submodules == ("roles/shared",)
    assert [*export.directory.joinpath("roles/shared").iterdir()] == []


def test_a_folder_with_something_in_it_is_refused(clone: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("tree").mkdir()
    tmp_path.joinpath("tree", "old").write_text("1")

    with pytest.raises(Terminal, match="is not empty"):
        Repository.open(clone).export("HEAD", tmp_path / "tree")


def test_a_relative_folder_is_relative_to_here(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    Repository.open(clone).export("HEAD", Path("tree"))

    assert tmp_path.joinpath("tree", "README.md").exists()
