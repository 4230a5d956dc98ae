"""The orb's command `install`: from hashes alone, without a cache, and nothing of what a pull request sends."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.integration.circleci.pipeline import Finished, Pipeline, Runner
from tests.integration.packer.programs import write_program

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".circleci" / "config.yml"
# What builds the wheel of a small reconciler: a program of its own, so that none has to be had from an index.
BUILDER = """\
import pathlib, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "reconciler-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        for file in pathlib.Path("reconciler").glob("*"):
            inside = f"reconciler-1.0.dist-info/{file.name}" if file.suffix != ".py" else f"reconciler/{file.name}"
            if file.is_file():
                wheel.write(file, inside)
        wheel.writestr("reconciler-1.0.dist-info/RECORD", "")
    return name
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "builder"\nbackend-path = ["reconciler"]\n'


@dataclass(frozen=True)
class Source:
    """A repository of a small reconciler that has this project's `.ci/venv`, and the index that it is locked to."""

    origin: Path
    index: Path
    clone: Path

    def publish(self, message: str, ref: str = "refs/heads/main") -> str:
        for words in (
            ["add", "--all"],
            ["commit", "--quiet", "--message", message],
            ["push", "--quiet", "origin", f"HEAD:{ref}"],
        ):
            git(self.clone, *words)
        return git(self.clone, "rev-parse", "HEAD")

    def says(self, version: str) -> None:
        got = "export GOT=" if version == "reviewed" else "exit 1"
        (self.clone / "reconciler" / "__init__.py").write_text(
            "import sys, needed\n"
            "def run():\n"
            "    asked = '+'.join(word for word in sys.argv[1:] if word in ('packer', '--current'))\n"
            f"    print('{got}' + asked if '--export' in sys.argv else '{version} ' + needed.NAME)\n"
        )


def git(clone: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    ended = subprocess.run(["git", *identity, *words], cwd=clone, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def a_wheel(index: Path, text: str) -> str:
    """Put a package `needed` on the index. Returns its hash."""
    file = index / "needed-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("needed.py", text)
        wheel.writestr("needed-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: needed\nVersion: 1.0\n")
        wheel.writestr(
            "needed-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("needed-1.0.dist-info/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def a_newer_wheel(index: Path) -> None:
    """Put `needed` 2.0 beside 1.0."""
    older, newer = (index / f"needed-{version}-py3-none-any.whl" for version in ("1.0", "2.0"))
    with zipfile.ZipFile(older) as wheel, zipfile.ZipFile(newer, "w") as made:
        for name in wheel.namelist():
            text = wheel.read(name).decode().replace("as locked", "newer")
            made.writestr(name.replace("1.0", "2.0"), text.replace("needed\nVersion: 1.0", "needed\nVersion: 2.0"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path / "reconciler.git", tmp_path / "index", tmp_path / "reconciler")
    made.index.mkdir()
    (made.clone / "reconciler").mkdir(parents=True)
    (made.clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "venv", made.clone / ".ci")
    (made.clone / "pyproject.toml").write_text(PROJECT)
    extra = "Provides-Extra: sandbox\nRequires-Dist: needed; extra == 'sandbox'\n"
    for name, text in {
        "builder.py": BUILDER,
        "METADATA": METADATA.format(name="reconciler") + extra,
        "WHEEL": WHEEL,
        "entry_points.txt": "[console_scripts]\nreconciler = reconciler:run\n",
    }.items():
        (made.clone / "reconciler" / name).write_text(text)
    for name in ("README.md", "LICENSE"):
        (made.clone / name).touch()
    locked = a_wheel(made.index, 'NAME = "as locked"\n')
    (made.clone / "runtime.lock").write_text(f"needed==1.0 --hash=sha256:{locked}\n")
    made.says("reviewed")
    git(made.clone, "init", "--quiet", "--initial-branch", "main")
    git(made.clone, "init", "--quiet", "--bare", "--initial-branch", "main", str(made.origin))
    git(made.clone, "remote", "add", "origin", str(made.origin))
    made.publish("Begin")
    return made


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """What is on the PATH of a machine with Python and git, and neither a reconciler nor a Packer."""
    made = tmp_path / "programs"
    made.mkdir()
    (made / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name not in ("reconciler", "packer") and not os.path.lexists(made / program.name):
                (made / program.name).symlink_to(program)
    return made


@pytest.fixture
def runner(source: Source, programs: Path, tmp_path: Path) -> Runner:
    """That machine."""
    environment = {
        "PATH": str(programs),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(source.index),
    }
    return Runner(tmp_path / "machine", source.origin, environment)


def install(runner: Runner, *, branch: str = "main", revision: str | None = None, **arguments: Any) -> Finished:
    """Install as a job of the config does, then say what is there."""
    config = yaml.safe_load(CONFIG.read_text())
    look = 'reconciler; echo "got ${GOT:-nothing}"'
    config["jobs"]["one"] = {"steps": ["checkout", {"reconciler/install": arguments}, {"run": look}]}
    return runner.run(Pipeline(config, {}).steps("one"), branch=branch, revision=revision)


def test_it_is_installed_from_an_address_at_a_commit(source: Source, runner: Runner) -> None:
    """As it was locked then, although there is a newer reconciler, and a newer package on the machine's own index."""
    commit = git(source.clone, "rev-parse", "HEAD")
    source.says("newer")
    source.publish("Go on")
    a_newer_wheel(source.index)

    job = install(runner, **{"from": f"git+{source.origin.as_uri()}@{commit}"})

    assert not job.failed, job.output
    assert "reviewed as locked" in job.output.splitlines()
    assert "got packer+--current" in job.output.splitlines(), "no Packer of 2020 from the archive"
    assert not (job.home / ".cache").exists(), "no cache is left for another job"


def test_the_machines_own_packer_is_used(source: Source, runner: Runner, programs: Path) -> None:
    write_program(programs, "packer", "echo 1.9.4")

    job = install(runner, **{"from": f"git+{source.origin.as_uri()}@main"})

    assert "got packer" in job.output.splitlines(), job.output


def test_what_is_not_as_it_was_locked_is_not_installed(source: Source, runner: Runner) -> None:
    a_wheel(source.index, 'NAME = "poisoned"\n')

    job = install(runner, **{"from": f"git+{source.origin.as_uri()}@main"})

    assert job.failed
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in job.output
    assert not (job.home / "reconciler" / "bin" / "reconciler").exists()


@pytest.fixture
def address(source: Source) -> Iterator[str]:
    """The package index, as a server on loopback that says each hash, as PyPI does."""
    serve = partial(SimpleHTTPRequestHandler, directory=str(source.index.parent / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def published(source: Source, address: str) -> str:
    """Put `needed` on that index. Returns the address of its wheel, as pip has it from there."""
    (wheel,) = source.index.glob("*.whl")
    page = source.index.parent / "served/simple/needed"
    page.mkdir(parents=True)
    shutil.copy(wheel, page.parent.parent)
    link = f"{address}/{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{link}">{wheel.name}</a>')
    return link


POISON = """\
import json, shutil, sys
from pathlib import Path
from pip._internal.cache import SimpleWheelCache
from pip._internal.models.link import Link
cache, address, wheel = sys.argv[1:]
link = Link(address)
folder = Path(SimpleWheelCache(cache).get_path_for_link(link))
folder.mkdir(parents=True)
shutil.copy(wheel, folder)
said = {"hash": f"sha256={link.hash}", "hashes": {"sha256": link.hash}}
(folder / "origin.json").write_text(json.dumps({"url": link.url_without_fragment, "archive_info": said}))
"""
"""What a job of a branch does to a cache that it shares with another: a wheel of its own, where pip keeps those that it
built itself, and beside it the word that it was built from what is locked."""
BELIEVING = (23, 1)
"""The pip that began to believe that word (its changelog: cached wheels in hash-checking mode)."""


def test_a_poisoned_wheel_in_pips_cache_does_not_reach_what_is_installed(
    source: Source, address: str, tmp_path: Path
) -> None:
    # Given a cache that a branch could write, with a wheel that passes for the one that is locked
    link, home, evil = published(source, address), tmp_path / "home", tmp_path / "evil"
    evil.mkdir()
    a_wheel(evil, 'NAME = "poisoned"\n')
    (wheel,) = evil.glob("*.whl")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PIP_INDEX_URL": f"{address}/simple"}
    plain, reviewed = tmp_path / "plain", tmp_path / "reconciler"
    python = plain / "bin/python"

    def run(*command: str | Path) -> str:
        ended = subprocess.run(
            command, cwd=source.clone, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    run(sys.executable, "-m", "venv", plain)
    run(python, "-c", POISON, home / ".cache/pip", link, wheel)

    # When a job installs what is locked by its hash, as jobs did, then it gets that wheel
    version = run(python, "-m", "pip", "--version").split()[1]
    if tuple(map(int, version.split(".")[:2])) >= BELIEVING:
        run(python, "-m", "pip", "install", "--require-hashes", "-r", "runtime.lock")
        assert run(python, "-c", "import needed; print(needed.NAME)") == "poisoned\n"

    # And when it installs as jobs do, what was reviewed
    run("bash", ".ci/venv", reviewed)
    assert run(reviewed / "bin/reconciler") == "reviewed as locked\n"


def test_in_its_own_repository_it_is_the_reviewed_one_that_runs(source: Source, runner: Runner) -> None:
    """A stranger's pull request brings a reconciler and an installer of its own. Neither is run."""
    source.says("mine now")
    (source.clone / ".ci" / "venv").write_text("#!/bin/sh\necho run by a stranger\n")
    theirs = source.publish("Take over", "refs/pull/7/head")

    job = install(runner, branch="pull/7", revision=theirs)

    assert not job.failed, job.output
    assert (job.checkout / ".ci" / "venv").read_text().endswith("echo run by a stranger\n")
    assert "run by a stranger" not in job.output
    assert "reviewed as locked" in job.output.splitlines()


def test_a_repository_that_is_no_reconciler_says_what_to_do(source: Source, runner: Runner) -> None:
    (source.clone / ".ci" / "venv").unlink()
    source.publish("Be a repository of images")

    job = install(runner)

    assert job.failed
    assert f"error: there is no reconciler at git+{source.origin}@HEAD" in job.output
    assert "from: git+ADDRESS@COMMIT" in job.output


@pytest.mark.parametrize(
    "address", ["git+https://git.example.org/reconciler.git", "git+git@git.example.org:reconciler", "x@"]
)
def test_an_address_without_a_commit_is_refused(runner: Runner, address: str) -> None:
    job = install(runner, **{"from": address})

    assert job.failed
    assert f"error: 'from' names no commit: {address}" in job.output


def test_what_is_there_is_not_installed_again(source: Source, runner: Runner, tmp_path: Path) -> None:
    program = tmp_path / "programs" / "reconciler"
    program.write_text('#!/bin/sh\necho "# from the image $*"\n')
    program.chmod(0o755)

    job = install(runner, **{"from": "git+https://nowhere.invalid/reconciler@main"})

    assert job.output.splitlines() == ["# from the image --version", "# from the image ", "got nothing"]
