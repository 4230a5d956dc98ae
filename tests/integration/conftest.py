"""What several kinds of tests share: a home that is not the reader's, a fleet that is built once, an engine, a host."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import containers
from tests.integration.loop.surroundings import clean_environment
from tests.integration.loop.world import AMIS, World


@pytest.fixture(scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An environment in which git knows nothing of the machine's owner, from the first test that needs it on."""
    with pytest.MonkeyPatch.context() as patch:
        wanted = clean_environment(tmp_path_factory.mktemp("home"))
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def built_pair(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    """base and web on it, an hour after they were built and recorded; the clone `ci` is there. To be copied."""
    made = World.begin(tmp_path_factory.mktemp("pair") / "world", AMIS.pair)
    assert made.controller().reconcile().exit_code == 0
    return made.settle()


@pytest.fixture(scope="session")
def engines_variables() -> Iterator[Mapping[str, str]]:
    """A container engine, and the variables by which it is reached."""
    containers.refuse_without_engine()
    with containers.engine() as variables:
        yield variables


@pytest.fixture
def engine(engines_variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine, for `docker` and whoever runs it."""
    for name, value in engines_variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What a machine has of its own: a package, a user with a key, a program, a host key, files."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: it has one name
        yield from _planted(tmp_path / "package")


def _planted(package: Path) -> Iterator[dict[str, Path]]:
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: planted-on-the-host\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
        "Description: of the host\n"
    )
    subprocess.run(["dpkg-deb", "--build", package, package.with_suffix(".deb")], check=True, capture_output=True)
    subprocess.run(["dpkg", "--install", package.with_suffix(".deb")], check=True, capture_output=True)
    subprocess.run(["useradd", "--create-home", "planted"], check=True)
    files = {
        "key": Path("/home/planted/.ssh/authorized_keys"),
        "program": Path("/usr/local/bin/planted-on-the-host"),
        "host key": Path("/etc/ssh/ssh_host_planted_key"),
        "file": Path("/opt/planted-on-the-host"),
        "apt": Path("/etc/apt/sources.list.d/planted-on-the-host.list.disabled"),
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of the host")
    yield files
    for path in files.values():
        path.unlink()
    subprocess.run(["userdel", "--remove", "planted"], check=True, capture_output=True)
    subprocess.run(["dpkg", "--purge", "planted-on-the-host"], check=True, capture_output=True)
