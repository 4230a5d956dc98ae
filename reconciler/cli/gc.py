"""`reconciler gc`: what may go of a fleet and what stays, and why; and the next step of what may go."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.adapters import LocalAdapters, new_request
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.progress import LogForm, cancelled_by_signal, watching
from reconciler.cli.workspace import Workspace, note
from reconciler.controller import collect
from reconciler.model.collection import STEPS, Collection, Fate, Step, Took, Why
from reconciler.model.errors import DONE, PARTIAL
from reconciler.model.plan import PlanOptions
from reconciler.model.text import also_as, counted, first_few, visible

_DONE = {"deprecate": "deprecated", "disable": "disabled", "retire": "removed"}
_MOST_NAMED = 4
_STAY: dict[Why, str] = {
    "channel": "a channel points to them", "held": "a hold is on them", "newest": "they are among the newest builds",
    "revoked": "they are recorded as revoked", "fallback": "stable would fall back to them",
    "child": "something that stays was built on them", "attempt": "an attempt that failed may be taken up",
    "live": "previews that are needed or young", "young": "they are younger than a day", "pending": "being made",
    "used": "in use", "shared": "shared with others", "protected": "protected from removal",
    "unread": "something could not be read", "suspended": "their image is suspended",
    "invalid": "something that is declared or recorded is invalid", "undeclared": "their image is not declared",
    "unrecorded": "it was never recorded on this branch, as far as this clone's history tells",
    "stranger": "nothing but their tags says that they are ours", "sibling": "another part of their build stays",
    "undeletable": "they were to be removed, and their registry deletes nothing",
}  # fmt: skip


@click.command("gc")
@click.option("--apply", "takes_steps", is_flag=True, help="Take the next step of everything that may go.")
@click.option("--max-actions", type=click.IntRange(min=1), help="Allow so many images to be acted on in this run.")
@click.option("--unmanaged", is_flag=True, help="List what no fleet's marks are on, too. It is never touched.")
@click.option("-v", "--verbose", is_flag=True, help="List what stays as well, each with its reason.")
@options.log
@options.as_json
@options.directory
def command(
    *,
    takes_steps: bool,
    max_actions: int | None,
    unmanaged: bool,
    verbose: bool,
    log_form: LogForm,
    as_json: bool,
    directory: Path,
) -> int:
    """Say of every artifact of the fleet whether it may go, why, and until when a hold brings it back.

    A build that nothing keeps goes in three steps: it is deprecated, disabled after `retain.deprecated`, and removed
    with its snapshots after `retain.disabled`. The dates stand in state/ before anything is done. Works from the
    pushed head of the branch that state is recorded to; without --apply nothing is done.

    Exit codes: 0 done, 1 error, 3 something could not be read, or a step failed (the next run goes on).
    """
    if takes_steps and unmanaged:
        raise click.UsageError("--unmanaged lists what nothing is done about: leave out --apply")
    workspace = Workspace(directory)
    if takes_steps:
        workspace.run_folder()  # where it can't be written, nothing is begun
    request = new_request(PlanOptions(), max_actions=max_actions)
    with cancelled_by_signal() as cancelled, watching(log_form) as listener:
        adapters = LocalAdapters(workspace, listener, cancelled)
        found = collect(adapters, request, takes_steps=takes_steps, unmanaged=unmanaged)
    if as_json:
        show_json(found.model_dump_json(indent=2))
    else:
        _print(found, verbose=verbose)
    return PARTIAL if found.failed or found.unread else DONE


def headline(found: Collection) -> str:
    """The answer in one line: what may go, or what was done."""
    if found.applied:
        took = Counter(one.step for one in found.took if not one.stays)
        parts = [f"{took[step]} {_DONE[step]}" for step in STEPS if took[step]]
        left = sum(bool(one.stays) for one in found.took)
        done = ", ".join([*parts, f"{left} recorded no more, and left there"] if left else parts)
        return f"{counted(len(found.took), 'step')} taken: {done}" if done else "no step was due: nothing is done"
    going = found.going
    due = Counter(one.step for one in going if one.due is None)
    parts = [f"{due[step]} to be {_DONE[step]}" for step in STEPS if due[step]]
    waiting = sum(one.due is not None for one in going)
    parts += [f"{waiting} waiting"] if waiting else []
    said = f": {', '.join(parts)}; nothing is done without --apply" if parts else ""
    return f"{len(going)} of {counted(len(found.artifacts), 'artifact')} may go{said}"


def _print(found: Collection, *, verbose: bool) -> None:
    show_text(f"{headline(found)}.", hang=2)
    for one in found.took if found.applied else ():
        show_text(_took(one), hang=6)
    for line in () if found.applied else _going(found.going):
        show_text(line, hang=6)
    staying = [one for one in found.artifacts if not one.goes]
    if staying and not found.applied:
        show_text(f"{len(staying)} stay:", hang=2)
        for line in _each(staying) if verbose else _by_reason(staying):
            show_text(f"  {line}", hang=6)
    for line in _abandoned(found):
        show_text(line, hang=6)
    for line in _unmanaged(found, verbose=verbose):
        show_text(line, hang=6)
    _notes(found)


def _abandoned(found: Collection) -> Iterator[str]:
    """List what killed builds left to work with."""
    if found.abandoned:
        done = "removed" if found.applied else "to be removed"
        yield f"Left by builds that were killed, and {done}: {counted(len(found.abandoned), 'thing')}."
    for one in found.abandoned:
        since = f" since {one.since}" if one.since else ""
        yield visible(f"  {one.kind} {one.location} {one.id}{since} (run {one.run})")


def _unmanaged(found: Collection, *, verbose: bool) -> Iterator[str]:
    """List what no fleet's marks are on: how many of each kind in each location, and with `verbose` each."""
    for location, listed in found.unmanaged.items():
        if listed is None:
            yield f"What is in {location} without a fleet's marks is not known."
            continue
        kinds = Counter(one.kind for one in listed)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        yield f"Without a fleet's marks in {location}, and never touched: {counts or 'nothing'}."
        yield from (visible(f"  {one.kind} {one.id} {one.name}".rstrip()) for one in listed if verbose)


def show_collected(found: Collection | None) -> None:
    """Say in short what was done, beside the rest that a run did; nothing where that was no part of it."""
    if found is None:
        return
    show_text(f"{headline(found)}.", hang=2)
    _notes(found)


def _notes(found: Collection) -> None:
    for line in _restorable(found):
        note(line)
    for location, why in found.unread.items():
        note(f"{location} could not be read, so all stays there: {why}")
    for name, why in found.failed.items():
        note(f"{name}: {why}; the next run goes on")
    if found.put_off:
        note(f"{counted(found.put_off, 'image')} had to wait for another run (limits.max_actions, or --max-actions)")


def _restorable(found: Collection) -> Iterator[str]:
    """Say what becomes of what is removed, where anything is: whether it can be brought back, by location."""
    took = [one for one in found.took if not one.stays]
    removed = {one.location for one in (took if found.applied else found.going) if one.step == "retire"}
    by_days: defaultdict[int | None, list[str]] = defaultdict(list)
    for location, days in found.restorable.items():
        if location in removed:
            by_days[days].append(location)
    for days, locations in by_days.items():
        where = ", ".join(locations)
        if days is None:
            yield f"whether what is removed in {where} can be restored is not known"
        else:
            kept = f"can be restored for {counted(days, 'day')}" if days else "is gone for good"
            yield f"what is removed in {where} {kept}"


def _took(one: Took) -> str:
    named = f"{one.location} {one.id}{also_as(each.format for each in one.conversions)}"
    if one.stays:
        return visible(f"  {one.image}  {one.build or ''}  recorded no more {named}, which stays: {one.stays}")
    parts = f"; {', '.join(one.parts)} stays, as something else uses it" if one.parts else ""
    return visible(f"  {one.image}  {one.build or ''}  {_DONE[one.step]} {named}{parts}")


def _going(going: Sequence[Fate]) -> Iterator[str]:
    """A line for each build that may go, with all its artifacts."""

    def build(one: Fate) -> tuple[str, str, str]:
        return one.image, one.build or "", one.step or ""

    for (image, build_id, _), some in groupby(sorted(going, key=build), key=build):
        fates = list(some)
        first = fates[0]
        places: defaultdict[str, list[str]] = defaultdict(list)
        for one in fates:
            places[one.location].append(f"{one.id}{also_as(each.format for each in one.conversions)}")
        named = "  ".join(" ".join([place, *ids]) for place, ids in places.items())
        undo = f"; a hold brings it back until {first.undo[:10]} at least" if first.undo else "; nothing brings it back"
        yield visible(f"  {image}  {build_id}  {_when(first)}: {first.why}{undo}: {named}")


def _when(one: Fate) -> str:
    step: Step = one.step or "retire"
    return f"to be {_DONE[step]} {f'from {one.due[:10]} on' if one.due else 'now'}"


def _by_reason(staying: Sequence[Fate]) -> Iterator[str]:
    by_code: defaultdict[Why, list[Fate]] = defaultdict(list)
    for one in staying:
        by_code[one.code].append(one)
    for code, fates in sorted(by_code.items(), key=lambda one: -len(one[1])):
        told = _STAY[code]
        if code in ("used", "shared", "unread", "stranger", "unrecorded", "invalid"):
            more = [why for why in dict.fromkeys(one.why for one in fates) if why != told]
            told += f" ({first_few(more, most=_MOST_NAMED)})" if more else ""
        yield visible(f"{len(fates)}  {code}: {told}")


def _each(staying: Sequence[Fate]) -> Iterator[str]:
    for one in staying:
        yield visible(f"{one.image}  {one.build or '-'}  {one.location} {one.id}  {one.code}: {one.why}")
