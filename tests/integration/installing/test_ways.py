"""The ways to install it that docs/installing.md names, with the packages that an index really has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import reconciler

pytestmark = pytest.mark.long

INSTALLERS = Path(__file__).parent / "installers.lock"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command as somebody who is new here, and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    told = subprocess.run(command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"{shlex.join(map(str, command))}: {told.stdout}{told.stderr}"
    return told.stdout


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where uv and pipx are, of one locked version each."""
    folder = tmp_path_factory.mktemp("installers")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin/pip", "install", "--quiet", "--require-hashes", "-r", INSTALLERS, cwd=folder)
    return folder / "bin"


def works(program: Path, away: Path) -> None:
    """It declares a fleet where there was none, and reads it; and it has what the sandbox needs."""
    run("git", "init", "--quiet", "--initial-branch", "main", cwd=away)
    template = """
    source "amazon-ebs" "web" {
      ami_name   = "web"
      source_ami = "ami-0c1d2e3f4a5b6c7d8"
    }
    build { sources = ["source.amazon-ebs.web"] }
    """
    (away / "web.pkr.hcl").write_text(template)
    run("git", "add", ".", cwd=away)
    run("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "-m", "Begin", cwd=away)
    assert "web" in run(program, "init", cwd=away)
    assert "Usage" in run(program, "sandbox", "start", "--help", cwd=away)
    run(program.parent / "python", "-c", "import moto, asyncssh", cwd=away)


def test_an_environment_of_wheels_alone_by_their_hashes(source: Path, tmp_path: Path) -> None:
    run("bash", source / ".ci/venv", tmp_path / "reconciler", cwd=tmp_path)

    away = tmp_path / "away"
    away.mkdir()
    works(tmp_path / "reconciler/bin/reconciler", away)
    run(tmp_path / "reconciler/bin/python", "-c", "import pyVmomi", cwd=away)
    assert "ansible-playbook" in run(tmp_path / "reconciler/bin/ansible-playbook", "--version", cwd=away)


@pytest.mark.parametrize("way", ["clone", "address"])
@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_a_tool_from_a_clone_and_from_a_git_address(
    source: Path, installers: Path, tmp_path: Path, tool: str, way: str
) -> None:
    commit = run("git", "rev-parse", "HEAD", cwd=source).strip()
    wanted = f"{source}[sandbox]" if way == "clone" else f"reconciler[sandbox] @ git+file://{source}@{commit}"
    command = ("uv", "tool", "install") if tool == "uv" else ("pipx", "install")
    there, programs = str(tmp_path / "tools"), str(tmp_path / "programs")
    places = {"UV_TOOL_DIR": there, "UV_TOOL_BIN_DIR": programs, "PIPX_HOME": there, "PIPX_BIN_DIR": programs}

    run(installers / command[0], *command[1:], wanted, cwd=tmp_path, **places)

    (found,) = (tmp_path / "tools").rglob("bin/reconciler")
    whence = f"from {source}" if way == "clone" else f"commit {commit}"
    assert run(found, "--version", cwd=tmp_path) == f"reconciler, version {reconciler.__version__} ({whence})\n"
    away = tmp_path / "away"
    away.mkdir()
    works(found, away)
