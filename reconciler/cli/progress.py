"""A run as it is watched: bars, plain lines or JSON records; and the signals that end it."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Literal

import click

from reconciler.cli.workspace import note
from reconciler.model import events
from reconciler.model.events import Event, Listener
from reconciler.model.text import duration, visible
from reconciler.words.events import Wording

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


# A run as it is watched: bars on a terminal, plain lines in a pipe, JSON records with `--log json`.

LogForm = Literal["auto", "plain", "json"]


@contextmanager
def watching(form: LogForm) -> Iterator[Listener]:
    """A listener that shows what happens, on stderr, for as long as the block runs."""
    if form == "json":
        yield Unheard(JsonLines())
    elif form == "auto" and sys.stderr.isatty():
        with bars() as listener:
            yield Unheard(listener)
    else:
        yield Unheard(PlainLines())


class Unheard:
    """Passes events on until nobody reads them any more: a log collector that died must not end a build.

    Neither must a display that fails: then plain lines take its place.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener
        self.logs_objects = isinstance(listener, JsonLines)
        """Whether what reads along wants an object a line, and no sentence between them."""

    def __call__(self, event: Event) -> None:
        """Tell of one event, if anybody is there."""
        if self._listener is None:
            return
        try:
            self._listener(event)
        except OSError:
            self._listener = None
        except Exception as error:  # noqa: BLE001 - a bug of the display; what it shows is worth more than it
            self._listener = PlainLines()
            note(f"the display failed ({type(error).__name__}: {error}); the run goes on with plain lines")
            self._listener(event)


class PlainLines:
    """One line an event, with the time of day: what a CI's log and `grep` want."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._describe = Wording()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        with self._lock:
            for line in self._describe(event):
                click.echo(f"{datetime.now(UTC):%H:%M:%S} {event.image}: {line}", err=True)


class JsonLines:
    """One structlog record an event; `event` holds its stable name."""

    def __init__(self) -> None:
        import structlog  # noqa: PLC0415 - 200 ms that only this form pays

        self._log = structlog.wrap_logger(
            structlog.WriteLoggerFactory(file=sys.stderr)(),
            processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer()],
        )

    def __call__(self, event: Event) -> None:
        """Log one event with all its fields."""
        self._log.msg(event.name, **dataclasses.asdict(event))


@contextmanager
def bars() -> Iterator[Listener]:
    """A bar for each image that is being built, with what it does and the time left by earlier builds."""
    from rich.console import Console  # noqa: PLC0415 - 80 ms that only terminals pay
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(*columns(), console=Console(stderr=True), transient=True) as progress:
        yield Bars(progress)


def columns() -> tuple[ProgressColumn, ...]:
    """What stands in a bar's line: the image, the bar, what is done, the time that went by and the time left."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    return (
        TextColumn("{task.fields[image]}", style="bold"),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", style="dim"),
    )


_ENDS = events.Recorded | events.Unchanged | events.Skipped | events.Failed


class Bars:
    """Turns events into rich's tasks; what is worth keeping is printed above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._describe = Wording()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            match event:
                case events.Waiting():
                    self._add(event.image, f"waiting for {', '.join(event.on)}", start=False)
                case events.Started():
                    self._add(event.image, "starting", seconds=event.estimate_seconds)
                case events.Booting():
                    self._print(event)
                    self._add(event.image, "booting", seconds=event.estimate_seconds)
                case events.Step() | events.Testing():
                    self._update(event.image, event.what)
                case _:
                    self._print(event)
                    if isinstance(event, _ENDS):
                        self._remove(event.image)

    def _print(self, event: Event) -> None:
        for line in self._describe(event):
            self._progress.console.print(f"{event.image}: {line}", markup=False, highlight=False)

    def _add(self, image: str, doing: str, *, seconds: int | None = None, start: bool = True) -> None:
        """Begin a bar. In place of the one that was there: rich's `reset` keeps a total that is not known any more."""
        self._remove(image)
        left = f"~{duration(seconds)} left" if seconds else ""
        self._tasks[image] = self._progress.add_task(doing, total=seconds, start=start, image=image, left=left)

    def _update(self, image: str, what: str) -> None:
        if image in self._tasks:
            self._progress.update(self._tasks[image], description=visible(what)[:40])
            self._show_time_left(image)

    def _show_time_left(self, image: str) -> None:
        task = self._progress.tasks[self._progress.task_ids.index(self._tasks[image])]
        if task.total and task.elapsed is not None:
            rest = max(0, round(task.total - task.elapsed))
            self._progress.update(task.id, completed=min(task.elapsed, task.total), left=f"~{duration(rest)} left")

    def _remove(self, image: str) -> None:
        if image in self._tasks:
            self._progress.remove_task(self._tasks.pop(image))


# TERM, INT and HUP: stop scheduling, let Packer clean up, record what is done.


@contextmanager
def cancelled_by_signal() -> Iterator[threading.Event]:
    """An event that the first TERM, INT or HUP sets. A second one ends the process as if nobody listened.

    HUP comes when the terminal is closed. Begun with `nohup`, which ignores it, we go on.
    """
    cancelled = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if cancelled.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        cancelled.set()
        note("stopping: nothing new is begun, running builds clean up, what is done is recorded")

    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, *hangup)}
    try:
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
