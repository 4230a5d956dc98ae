"""Whoever watches a run may leave; the run goes on."""

from __future__ import annotations

from reconciler.cli.progress import Unheard
from reconciler.model.events import Event, Skipped


def test_when_nobody_reads_any_more_the_run_goes_on_in_silence() -> None:
    told: list[Event] = []

    def listener(event: Event) -> None:
        told.append(event)
        raise BrokenPipeError

    unheard = Unheard(listener)
    unheard(Skipped(image="web", why="first"))
    unheard(Skipped(image="web", why="second"))

    assert told == [Skipped(image="web", why="first")]
