"""`reconciler demo`: the first thing that a newcomer runs, whole."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from reconciler.cli.demo import Stage, _contained, set_aside
from reconciler.sandbox.containers import lacking
from reconciler.sandbox.handle import Sandbox
from tests import containers
from tests.needs import refuse_without_plugin

pytestmark = [pytest.mark.sandbox, pytest.mark.packer]

PROJECT = Path(__file__).parents[3]


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox needs root")
def test_the_demo_tells_the_whole_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = status()

    with terminal() as (stderr, shown):
        told = subprocess.run(
            [sys.executable, "-m", "reconciler", "demo", "-C", str(PROJECT)],
            env={
                **os.environ,
                "TERM": "xterm",
                "COLUMNS": "80",
                "TMPDIR": str(tmp_path),
                "DOCKER_HOST": "unix:///none",
            },
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=False,
        )

    watched = shown()
    assert told.returncode == 0, told.stdout + watched
    answers = [
        "2 of 2 images drifted: base (new), web (new)",
        "Recorded in state/: 2 commits pushed to main",
        "2 images in sync: nothing to do.",
        "1 of 2 images drifted: web (inputs-changed)",
        "2 of 2 images drifted: base (source-changed), web (parent-rebuilt)",
        "A container image beside the AMIs is left out: ",
        "The story took ",
    ]
    places = [told.stdout.find(answer) for answer in answers]
    assert -1 not in places, told.stdout
    assert places == sorted(places), "in this order"
    assert re.search(r"(?m)^web .*\bbase\b", told.stdout), "web saw what base left"
    assert "\x1b" not in told.stdout
    for words in ("waiting for base", "starting", "booting", "smoke test: "):
        assert words in watched, watched
    assert not re.search("Traceback|unexpected|display failed", told.stdout + watched)
    assert list(tmp_path.iterdir()) == []
    assert status() == before


@pytest.mark.long
@pytest.mark.containers
@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox needs root")
def test_where_an_engine_runs_the_demo_shows_a_container_image_and_leaves_nothing_in_it(
    tmp_path: Path, engine: None, packer_on_path: str, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    refuse_without_plugin("docker", packer_on_path)
    before = sorted(containers.docker("images", "--quiet", "--all").split())
    stage = Stage.set_up(tmp_path, source=PROJECT, environment=sandbox.environment)
    set_aside(stage)

    _contained(stage, sandbox)

    told = capfd.readouterr().out
    assert re.search(r"(?m)^127\.0\.0\.1:[0-9]+/demo/note +sha256:[0-9a-f]{64}$", told), told
    assert re.search(r"(?m)^note +", told)
    assert sorted(containers.docker("images", "--quiet", "--all").split()) == before
    assert lacking({"PATH": str(tmp_path)}) == "there is no docker"
    assert lacking({**os.environ, "DOCKER_HOST": "unix:///none"}) == "docker's engine does not run"


@contextmanager
def terminal() -> Iterator[tuple[int, Callable[[], str]]]:
    """A terminal to write to, and what was shown on it: a person watches the bars there."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def watch() -> None:
        with suppress(OSError):  # EIO: nobody can write to it any more
            while piece := os.read(ours, 1 << 16):
                shown.append(piece)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield theirs, lambda: b"".join(shown).decode(errors="replace")
    finally:
        os.close(theirs)
        watching.join()
        os.close(ours)


def status() -> str:
    """What git says of this project's own state/, which the demo must not touch."""
    command = ["git", "-C", str(PROJECT), "status", "--porcelain", "--", "state"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
