"""`reconciler status`: what is recorded of each image. Needs a clone and nothing else."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from reconciler.cli import options
from reconciler.cli.printing import fits, show_json, show_rows, show_text
from reconciler.cli.workspace import Workspace, now
from reconciler.controller import look
from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import PlanOptions, finished_at
from reconciler.model.text import counted, visible
from reconciler.model.values import Model
from reconciler.plan.standing import Standing, standings, with_hints
from reconciler.words.plans import named

_TITLES = ("image", "stable", "candidate", "age", "source", "health")
_MOST_IN_A_CELL = 24
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
_NARROW_SOURCE = 16
"""Columns: the time in a build's id goes in."""
_BUILD_ID = re.compile(r"(\d{8}T\d{6}Z)-\w+$")


@click.command("status")
@options.images
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@click.option(
    "--older-than", metavar="WHEN", help="Only images whose stable build, else candidate, is older: 30d, or 2026-11-01."
)
@options.as_json
@options.directory
def command(images: tuple[str, ...], *, rev: str, older_than: str | None, as_json: bool, directory: Path) -> int:
    """Show what is recorded of each image: its channels, age, source and health.

    Reads desired/ and state/ alone: no registry, no credentials.
    """
    at = now()
    limit = options.moment(older_than, option="--older-than", now=at) if older_than is not None else None
    workspace = Workspace(directory)
    known = workspace.read(workspace.repository.tree(rev), PlanOptions(images=images, offline=True))
    planned = look(workspace, known, asks=False).planned
    every = standings(planned, now=at)
    old = {one.name for one in planned.decisions if limit is not None and _is_older(one.lock, limit)}
    rows = tuple(row for row in every if limit is None or row.image in old)
    if as_json:
        show_json(StatusAnswer(images=rows).model_dump_json(indent=2))
        return 0
    if limit is not None:
        show_text(_older(rows, among=len(every), asked=older_than or ""), hang=2)
    if rows:
        show(rows)
    elif limit is None:
        click.echo("desired/ declares no image, and nothing is recorded.")
    return 0


class StatusAnswer(Model):
    """The answer of `reconciler status --json`: how each image stands, by name."""

    format_version: Literal["1.1"] = "1.1"
    images: tuple[Standing, ...]


def _is_older(lock: Lockfile, limit: datetime) -> bool:
    """Tell whether the stable build, else the candidate, was built before a time; not where there is none."""
    finished = finished_at(lock.build(lock.channels.stable) or lock.current)
    return finished is not None and finished < limit


def _older(rows: Sequence[Standing], *, among: int, asked: str) -> str:
    if not rows:
        return f"No image is older than {asked} ({counted(among, 'image')})."
    return f"{len(rows)} of {counted(among, 'image')} older than {asked}: {named([visible(row.image) for row in rows])}"


def show(rows: Sequence[Standing]) -> None:
    """Print how images stand, and below that what is too long for a table."""
    whole, narrow = ([_row(row, narrow=narrow) for row in rows] for narrow in (False, True))
    show_rows(_TITLES, narrow if fits(_TITLES, narrow) and not fits(_TITLES, whole) else whole)
    for line in remarks(rows):
        show_text(line, hang=2)


def _row(row: Standing, *, narrow: bool) -> tuple[str, ...]:
    health = _with_why(row) if row.why is not None and not _is_long(row.why) else row.health
    source = _DIGEST.sub(r"\1…", row.source or "")
    source = _narrowed(source) if narrow else source
    return (visible(row.image), row.stable or "none", row.candidate_text, row.age or "", source, visible(health))


def _narrowed(source: str) -> str:
    """A source in few columns. Of a parent's build the time is left, which says which one it is."""
    return "\n".join(textwrap.wrap(_BUILD_ID.sub(r"\1", source), _NARROW_SOURCE, break_on_hyphens=False))


def _with_why(row: Standing) -> str:
    """An image's health, and why; what says itself how the image is, such as that it is suspended, stands alone."""
    why = row.why or ""
    return why if why.startswith(row.health) else f"{row.health}: {why}"


def _is_long(why: str) -> bool:
    return len(why) > _MOST_IN_A_CELL


def remarks(rows: Sequence[Standing]) -> Iterator[str]:
    """What is too long for the table: a line for each thing that is to be said, with all images that it is said of."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.why is not None and _is_long(row.why):
            said[row.why].append(visible(row.image))
    yield from (f"{named(names)}: {visible(why)}" for why, names in said.items())
    yield from _findings(rows)


def _findings(rows: Iterable[Standing]) -> Iterator[str]:
    """The same of what smoke tests found; how to get rid of it stands below the first finding of a kind."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    kinds = {}
    for row in rows:
        for one in row.findings:
            found[one.text].append(visible(row.image))
            kinds[one.text] = one
    given: set[str] = set()
    for text, names in found.items():
        first, *hint = with_hints([kinds[text]], given=given)
        yield f"{named(names)}: {first}"
        yield from hint
