"""What the controller may rely on, whoever builds: the real Packer and the simulation behave alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.model.events import Event, Started, Step
from reconciler.model.lockfile import Artifact
from reconciler.ports.builder import Builder, BuildFailed
from tests.doubles.builder import SimulatedBuilder

TEMPLATE = """
source "file" "web" {
  content = "x"
  target  = "made"
}
build {
  sources = ["file.web"]
  provisioner "shell-local" { inline = ["true"] }
}
"""
ARTIFACT = Artifact(kind="other", builder="file.web", location="packer", id="made")


Holds = Callable[[Builder, Any, Any, threading.Event], None]


def a_build_tells_its_start_and_steps_and_returns_what_it_left(
    builder: Builder, requests: Any, heard: Any, cancelled: threading.Event
) -> None:
    request = requests({"web.pkr.hcl": TEMPLATE}, builders=("file.web",), estimate_seconds=7)

    result = builder.build(request, listener=heard, cancelled=cancelled)

    assert result.artifacts == (ARTIFACT,)
    assert result.log == request.log
    assert result.packer.version
    assert heard.events[0] == Started("web", request.build_id, 7, str(request.log))
    assert [event for event in heard.events[1:] if not isinstance(event, Step)] == []
    assert len(heard.events) > 1


def a_build_cancelled_while_it_runs_is_a_failure_that_says_so(
    builder: Builder, requests: Any, heard: Any, cancelled: threading.Event
) -> None:
    def cancel(event: Event) -> None:
        if isinstance(event, Step):
            cancelled.set()

    heard.react = cancel
    waiting = TEMPLATE.replace('"true"', '"sleep 1000"')

    with pytest.raises(BuildFailed) as caught:
        builder.build(requests({"web.pkr.hcl": waiting}, builders=("file.web",)), listener=heard, cancelled=cancelled)

    assert caught.value.cause == "cancelled"
    assert heard.events[0].name == Started.name


CONTRACT = (
    a_build_tells_its_start_and_steps_and_returns_what_it_left,
    a_build_cancelled_while_it_runs_is_a_failure_that_says_so,
)


@pytest.mark.packer
@pytest.mark.parametrize("holds", CONTRACT, ids=lambda holds: holds.__name__)
def test_of_packer(holds: Holds, packer: Packer, requests: Any, heard: Any, cancelled: threading.Event) -> None:
    holds(packer, requests, heard, cancelled)


@pytest.mark.parametrize("holds", CONTRACT, ids=lambda holds: holds.__name__)
def test_of_the_simulation(holds: Holds, requests: Any, heard: Any, cancelled: threading.Event) -> None:
    holds(SimulatedBuilder(artifacts=lambda _: (ARTIFACT,)), requests, heard, cancelled)
