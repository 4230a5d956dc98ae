"""`reconciler status`: what is recorded of each image. Needs a clone and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_table, show_text
from reconciler.cli.workspace import Workspace, now
from reconciler.model.plan import PlanOptions
from reconciler.plan.standing import Standing, standings
from reconciler.steps.look import look

_MOST_IN_A_CELL = 60


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
        click.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    elif not rows:
        click.echo("desired/ declares no image, and nothing is recorded.")
    else:
        _print(rows)
    return 0


def _print(rows: tuple[Standing, ...]) -> None:
    from rich.table import Table  # noqa: PLC0415 - rich costs 80 ms that JSON need not pay

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for title in ("image", "stable", "candidate", "age", "source", "health"):
        table.add_column(title, overflow="fold", no_wrap=title in ("stable", "age"))
    long = [row for row in rows if row.why is not None and len(row.why) > _MOST_IN_A_CELL]
    for row in rows:
        why = "see below" if row in long else row.why
        health = f"{row.health}: {why}" if why else row.health
        table.add_row(row.image, row.stable or "none", row.candidate_text, row.age or "", row.source or "", health)
    show_table(table)
    for row in long:
        show_text(f"{row.image}: {row.why}", hang=2)
