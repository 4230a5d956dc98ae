"""Real repositories to work in: a bare origin, clones of it, and a $HOME that is not the reader's."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.git.objects import Change, Commit, TagRequest
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.tree import Tree
from tests.integration.loop import surroundings

GITCONFIG = f"{surroundings.GITCONFIG}[protocol]\n    allow = always\n"
MOMENT = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath(".gitconfig").write_text(GITCONFIG)
    for name in list(os.environ):
        if name.startswith(("GIT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(directory: Path, *arguments: str, check: bool = True) -> str:
    """Run git as a person would, and return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.removesuffix("\n")


def commit(directory: Path, files: Mapping[str, str | bytes], message: str = "Change") -> str:
    """Commit files as a person would, and return the commit."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", message)
    return git(directory, "rev-parse", "HEAD")


@dataclass(frozen=True)
class Origin:
    """A bare repository with one commit on main."""

    path: Path

    def clone(self, name: str, *options: str) -> Path:
        target = self.path.parent / name
        git(self.path.parent, "clone", "--quiet", *options, self.path.as_uri(), str(target))
        return target

    def hook(self, name: str, script: str) -> None:
        path = self.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def head(self, branch: str = "main") -> str:
        return git(self.path, "rev-parse", f"refs/heads/{branch}")

    def show(self, path: str, branch: str = "main") -> str:
        return git(self.path, "show", f"refs/heads/{branch}:{path}")

    def files(self, branch: str = "main") -> list[str]:
        return git(self.path, "ls-tree", "-r", "--name-only", f"refs/heads/{branch}").splitlines()


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    bare = Origin(tmp_path / "owner" / "fleet.git")
    bare.path.parent.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(bare.path))
    seed = bare.clone("seed")
    commit(seed, {"desired/web/web.pkr.hcl": "source {}\n", "README.md": "fleet\n"}, "Begin")
    git(seed, "push", "--quiet", "origin", "HEAD:main")
    return bare


@pytest.fixture
def clone(origin: Origin) -> Path:
    return origin.clone("clone")


class Waits(list[float]):
    """A sleep that only notes how long it was asked for."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def recorder_in(waits: Waits) -> Callable[..., Recorder]:
    def make(
        directory: Path,
        settings: GitSettings | None = None,
        *,
        sleep: Callable[[float], None] = waits,
        confirms: bool = True,
    ) -> Recorder:
        repository = Repository.open(directory)
        return repository.recorder(
            settings or GitSettings(), now=lambda: MOMENT, sleep=sleep, random=lambda: 0.5,
            confirms=lambda _image, _base, _proposed: confirms,
        )  # fmt: skip

    return make


def lock_path(image: str) -> str:
    return f"state/{image}.lock.json"


def writing(image: str, text: str, *tags: TagRequest) -> Callable[[Tree], Commit]:
    """A regenerate that always wants this lockfile."""
    return lambda _tree: Commit((Change(lock_path(image), text.encode()),), f"{image}: build (new)", tags)


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file of the checkout, and its index: equal snapshots mean that nobody touched it."""
    files = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(directory).parts
    }
    return files | {"(index)": directory.joinpath(".git/index").read_bytes()}
