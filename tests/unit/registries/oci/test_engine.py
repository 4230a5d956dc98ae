"""What an engine's command says is told by what a person can do about it: docker's and podman's own words."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from reconciler.build.judge import of_the_machine, unusable
from reconciler.desired.fleet import read_fleet
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.fleet import Image
from reconciler.ports.builder import BuildFailed, Cause
from reconciler.ports.dialect import Made
from reconciler.registries.oci.engine import Engine, is_gone, unreachable
from tests.unit.desired.conftest import MemoryTree

SOCKET = (
    'permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http:'
    '//%2Fvar%2Frun%2Fdocker.sock/v1.41/containers/json": dial unix /var/run/docker.sock: connect: permission denied'
)
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
PODMAN_DOWN = "Cannot connect to Podman. Please verify your connection to the Linux system"


def engine(folder: Path, script: str) -> Engine:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Engine(str(program), {"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("verb", "said", "meant", "gone"),
    [
        ("inspect", "Error: No such object: 0123456789ab", Terminal, True),
        ("inspect", 'Error: inspecting object: no such object: "0123456789ab"', Terminal, True),
        ("rm", "Error response from daemon: No such container: 0123456789ab", Terminal, True),
        ("inspect", DOWN, Transient, False),
        ("inspect", PODMAN_DOWN, Transient, False),
        ("inspect", SOCKET, UserError, False),
        ("pull", SOCKET, UserError, False),
        ("pull", "Error response from daemon: unauthorized: authentication required", Terminal, False),
    ],
)
def test_what_is_gone_is_told_from_what_can_not_be_asked(
    tmp_path: Path, verb: str, said: str, meant: type[ReconcilerError], *, gone: bool
) -> None:
    with pytest.raises(meant) as caught:
        engine(tmp_path, f"echo '{said}' >&2; exit 1").run(verb, "0123456789ab")

    assert type(caught.value) is meant
    assert (isinstance(caught.value, Terminal) and is_gone(caught.value)) is gone


def test_an_archive_that_a_post_processor_saved_is_what_is_taken_and_not_what_it_was_saved_of(tmp_path: Path) -> None:
    committed = Made("docker.web", "packer.docker", "sha256:0123")
    saved = Made("docker.web", "packer.post-processor.artifice", "web.tar", ("/srv/build/web.tar",))
    script = """
if [ "$1" = load ]; then echo "Loaded image: acme/web:saved"; exit; fi
for last; do :; done; echo "id-of-$last"
"""

    assert engine(tmp_path, script).image([committed, saved]) == "id-of-acme/web:saved"
    assert engine(tmp_path, script).image([committed]) == "id-of-sha256:0123"


def test_both_outputs_of_a_container_are_its_last_lines_and_a_complaint_is_none(tmp_path: Path) -> None:
    assert engine(tmp_path, "echo out; echo err >&2").logs("web", lines=20) == "out\nerr\n"
    with pytest.raises(Transient):
        engine(tmp_path, f"echo '{DOWN}' >&2; exit 1").logs("web", lines=20)


def test_a_command_ends_with_the_run_that_is_interrupted_and_with_its_time(tmp_path: Path) -> None:
    slow, cancelled = engine(tmp_path, "exec sleep 600"), threading.Event()
    cancelled.set()

    with pytest.raises(Transient, match="interrupted in"):
        Engine(slow.program, slow.environment, cancelled).run("pull", "web")
    with pytest.raises(Transient, match="takes longer than 0 s"):
        slow.run("pull", "web", seconds=0)


PODMAN_NOT_THERE = 'unable to connect to Podman socket: Get "http://d/v4.3.1/libpod/_ping": dial unix /x: no such file'
TEMPLATE = """
source "{type}" "web" {{
  image  = "debian:12"
  commit = true
}}
build {{
  sources = ["source.{type}.web"]
}}
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is said of the engines that are asked from now on, and which were, in order."""
    said: dict[str, Any] = {"programs": [], "docker": None, "podman": None}

    def unreachable(engine: Engine) -> ReconcilerError | None:
        said["programs"].append(engine.program)
        return cast("ReconcilerError | None", said[engine.program])

    monkeypatch.setattr("reconciler.registries.oci.engine.unreachable", unreachable)
    return said


def images(*builders: str) -> list[Image]:
    files = {f"desired/{one}-{at}/t.pkr.hcl": TEMPLATE.format(type=one) for at, one in enumerate(builders)}
    files |= {f"desired/{one}-{at}/image.yaml": "locations: [r.example.org/web]\n" for at, one in enumerate(builders)}
    return list(read_fleet(MemoryTree(files, {})).images.values())


@pytest.mark.parametrize(
    ("script", "refused"),
    [
        ("echo 28.2.2", False),
        (f"echo '{DOWN}' >&2; exit 1", True),
        (f"echo '{PODMAN_DOWN}' >&2; echo 'Error: {PODMAN_NOT_THERE}' >&2; exit 125", True),
        ("echo 'error during connect: Get \"http://docker.example.com/v1.50/version\": EOF' >&2; exit 1", True),
        (f"echo '{SOCKET}' >&2; exit 1", True),
        ("echo 'Error response from daemon: client version 1.50 is too new' >&2; exit 1", False),
        ("echo 'unknown flag: --format' >&2; exit 125", False),
        ("exit 1", False),
    ],
)
def test_only_what_can_not_be_reached_is_refused_and_with_what_to_do(
    tmp_path: Path, script: str, *, refused: bool
) -> None:
    error = unreachable(engine(tmp_path, script))

    assert (error is not None) is refused
    assert error is None or error.hint


def test_each_engine_is_asked_once_however_many_images_are_built_in_it(asked: dict[str, Any]) -> None:
    asked["docker"] = Transient(DOWN, hint="start it")
    several = images("docker", "podman", "docker", "podman")

    found = unusable(several)

    assert asked["programs"] == ["docker", "podman"]
    assert {name: error.what for name, error in found.items()} == {"docker-0": DOWN, "docker-2": DOWN}
    asked["docker"] = None
    assert unusable(several) == {}, "it is asked anew by the next run"


def test_an_engine_that_stops_while_it_builds_is_not_the_images_failure(asked: dict[str, Any]) -> None:
    (image,) = images("docker")
    causes: tuple[Cause, ...] = get_args(Cause)

    def failures() -> dict[str, BuildFailed]:
        each = ((cause, BuildFailed("x", cause=cause, seconds=1, log=Path("x"))) for cause in causes)
        return {cause: of_the_machine(failed, image) for cause, failed in each}

    assert {cause: one.cause for cause, one in failures().items()} == {cause: cause for cause in causes}
    asked["docker"] = Transient(DOWN, hint="start it")
    changed = {cause: one for cause, one in failures().items() if one.cause != cause}

    assert changed.keys() == {"failed", "timed-out", "no-artifact"}
    for one in changed.values():
        assert (one.cause, one.counts) == ("machine", False)
        assert one.hint == (f"what builds it can't be used here by now: {DOWN}", "start it")
