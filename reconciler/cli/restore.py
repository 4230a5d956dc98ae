"""`reconciler restore`: what was removed is brought back, as long as its location keeps it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.adapters import LocalAdapters, new_request
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.progress import LogForm, cancelled_by_signal, watching
from reconciler.cli.workspace import Workspace, note
from reconciler.controller import restore
from reconciler.model.errors import DONE, PARTIAL
from reconciler.model.plan import PlanOptions
from reconciler.model.restoration import Restorable, Restoration, Restored
from reconciler.model.text import counted, first_few, visible

_MOST_WORDS = 2
_SAID = {"restored": "restored", "there": "there already", "gone": "gone for good", "failed": "not restored"}


@click.command("restore")
@click.argument("words", nargs=-1, metavar="[[IMAGE] BUILD]", shell_complete=options.complete_builds)
@options.log
@options.as_json
@options.directory
def command(words: tuple[str, ...], *, log_form: LogForm, as_json: bool, directory: Path) -> int:
    """Bring a build back that was removed, in every location that keeps it; without one, list what can be.

    A build is an id, the beginning of one, or any id of an artifact that it left. Its artifacts come back with what
    they are stored in, state/ records it, and it is as usable as it was: who could use it still may, as far as that is
    declared or recorded. Run again, it goes on where it was stopped. What no channel points to, and no hold is on, goes
    away again in steps.

    Exit codes: 0 all of it is there, 1 error, or nothing can be brought back, 3 some of it is not back.
    """
    if len(words) > _MOST_WORDS:
        raise click.UsageError(f"{len(words)} words are given, and one build can be restored: [IMAGE] BUILD")
    workspace = Workspace(directory)
    if words:
        workspace.run_folder()  # where it can't be written, nothing is begun
    with cancelled_by_signal() as cancelled, watching(log_form) as listener:
        found = restore(LocalAdapters(workspace, listener, cancelled), new_request(PlanOptions()), words)
    if as_json:
        show_json(found.model_dump_json(indent=2))
    else:
        _print(found)
    return PARTIAL if found.unread or not found.is_back else DONE


def headline(found: Restoration) -> str:
    """The answer in one line."""
    if found.build is None:
        builds = len({(one.image, one.build) for one in found.restorable})
        if builds:
            return f"{counted(builds, 'build')} can be brought back: {counted(len(found.restorable), 'artifact')}"
        return "nothing can be brought back"
    there = sum(one.outcome in ("restored", "there") for one in found.artifacts)
    done = "is back" if any(one.outcome == "restored" for one in found.artifacts) else "is there"
    return f"{found.image} {found.build} {done} in {there} of {counted(len(found.artifacts), 'location')}"


def _print(found: Restoration) -> None:
    show_text(f"{headline(found)}.", hang=2)
    for one in found.artifacts:
        show_text(_artifact(one), hang=6)
    for line in (*_restorable(found.restorable), *_kept(found)):
        show_text(line, hang=6)
    if found.commit is not None:
        show_text(f"{'Proposed' if found.proposed else 'Recorded'} by {found.commit[:7]}.")
    for remark in found.remarks:
        note(remark)
    for location, why in found.unread.items():
        note(f"what {location} keeps is not known: {why}")


def _artifact(one: Restored) -> str:
    why = f": {one.why}" if one.why else ""
    until = f", which could be done until {one.until[:10]}" if one.until and one.outcome == "restored" else ""
    return visible(f"  {one.location}  {one.id}  {_SAID[one.outcome]}{why}{until}")


def _restorable(listed: tuple[Restorable, ...]) -> Iterator[str]:
    builds: defaultdict[tuple[str, str], list[Restorable]] = defaultdict(list)
    for one in listed:
        builds[one.image, one.build].append(one)
    for (image, build), some in builds.items():
        until = min((one.until for one in some if one.until), default=None)
        by = f" until {until[:16].replace('T', ' ')} UTC" if until else ""
        named = first_few([f"{one.location} {one.id}" for one in some], most=4)
        yield visible(f"  {image}  {build}{by}: {named}")


def _kept(found: Restoration) -> Iterator[str]:
    """Say for how long each location keeps what is removed from now on."""
    by_days: defaultdict[int | None, list[str]] = defaultdict(list)
    for location, days in found.kept_for.items():
        by_days[days].append(location)
    for days, locations in by_days.items():
        where = ", ".join(locations)
        if days is None:
            yield f"For how long what is removed is kept in {where} is not known."
        elif days:
            yield f"What is removed in {where} is kept for {counted(days, 'day')}."
        else:
            yield f"Nothing is kept in {where}: what is removed there is gone for good."
