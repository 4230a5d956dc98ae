"""`reconciler validate`: every declaration and template, without the registry, and against the Packer that is here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from reconciler.build.packer.versions import LANGUAGE, OLDEST, REQUIRED_PLUGINS, is_of_the_past
from reconciler.cli import options
from reconciler.cli.printing import show_error, show_json
from reconciler.cli.workspace import Workspace, note, now
from reconciler.desired.fleet import read_fleet
from reconciler.model.constraint import Version
from reconciler.model.errors import DONE, FAILED, UserError
from reconciler.model.fleet import Fleet, Image, Template
from reconciler.model.lockfile import Lockfile
from reconciler.model.text import counted
from reconciler.model.values import Model
from reconciler.plan.rulings import in_force, wrong_hold
from reconciler.plan.timing import has_ended
from reconciler.state.lockfiles import read_lockfiles
from reconciler.steps.observe import without_filtered
from reconciler.words.events import to_fetch
from reconciler.words.plans import named, said_once

_NOT_COMPARED = "what the templates require was not compared with Packer"


@click.command("validate")
@click.option("--rev", default="HEAD", metavar="REVISION", help="Check this commit, branch or tag.", show_default=True)
@click.option("--worktree", is_flag=True, help="Check the files as they lie in the checkout, committed or not.")
@options.as_json
@options.directory
def command(*, rev: str, worktree: bool, as_json: bool, directory: Path) -> int:
    """Check every declaration, template and lockfile.

    Reads git alone: no registry, no credentials, and no Packer runs a template. Where Packer is installed, its version
    is compared with what the templates require. Exit codes: 0 all valid, 1 something is not, or Packer is here and
    could not be compared.
    """
    options.refuse_two_revisions(rev, worktree=worktree)
    workspace = Workspace(directory, unborn=worktree)
    tree = workspace.repository.worktree_tree() if worktree else workspace.repository.tree(rev)
    try:
        fleet = without_filtered(read_fleet(tree), tree)
    except UserError as error:
        if as_json:
            _print_json({}, [error], [])
            return FAILED
        raise
    locks, broken = read_lockfiles(tree)
    refused, warnings, unasked = _against_packer(fleet)
    refused = {**_not_held(fleet, locks, frozenset(broken)), **refused}
    fleet = replace(
        fleet,
        images={name: _noted(image) for name, image in fleet.images.items() if name not in refused},
        problems={**fleet.problems, **refused},
        warnings=(*fleet.warnings, *warnings),
    )
    problems = [*(problem for found in fleet.problems.values() for problem in found), *broken.values(), *unasked]
    written = workspace.written_state(tree, rev=rev)
    problems += written
    if as_json:
        _print_json(fleet.images, problems, fleet.warnings)
    else:
        besides = [f"{len(broken)} unreadable in state/"] if broken else []
        besides += [f"{len(written)} refused in state/"] if written else []
        besides += ["not compared with Packer"] if unasked else []
        _print(fleet, problems, folder=workspace.repository.root, besides=besides)
    return FAILED if problems else DONE


def _not_held(
    fleet: Fleet, locks: Mapping[str, Lockfile], broken: frozenset[str]
) -> Mapping[str, tuple[UserError, ...]]:  # fmt: skip
    """The errors of holds that a plan refuses by what is recorded, whatever is in the registry. By image.

    Not that a build is revoked: that is carried out whatever stands beside it, so that nothing is to stop its commit.
    """
    found: dict[str, tuple[UserError, ...]] = {}
    for name, image in fleet.images.items():
        if not broken.isdisjoint(image.names):
            continue
        lock = next((locks[one] for one in image.names if one in locks), Lockfile(image=name))
        wrong = wrong_hold(in_force(image, now=now()), lock, {})
        found |= {name: (wrong,)} if wrong is not None else {}
    return found


def _noted(image: Image) -> Image:
    """The image, with what is to be known of a hold, and of a pause, whose day has come."""
    return replace(image, notes=(*image.notes, *has_ended(image, now=now(), is_asked=False)))


def _against_packer(fleet: Fleet) -> tuple[Mapping[str, tuple[UserError, ...]], list[str], list[UserError]]:
    """The images that the Packer which is here refuses, what is to be noted besides, and why it could not be asked.

    Where there is none this is noted, as a check of git alone needs none, but of what came with 1.6 already. Not asked
    where no template asks.
    """
    if not any(_asks_of_packer(image.template, since=OLDEST) for image in fleet.images.values()):
        return {}, [], []
    from reconciler.build.packer.binary import NoneUsable, NoPacker, find  # noqa: PLC0415 - most fleets ask for nothing
    from reconciler.build.packer.fit import survey  # noqa: PLC0415 - as above

    try:
        found = survey(find(os.environ), fleet.images.values(), os.environ)
    except NoneUsable as error:
        return _without_usable(fleet, error), [f"{_NOT_COMPARED}: {error.what}"], []
    except NoPacker as error:
        asks = any(_asks_of_packer(image.template, since=REQUIRED_PLUGINS) for image in fleet.images.values())
        return {}, [f"{_NOT_COMPARED}: {error.what}"] if asks else [], []
    except UserError as error:
        return {}, [], [UserError(f"{_NOT_COMPARED}: {error.what}", where=error.where, hint=error.hint)]
    notes = [to_fetch(one, images) for one, images in found.to_fetch.items()]
    absent = said_once((name, (f"{one.what}; {'; '.join(one.hint)}",)) for name, one in found.lacking.items())
    return found.refused, [*notes, *(f"{named(names)}: {text}" for names, text in absent)], []


def _without_usable(fleet: Fleet, none: UserError) -> Mapping[str, tuple[UserError, ...]]:
    """The images whose templates say which Packer they take, where the one here is too old for any, or broken."""
    return {
        name: (
            UserError(
                f"the template requires Packer {image.template.required_version}, and {none.what}",
                where=image.template.required_version_place or image.template.place,
                hint=none.hint,
            ),
        )
        for name, image in fleet.images.items()
        if image.template.required_version
    }


def _asks_of_packer(template: Template, *, since: Version) -> bool:
    """Whether a template asks for a version, for plugins, or for what came to Packer from this version on, or left."""
    newer = any(LANGUAGE[one] >= since for one in template.constructs.keys() & LANGUAGE.keys())
    left = any(map(is_of_the_past, template.components))
    return bool(template.required_version or template.plugins) or newer or left


def _print(fleet: Fleet, problems: list[UserError], *, folder: Path, besides: Sequence[str]) -> None:
    given: tuple[str, ...] = ()
    # What is wrong with a template is wrong with each image that is built from it, and said once.
    for problem in {str(problem): problem for problem in problems}.values():
        # A hint that stands right above is not said once more.
        text = str(problem) if problem.hint != given else str(UserError(problem.what, where=problem.where))
        show_error(f"error: {text}", problem, folder=folder)
        given = problem.hint
    for warning in fleet.warnings:
        note(f"note: {warning}")
    for remark in grouped_notes(image for _, image in sorted(fleet.images.items())):
        note(f"note: {remark}")
    if not fleet.names:
        click.echo("desired/ declares no image")
        return
    invalid = len(fleet.problems)
    total = len(fleet.names)
    verdict = f"{invalid} of {counted(total, 'image')} invalid" if invalid else f"{counted(total, 'image')} valid"
    click.echo("; ".join([verdict, *besides]))


def grouped_notes(images: Iterable[Image]) -> Iterator[str]:
    """A line for each thing that is to be noted, with the images that it is said of; in order of the first image."""
    for names, text in said_once((image.name, image.notes) for image in images):
        yield f"{named(names)}: {text}"


class Problem(Model):
    """An error, and where it stands. Lines and columns count from 1."""

    what: str
    path: str | None
    line: int | None
    column: int | None
    hint: tuple[str, ...]


class ValidImage(Model):
    """An image that can be built as it is declared."""

    regions: tuple[str, ...] = Field(description="Its locations, of whatever kind.")
    parent: str | None = Field(description="The image of this fleet that it is built on.")
    builders: tuple[str, ...]
    inputs: int = Field(description="How many files decide what comes out.")
    notes: tuple[str, ...]


class ValidateAnswer(Model):
    """The answer of `reconciler validate --json`."""

    format_version: Literal["1.0"] = "1.0"
    valid: bool
    images: dict[str, ValidImage] = Field(description="By name, those that are valid.")
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]


def _print_json(images: Mapping[str, Image], problems: Sequence[UserError], warnings: Sequence[str]) -> None:
    answer = ValidateAnswer(
        valid=not problems,
        images={
            name: ValidImage(
                regions=tuple(image.locations), parent=image.parent, inputs=len(image.inputs), notes=image.notes,
                builders=tuple(builder.name for builder in image.template.builders),
            )
            for name, image in sorted(images.items())
        },
        problems=tuple(map(_problem, problems)),
        warnings=tuple(warnings),
    )  # fmt: skip
    show_json(answer.model_dump_json(indent=2))


def _problem(problem: UserError) -> Problem:
    where = problem.where
    return Problem(
        what=problem.what, path=where.path if where else None, line=(where.line or None) if where else None,
        column=(where.column or None) if where else None, hint=problem.hint,
    )  # fmt: skip
