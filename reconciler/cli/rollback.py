"""`reconciler rollback`: the hold that takes an image back, written, checked and committed."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import refuse_links
from reconciler.cli.workspace import Workspace, note, plan_options
from reconciler.controller import look
from reconciler.desired.edit import with_key
from reconciler.git.objects import commit_as_person
from reconciler.model.errors import DONE, UserError
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.text import first_few, visible
from reconciler.state.lockfiles import read_lockfile
from reconciler.state.unsaved import write_atomically
from reconciler.steps.observe import settings_at
from reconciler.steps.ours import records_of

_MOST_NAMED = 4


@click.command("rollback")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("build", required=False)
@click.option("--reason", required=True, metavar="TEXT", help="Why, for everybody who meets the hold.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The first day on which it holds no more, UTC.")
@click.option("--offline", is_flag=True, help="Do not ask the registry whether the build is there.")
@options.directory
def command(
    image: str, build: str | None, *, reason: str, until: datetime | None, offline: bool, directory: Path
) -> int:
    """Hold an image on an earlier build; without one, on the build that was stable before this one.

    Writes `hold:` into the image's declaration, plans it, and commits that file on the branch that is checked out, as
    you would. `stable` moves once that is on the branch that state is recorded to. Nothing is left changed where the
    build is not there any more, or may not be used.
    """
    workspace = Workspace(directory)
    lock = read_lockfile(workspace.repository.tree(), image)
    if lock is None:
        raise UserError(f"nothing is recorded of an image {image!r}", hint="`git pull`, or check the name")
    target = _found(lock, build) if build is not None else _before(lock)
    if target.id == lock.channels.stable:
        note(f"stable points to {target.id} already; the hold keeps it there")
    row = _row(target, reason=reason, until=until.date() if until is not None else None)
    known = workspace.read(workspace.repository.tree(), plan_options((image,), refresh=False, forced=(), prune=False))
    declared = known.fleet.images.get(image)
    folder = declared.folder if declared is not None else f"desired/{image}"
    path = f"{folder}/image.yaml"
    refuse_links(Path(path), folder=workspace.repository.root)
    if declared is None and image not in known.fleet.problems:
        raise UserError(f"desired/ declares no {image}", hint=f"`reconciler history {image}` shows what it was")
    file = workspace.repository.root / path
    before = file.read_bytes() if file.is_file() else b""
    write_atomically(file, with_key(before, "hold", row, path=path))
    try:
        _check(workspace, image, offline=offline)
    except BaseException:
        write_atomically(file, before) if before else file.unlink()
        raise
    commit_as_person(workspace.repository.root, path, f"{image}: hold stable to {target.id}\n\n{reason}\n")
    commit = workspace.repository.head[:7]
    click.echo(f"{image}: stable {lock.channels.stable or 'none'} → {target.id}, committed as {commit}")
    elsewhere = workspace.repository.on_another_branch(settings_at(workspace.repository.tree()).git)
    note(
        f"push it and open a pull request: stable moves once it is on {elsewhere}"
        if elsewhere is not None
        else "push it: the next reconcile run moves stable, before anything else"
    )
    note(f"to go on again, take the line out of {path}")
    return DONE


def _row(target: Build, *, reason: str, until: date | None) -> str:
    day = f", until: {until}" if until is not None else ""
    return f"hold: {{build: {target.id}, reason: {json.dumps(visible(reason), ensure_ascii=False)}{day}}}"


def _found(lock: Lockfile, build: str) -> Build:
    """The recorded build of this id, or of which this is the beginning."""
    matching = [one for one in lock.recorded if one.id.startswith(build)] if build else []
    exact = [one for one in matching if one.id == build]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    raise _unfit(lock, f"{lock.image} has {'several builds that begin with' if matching else 'no build'} {build}")


def _before(lock: Lockfile) -> Build:
    """The newest build that stood before the one that is stable now."""
    ids = [one.id for one in lock.builds]
    start = ids.index(lock.channels.stable) + 1 if lock.channels.stable in ids else 0
    found = next((one for one in lock.builds[start:] if one.stood), None)
    if found is None:
        raise _unfit(lock, f"no earlier build of {lock.image} that was stable is recorded")
    return found


def _unfit(lock: Lockfile, what: str) -> UserError:
    recorded = first_few([f"{one.id} ({one.phase})" for one in lock.builds], most=_MOST_NAMED)
    return UserError(what, hint=f"recorded are {recorded}" if recorded else "nothing is recorded of it yet")


def _check(workspace: Workspace, image: str, *, offline: bool) -> None:
    """Plan the image as it is declared now. Raises UserError with what the plan refuses."""
    asked = plan_options((image,), refresh=False, forced=(), prune=False, offline=offline)
    known = workspace.read(workspace.repository.worktree_tree(), asked)
    registry = None if offline else workspace.registry(known)
    _, planned = look(known, registry, records=records_of(workspace.repository, known))
    refused = next((one.errors for one in planned.plan.images if one.image == image), ())
    if refused:
        first, *rest = refused[0].splitlines()
        raise UserError(first, hint=[line.strip() for line in rest])
