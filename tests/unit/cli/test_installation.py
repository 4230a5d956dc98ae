"""A hint to install an extra names what was installed, and never leaves the name to an index."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from reconciler.cli.installation import install_with, running
from reconciler.cli.main import cli

COMMIT = "4946ab3a5b56d863faa1fc8274b98c35ce48056c"
GIT = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
Noted = Callable[..., None]


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noted:
    """Have this reconciler installed as `direct_url.json` says, in an environment that `by` made."""

    def make(note: Any, *, by: str = "pip", marker: str = "") -> None:
        folder = tmp_path / "site-packages" / "reconciler-0.1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: reconciler\nVersion: 0.1.0\n")
        (folder / "INSTALLER").write_text(f"{by}\n")
        if note is not None:
            (folder / "direct_url.json").write_text(note if isinstance(note, str) else json.dumps(note))
        monkeypatch.syspath_prepend(folder.parent)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        monkeypatch.setattr(sys, "executable", "/opt/env/bin/python")
        if marker:
            (tmp_path / marker).touch()

    return make


def command() -> list[str]:
    before, _, found = install_with("sandbox").partition(": ")
    assert before == "install it with its extra"
    return shlex.split(found)


@pytest.mark.parametrize(
    ("by", "marker", "begins"),
    [
        ("pip", "", ["/opt/env/bin/python", "-m", "pip", "install"]),
        ("uv", "", ["uv", "pip", "install", "--python", "/opt/env/bin/python"]),
        ("uv", "uv-receipt.toml", ["uv", "tool", "install", "--force"]),
        ("uv", "pipx_metadata.json", ["pipx", "install", "--force"]),
        ("pip", "pipx_metadata.json", ["pipx", "install", "--force"]),
    ],
)
def test_what_installed_it_installs_it_again(noted: Noted, by: str, marker: str, begins: list[str]) -> None:
    noted({"url": "https://git.example.org/images/reconciler.git", "vcs_info": GIT}, by=by, marker=marker)

    assert command()[:-1] == begins


@pytest.mark.parametrize(
    ("note", "requirement"),
    [
        (
            {"url": "https://git.example.org/images/reconciler.git", "vcs_info": GIT},
            f"reconciler[sandbox] @ git+https://git.example.org/images/reconciler.git@{COMMIT}",
        ),
        (
            {"url": "ssh://git@git.example.org/images/reconciler.git", "vcs_info": GIT},
            f"reconciler[sandbox] @ git+ssh://git@git.example.org/images/reconciler.git@{COMMIT}",
        ),
        (
            {"url": "https://git.example.org/tools.git", "vcs_info": GIT, "subdirectory": "images/the reconciler"},
            f"reconciler[sandbox] @ git+https://git.example.org/tools.git@{COMMIT}#subdirectory=images/the%20reconciler",
        ),
        (
            {"url": "https://files.example.org/reconciler-0.1.0-py3-none-any.whl", "archive_info": {}},
            "reconciler[sandbox] @ https://files.example.org/reconciler-0.1.0-py3-none-any.whl",
        ),
    ],
    ids=["a commit", "over SSH", "a folder of a repository", "an archive"],
)
def test_what_was_installed_is_named(noted: Noted, note: Any, requirement: str) -> None:
    noted(note)

    assert command()[-1] == requirement


@pytest.mark.parametrize(
    ("by", "named"), [("pip", "{path}[sandbox]"), ("uv", "reconciler[sandbox] @ git+{url}@{commit}")]
)
def test_pip_is_given_the_path_of_a_repository_on_this_machine(
    noted: Noted, tmp_path: Path, by: str, named: str
) -> None:
    """Versions of it before 24.1 read no `git+file:` address that has an extra."""
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    noted({"url": clone.as_uri(), "vcs_info": GIT}, by=by)

    assert command()[-1] == named.format(path=clone, url=clone.as_uri(), commit=COMMIT)


@pytest.mark.parametrize("editable", [False, True])
def test_a_folder_is_named_by_its_path(noted: Noted, tmp_path: Path, *, editable: bool) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    noted({"url": clone.as_uri(), "dir_info": {"editable": True} if editable else {}})

    assert command()[4:] == [*(["--editable"] if editable else []), f"{clone}[sandbox]"]


@pytest.mark.parametrize(
    "note",
    [
        lambda url: {"url": url, "dir_info": {}},
        lambda url: {"url": url, "vcs_info": GIT},
        lambda url: {"url": url, "archive_info": {}},
    ],
    ids=["a folder", "a commit", "an archive"],
)
def test_what_is_gone_is_not_offered(noted: Noted, tmp_path: Path, note: Callable[[str], Any]) -> None:
    gone = tmp_path / "gone"
    noted(note(gone.as_uri()))

    assert install_with("sandbox") == (
        f"install it again with its extra 'sandbox': it came from {gone}, which is no longer there"
    )


@pytest.mark.parametrize(
    "note",
    [
        None,
        "{",
        "[]",
        "{}",
        '{"url": "https://[example.org"}',
        '{"url": 7}',
        '{"url": "reconciler"}',
        '{"url": "https://example.org/", "dir_info": {}}',
    ],
)
def test_what_nobody_noted_is_not_guessed(noted: Noted, monkeypatch: pytest.MonkeyPatch, note: str | None) -> None:
    noted(note)
    monkeypatch.setattr("reconciler.__file__", "/usr/lib/python3/dist-packages/reconciler/__init__.py")

    assert install_with("sandbox") == (
        "install it again with its extra 'sandbox', from a clone or the address of its repository"
    )


def test_a_clone_that_was_never_installed_is_named(noted: Noted) -> None:
    noted(None)

    assert command()[-1] == f"{Path(__file__).parents[3]}[sandbox]"


def test_credentials_in_an_address_are_not_repeated(noted: Noted) -> None:
    noted({"url": "https://bot:s3cr3t@git.example.org/reconciler.git", "vcs_info": GIT})

    assert "s3cr3t" not in install_with("sandbox")


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ({"url": "https://ada:s3cr3t@git.example.org/reconciler.git", "vcs_info": GIT}, f"0.1.0 (commit {COMMIT})"),
        ({"url": "file:///home/ada/my%20clone", "dir_info": {}}, "0.1.0 (from /home/ada/my clone)"),
        ({"url": "file:///home/ada/clone%0Areconciler", "dir_info": {}}, "0.1.0 (from /home/ada/clone\\nreconciler)"),
        ({"url": "file:///elsewhere", "dir_info": {"editable": True}}, f"0.1.0 (from {Path(__file__).parents[3]})"),
        ({"url": "https://files.example.org/reconciler-0.1.0-py3-none-any.whl", "archive_info": {}}, "0.1.0"),
        ({"url": "https://git.example.org/reconciler.git", "vcs_info": {"vcs": "git", "commit_id": 7}}, "0.1.0"),
        ("{", "0.1.0"),
    ],
    ids=[
        "a commit",
        "a folder",
        "a folder in two lines",
        "a clone that it runs in",
        "an archive",
        "no commit",
        "no JSON",
    ],
)
def test_the_version_tells_which_one_runs(noted: Noted, note: Any, told: str) -> None:
    noted(note)

    assert running() == told
    assert CliRunner().invoke(cli, ["--version"]).output == f"reconciler, version {told}\n"
