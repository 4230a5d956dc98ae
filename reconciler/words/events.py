"""Events in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import singledispatch

from reconciler.model import events
from reconciler.model.text import also_as, duration, visible
from reconciler.words.plans import named


def describe(event: events.Event) -> tuple[str, ...]:
    """An event in words, a fact a line, without the image's name. What a build or a test printed steers no terminal."""
    return tuple(map(visible, _told(event)))


class Wording:
    """Puts the events of one run into words. A hint that was given is not given again, whichever image it was for."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, event: events.Event) -> tuple[str, ...]:
        """An event as `describe` has it, but for hints that stand above."""
        if not isinstance(event, events.Failed):
            return describe(event)
        what, *hints = event.what.split("\n")
        new = [hint for hint in hints if hint not in self._given]
        self._given.update(hints)
        return describe(dataclasses.replace(event, what="\n".join([what, *new])))


def to_fetch(requirement: str, images: Sequence[str]) -> str:
    """A plugin that templates require and that is not installed yet."""
    return f"`packer init` fetches {requirement} at the next build of {named(images)}"


@singledispatch
def _told(event: events.Event) -> tuple[str, ...]:
    return (event.name,)


@_told.register
def _(event: events.Waiting) -> tuple[str, ...]:
    return (f"waiting for {', '.join(event.on)}",)


@_told.register
def _(event: events.Started) -> tuple[str, ...]:
    about = f", about {duration(event.estimate_seconds)}" if event.estimate_seconds else ""
    return (f"building {event.build}{about}",)


@_told.register
def _(event: events.Step) -> tuple[str, ...]:
    return (event.what,)


@_told.register
def _(event: events.Built) -> tuple[str, ...]:
    return (f"built {event.location} {event.artifact} in {duration(event.seconds)}",)


@_told.register
def _(event: events.Booting) -> tuple[str, ...]:
    about = f", about {duration(event.estimate_seconds)}" if event.estimate_seconds else ""
    return (f"smoke-testing {event.build}: booting {event.location} {event.artifact}{about}",)


@_told.register
def _(event: events.Testing) -> tuple[str, ...]:
    return (event.what,)


@_told.register
def _(event: events.Tested) -> tuple[str, ...]:
    if event.status == "passed":
        found = f", {len(event.findings)} found" if event.findings else ""
        return (f"smoke test: {event.tests} passed{found} in {duration(event.seconds)}", *event.findings)
    if event.status == "skipped":
        return (f"not tested: {event.why}",)
    return (f"smoke test: failed after {duration(event.seconds)}",)


@_told.register
def _(event: events.Unchanged) -> tuple[str, ...]:
    return (f"{event.build} holds what {event.kept} holds: retired, {event.kept} stays",)


@_told.register
def _(event: events.Adopted) -> tuple[str, ...]:
    return (f"adopting {event.build}: it is in the registry already",)


@_told.register
def _(event: events.Copied) -> tuple[str, ...]:
    return (f"copied to {event.location} {event.artifact}",)


@_told.register
def _(event: events.Converted) -> tuple[str, ...]:
    return (f"converted to {event.format} in {event.location} {event.artifact}",)


@_told.register
def _(event: events.Tended) -> tuple[str, ...]:
    return (event.what,)


@_told.register
def _(event: events.Recorded) -> tuple[str, ...]:
    return (f"recorded in {event.commit[:7]}, {'pushed' if event.pushed else 'committed'} to {event.branch}",)


@_told.register
def _(event: events.Settled) -> tuple[str, ...]:
    return (f"{event.build} {event.verdict} by {event.by}: stable is {event.stable or 'none'}",)


@_told.register
def _(event: events.Retired) -> tuple[str, ...]:
    return (f"retired {event.location} {event.artifact}{also_as(event.formats)}",)


@_told.register
def _(event: events.Published) -> tuple[str, ...]:
    name = f"{event.location} {event.parameter}"
    return (f"published {name}: {event.artifact}" if event.artifact is not None else f"withdrew {name}: it is deleted",)


@_told.register
def _(event: events.Skipped) -> tuple[str, ...]:
    return (f"skipped: {event.why}",)


@_told.register
def _(event: events.Warned) -> tuple[str, ...]:
    return (f"note: {event.what}",)


@_told.register
def _(event: events.Failed) -> tuple[str, ...]:
    printed = (f"    {line.expandtabs()}" for line in event.tail)
    tail = (f"  last lines of the {event.of}:", *printed) if event.tail else ()
    notes = tuple(f"  {note}" for note in event.notes)
    log = (f"  full log: {event.log}",) if event.log else ()
    return (*event.what.splitlines(), *tail, *notes, *log)
