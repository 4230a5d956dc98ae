"""Which engine `docker` is led to: the one that a person names, docker's own, else podman's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.registries.oci.engine import with_engine


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Path]:
    """Podman's socket of root's, below a folder in the place of /run."""
    (tmp_path / "podman").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "podman" / "podman.sock"))
        yield tmp_path


def found(podman: Path, *, dockers: bool = False, **environment: str) -> str | None:
    """The engine that is named in the end."""
    there = podman / "docker.sock"
    if dockers:
        there.touch()
    return with_engine({"HOME": str(podman / "home"), **environment}, socket=there, run=podman).get("DOCKER_HOST")


def test_where_docker_is_not_podman_is_taken(podman: Path) -> None:
    assert found(podman) == f"unix://{podman}/podman/podman.sock"
    assert found(podman / "elsewhere") is None
    assert found(podman / "elsewhere", XDG_RUNTIME_DIR=str(podman)) == f"unix://{podman}/podman/podman.sock"


def test_what_a_person_names_or_docker_itself_comes_first(podman: Path) -> None:
    assert found(podman, DOCKER_HOST="tcp://build:2376") == "tcp://build:2376"
    assert found(podman, DOCKER_CONTEXT="remote") is None
    assert found(podman, dockers=True) is None


@pytest.mark.parametrize(
    ("settings", "named"), [('{"currentContext": "remote"}', True), ('{"auths": {}}', False), ("[", False)]
)
def test_a_context_of_dockers_settings_is_an_engine_of_its_own(podman: Path, settings: str, *, named: bool) -> None:
    (podman / "config.json").write_text(settings)

    assert (found(podman, DOCKER_CONFIG=str(podman)) is None) == named


def test_a_file_that_is_no_socket_is_no_engine(tmp_path: Path) -> None:
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()

    assert found(tmp_path) is None
