"""What an engine's command says is told by what a person can do about it: docker's and podman's own words."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.ports.dialect import Made
from reconciler.registries.oci.engine import Engine, is_gone

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
