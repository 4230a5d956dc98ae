"""Whoever watches a run may leave; the run goes on."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from reconciler.cli.progress import Bars, Unheard, columns
from reconciler.model import events
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


def test_a_display_that_fails_gives_way_to_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def listener(event: Event) -> None:
        raise KeyError("image")

    unheard = Unheard(listener)
    unheard(Skipped(image="web", why="first"))
    unheard(Skipped(image="web", why="second"))

    said = capsys.readouterr().err
    assert "the display failed (KeyError: 'image')" in said
    assert "web: skipped: first" in said
    assert "web: skipped: second" in said


BUILT = "20261122T101530Z-1a2b3c4"
WHOLE_RUN = (
    events.Waiting(image="web", on=("base",)),
    events.Started(image="web", build=BUILT, estimate_seconds=400, log="web.log"),
    events.Step(image="web", what="Creating temporary keypair"),
    events.Built(image="web", build=BUILT, location="us-east-1", artifact="ami-1", seconds=390),
    events.Booting(image="web", build=BUILT, location="us-east-1", artifact="ami-1"),
    events.Testing(image="web", what="waiting for SSH"),
    events.Tested(image="web", build=BUILT, status="passed", tests=9, seconds=30),
    events.Copied(image="web", build=BUILT, location="eu-west-1", artifact="ami-2"),
)


class Watched:
    """Bars on a terminal of 80 columns that is a string."""

    def __init__(self) -> None:
        self._told = StringIO()
        console = Console(file=self._told, force_terminal=True, width=80, color_system=None)
        self.progress = Progress(*columns(), console=console, auto_refresh=False)
        self._bars = Bars(self.progress)

    def tell(self, *happened: Event) -> str:
        """What is on the terminal after these events, drawn after each."""
        with self.progress:
            for event in happened:
                self._bars(event)
                self.progress.refresh()
        return self._told.getvalue()

    def shown(self) -> list[str]:
        """What the bars say that is being done."""
        return [task.description for task in self.progress.tasks]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv("TERM", "xterm")  # on one that is `dumb`, nothing is drawn
    return Watched()


def test_a_child_that_is_built_and_tested_is_shown_from_waiting_to_recorded(watched: Watched) -> None:
    recorded = events.Recorded(image="web", commit="1234567890", branch="main", pushed=True)

    shown = watched.tell(*WHOLE_RUN, recorded)

    for words in (
        "waiting for base", "Creating temporary keypair", " left", "waiting for SSH",
        "smoke test: 9 passed", "copied to eu-west-1 ami-2", "pushed to main",
    ):  # fmt: skip
        assert words in shown
    assert watched.shown() == []


def test_a_step_is_shown_as_it_is_called(watched: Watched) -> None:
    shown = watched.tell(*WHOLE_RUN[:2], events.Step(image="web", what="provisioning with [/red]\x1b[31m.sh"))

    assert "provisioning with [/red]\\x1b[31m.sh" in shown


def test_a_test_that_nobody_timed_before_has_no_end_to_be_seen(watched: Watched) -> None:
    watched.tell(*WHOLE_RUN[:5])

    assert watched.shown() == ["booting"]
    assert watched.progress.tasks[0].total is None


@pytest.mark.parametrize(
    "end",
    [
        events.Failed(image="web", what="Packer failed"),
        events.Skipped(image="web", why="base failed"),
        events.Unchanged(image="web", build=BUILT, kept=BUILT),
    ],
    ids=lambda end: str(end.name),
)
def test_what_has_ended_has_no_bar_any_more(watched: Watched, end: Event) -> None:
    watched.tell(*WHOLE_RUN[:3], end)

    assert watched.shown() == []
