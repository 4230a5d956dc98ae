"""`reconciler status`: what is recorded of each image. Needs a clone and nothing else."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from reconciler.cli import options
from reconciler.cli.printing import fits, show_json, show_rows, show_text
from reconciler.cli.workspace import Workspace, now
from reconciler.controller import look
from reconciler.model.plan import PlanOptions
from reconciler.model.text import visible
from reconciler.plan.standing import Standing, standings, with_hints
from reconciler.words.plans import named

_TITLES = ("image", "stable", "candidate", "age", "source", "health")
_MOST_IN_A_CELL = 24
_NARROW_SOURCE = 16
"""Columns: the time in a build's id goes in."""
_BUILD_ID = re.compile(r"(\d{8}T\d{6}Z)-\w+$")


@click.command("status")
@options.images
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(images: tuple[str, ...], *, rev: str, as_json: bool, directory: Path) -> int:
    """Show what is recorded of each image: its channels, age, source and health.

    Reads desired/ and state/ alone: no registry, no credentials.
    """
    workspace = Workspace(directory)
    known = workspace.read(workspace.repository.tree(rev), PlanOptions(images=images, offline=True))
    _, planned = look(known, None)
    rows = standings(planned, now=now())
    if as_json:
        answer = {"format_version": "1.0", "images": [_as_json(row) for row in rows]}
        show_json(answer)
    elif not rows:
        click.echo("desired/ declares no image, and nothing is recorded.")
    else:
        show(rows)
    return 0


def _as_json(row: Standing) -> dict[str, Any]:
    found = [finding.model_dump(mode="json", exclude_defaults=True) for finding in row.findings]
    return {**asdict(row), "findings": found}


def show(rows: Sequence[Standing]) -> None:
    """Print how images stand, and below that what is too long for a table."""
    whole, narrow = ([_row(row, narrow=narrow) for row in rows] for narrow in (False, True))
    show_rows(_TITLES, narrow if fits(_TITLES, narrow) and not fits(_TITLES, whole) else whole)
    for line in remarks(rows):
        show_text(line, hang=2)


def _row(row: Standing, *, narrow: bool) -> tuple[str, ...]:
    health = f"{row.health}: {row.why}" if row.why and not _is_long(row.why) else row.health
    source = _narrowed(row.source or "") if narrow else row.source or ""
    return (visible(row.image), row.stable or "none", row.candidate_text, row.age or "", source, visible(health))


def _narrowed(source: str) -> str:
    """A source in few columns. Of a parent's build the time is left, which says which one it is."""
    return "\n".join(textwrap.wrap(_BUILD_ID.sub(r"\1", source), _NARROW_SOURCE, break_on_hyphens=False))


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
