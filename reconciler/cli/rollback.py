"""`reconciler rollback`: the hold that takes an image back, written, checked and committed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import click
from pydantic import Field

from reconciler.cli import options
from reconciler.cli.adapters import host_of
from reconciler.cli.printing import refuse_links, show_json
from reconciler.cli.workspace import Workspace, note, now, refuse_written_state
from reconciler.controller import look
from reconciler.desired.edit import with_key
from reconciler.git.objects import Change, commit_as_person
from reconciler.git.offer import offer
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import DONE, UserError
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.plan import PlanOptions
from reconciler.model.text import first_few, visible
from reconciler.model.tree import REGULAR_MODES, Tree, content_at
from reconciler.model.values import Model
from reconciler.plan.planning import Known
from reconciler.state.files import write_atomically
from reconciler.state.lockfiles import read_lockfile, unrecorded
from reconciler.steps.observe import git_settings

_MOST_NAMED = 4


@click.command("rollback")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("build", required=False)
@click.option("--reason", required=True, metavar="TEXT", help="Why, for everybody who meets the hold.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The first day on which it holds no more, UTC.")
@click.option(
    "--pull-request/--commit",
    "proposes",
    default=None,
    help="Offer it in a pull request, or commit it here. [default: as git.push says]",
)
@click.option("--offline", is_flag=True, help="Do not ask the registry whether the build is there.")
@options.as_json
@options.directory
def command(
    image: str,
    build: str | None,
    *,
    reason: str,
    until: datetime | None,
    proposes: bool | None,
    offline: bool,
    as_json: bool,
    directory: Path,
) -> int:
    """Hold an image on an earlier build; without one, on the build that was stable before this one.

    Writes `hold:` into the image's declaration, plans it, and commits that file on the branch that is checked out, as
    you would. Where `git.push` is pull-request, or with --pull-request, that commit is made on top of the branch that
    state is recorded to, pushed to a branch of its own, and a pull request is opened for it. `stable` moves once it is
    on the branch that state is recorded to. Nothing is left changed where the build is not there any more, or may not
    be used, or where that can't be asked.
    """
    workspace = Workspace(directory)
    if until is not None and until.date() <= now().date():
        message = f"{until.date()} has come: it is the first day, UTC, on which the hold holds no more"
        raise click.BadParameter(message, param_hint="--until")
    settings = git_settings(workspace.repository)
    proposed = proposes if proposes is not None else settings.push == "pull-request"
    asked = Asked(image, build, visible(reason), until.date() if until is not None else None, offline=offline)
    answer = _offered(workspace, asked, settings) if proposed else _committed(workspace, asked, settings)
    if as_json:
        show_json(answer.model_dump_json(indent=2))
    else:
        _print(answer)
    return DONE


@dataclass(frozen=True)
class Asked:
    """A hold that somebody asks for: of which image, to which build, why, and until which day."""

    image: str
    build: str | None
    reason: str
    until: date | None
    offline: bool

    def message(self, target: Build) -> str:
        """The commit's message."""
        return f"{self.image}: hold stable to {target.id}\n\n{self.reason}\n"


class RollbackAnswer(Model):
    """The answer of `reconciler rollback --json`."""

    format_version: Literal["1.0"] = "1.0"
    image: str
    build: str = Field(description="The build that stable is held to.")
    was: str | None = Field(description="What stable pointed to; null: nothing.")
    reason: str
    until: date | None = Field(description="The first day, UTC, on which it holds no more; null: it is taken away.")
    path: str = Field(description="The file that the hold stands in.")
    commit: str = Field(description="The commit that brings it; of one that was there before, the newest that has it.")
    branch: str | None = Field(description="The branch that the commit is on; null: HEAD is detached.")
    into: str | None = Field(description="The branch that it has to come to for stable to move; null: not known.")
    pushed: bool = Field(description="Whether the commit was pushed.")
    already: bool = Field(False, description="Whether it was held so before, so that nothing was committed.")
    pull_request: str | None = Field(
        None, description="The address of the pull request; null: none was opened, and somebody has to."
    )


def _print(answer: RollbackAnswer) -> None:
    if answer.already:
        click.echo(f"{answer.image}: {answer.path} holds stable to {answer.build} already; nothing is changed")
        return
    how = "committed as" if not answer.pushed else "offered as"
    click.echo(f"{answer.image}: stable {answer.was or 'none'} → {answer.build}, {how} {answer.commit[:7]}")
    if answer.was == answer.build:
        note(f"stable points to {answer.build} already; the hold keeps it there")
    if answer.pull_request is not None:
        note(f"merge {answer.pull_request}: the next reconcile run moves stable, before anything else")
    elif answer.pushed:
        note(f"open a pull request from {answer.branch} into {answer.into}: stable moves once it is merged")
    elif answer.into is not None and answer.into != answer.branch:
        note(f"push it and open a pull request: stable moves once it is on {answer.into}")
    else:
        note("push it: the next reconcile run moves stable, before anything else")
        note("where the branch refuses pushes, `reconciler rollback --pull-request` offers it in a pull request")
    note(f"to go on again, take the line out of {answer.path}")


def _committed(workspace: Workspace, asked: Asked, settings: GitSettings) -> RollbackAnswer:
    """Write the hold into the checkout, and commit it there as its person would."""
    repository = workspace.repository
    refuse_written_state(workspace, repository.tree())
    lock, target = _target(repository.tree(), asked)
    refuse = partial(_refuse_links_here, repository.root)
    path = _declared_in(workspace, repository.tree(), asked, refuse=refuse)
    file = repository.root / path
    before = file.read_bytes() if file.is_file() else b""
    write_atomically(file, with_key(before, "hold", _row(target, asked), path=path))
    try:
        _check(workspace, repository.worktree_tree(), asked, target)
    except BaseException:
        write_atomically(file, before) if before else file.unlink()
        raise
    committed = commit_as_person(repository.root, path, asked.message(target))
    elsewhere = repository.on_another_branch(settings)
    return _answer(asked, lock, target).model_copy(
        update={
            "path": path,
            "commit": repository.head,
            "branch": repository.branch,
            "into": elsewhere or repository.branch,
            "already": not committed,
        }
    )


def _offered(workspace: Workspace, asked: Asked, settings: GitSettings) -> RollbackAnswer:
    """Make the commit on the branch that state is recorded to as it is there, push it beside, open a pull request."""
    repository = workspace.repository
    offered = offer(repository.git, settings, f"hold-{asked.image}")
    tree = repository.tree(offered.head)
    lock, target = _target(tree, asked)
    path = _declared_in(workspace, tree, asked, refuse=partial(_refuse_links_at, tree))
    before = content_at(tree, path) or b""
    content = with_key(before, "hold", _row(target, asked), path=path)
    if content == before:
        there = {"path": path, "commit": offered.head, "branch": offered.recorded.branch}
        update = {**there, "into": offered.recorded.branch, "already": True}
        return _answer(asked, lock, target).model_copy(update=update)
    commit = offered.commit(Change(path, content), asked.message(target), now=now())
    known = _check(workspace, repository.tree(commit), asked, target)
    offered.push(commit)
    title, _, body = asked.message(target).partition("\n\n")
    was = lock.channels.stable or "none"
    said = f"{body.strip()}\n\n`stable` moves from {was} to {target.id} once this is merged, and stays there."
    url = host_of(workspace, known).open(offered.branch, offered.recorded.branch, title=title, body=said)
    return _answer(asked, lock, target).model_copy(
        update={
            "path": path,
            "commit": commit,
            "branch": offered.branch,
            "into": offered.recorded.branch,
            "pushed": True,
            "pull_request": url,
        }
    )


def _refuse_links_here(root: Path, path: str) -> None:
    refuse_links(Path(path), folder=root)


def _refuse_links_at(tree: Tree, path: str) -> None:
    for one in (path, *map(str, PurePosixPath(path).parents)):
        if (entry := tree.entries.get(one)) is not None and entry.mode not in REGULAR_MODES:
            raise UserError(f"{one} is a link: {path} is not written in its place", hint="make it a folder, or a file")


def _answer(asked: Asked, lock: Lockfile, target: Build) -> RollbackAnswer:
    return RollbackAnswer(
        image=asked.image, build=target.id, was=lock.channels.stable, reason=asked.reason, until=asked.until, path="",
        commit="", branch=None, into=None, pushed=False,
    )  # fmt: skip


def _target(tree: Tree, asked: Asked) -> tuple[Lockfile, Build]:
    lock = read_lockfile(tree, asked.image)
    if lock is None:
        raise unrecorded(tree, asked.image)
    return lock, _found(lock, asked.build) if asked.build is not None else _before(lock)


def _declared_in(workspace: Workspace, tree: Tree, asked: Asked, *, refuse: Callable[[str], None]) -> str:
    """The file that declares the image, also where that is invalid; raises UserError where none does.

    `refuse` is called with it first: it raises UserError where the file is not to be written.
    """
    image = asked.image
    known = workspace.read(tree, PlanOptions(images=(image,)))
    declared = known.fleet.images.get(image)
    path = f"{declared.folder if declared is not None else f'desired/{image}'}/image.yaml"
    refuse(path)
    if declared is None and image not in known.fleet.problems:
        raise UserError(f"desired/ declares no {image}", hint=f"`reconciler history {image}` shows what it was")
    return path


def _row(target: Build, asked: Asked) -> str:
    day = f", until: {asked.until}" if asked.until is not None else ""
    return f"hold: {{build: {target.id}, reason: {json.dumps(asked.reason, ensure_ascii=False)}{day}}}"


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


def _check(workspace: Workspace, tree: Tree, asked: Asked, target: Build) -> Known:
    """Plan the image as a tree declares it. Raises UserError with what the plan refuses.

    And where a location can't be read, unless `stable` points to the build already: what is unknown is no way back.
    """
    options = PlanOptions(images=(asked.image,), offline=asked.offline)
    known = workspace.read(tree, options)
    looked = look(workspace, known, asks=False)
    found = looked.known
    refused = next((one.errors for one in looked.planned.plan.images if one.image == asked.image), ())
    if refused:
        first, *rest = refused[0].splitlines()
        raise UserError(first, hint=[line.strip() for line in rest])
    image = found.fleet.images.get(asked.image)
    unread = {one: why for one, why in found.observation.told.items() if image and one in image.locations}
    lock = found.locks.get(asked.image)
    if unread and (lock is None or lock.channels.stable != target.id):
        raise UserError(
            f"whether {target.id} is there is not known, so that nothing is written",
            hint=[*(line.strip() for one, why in sorted(unread.items()) for line in f"{one}: {why}".splitlines()),
                  "run it again once that can be read; `--offline` writes it without asking"],
        )  # fmt: skip
    return known
