"""`reconciler diff`: what differs inside two builds of an image. Needs a clone and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_rows, show_table, show_text
from reconciler.cli.workspace import now
from reconciler.git.repository import Repository
from reconciler.model.difference import Changes, Comparison, Difference
from reconciler.model.text import visible
from reconciler.steps.questions.builds import resolve_names
from reconciler.steps.questions.changes import changes_since
from reconciler.steps.questions.compare import compare
from reconciler.words.difference import (
    apart,
    change_row,
    changes_headline,
    changes_markdown,
    listings,
    markdown,
    named,
    one_line,
    unknown,
)
from reconciler.words.markdown import escape

_MOST_BUILDS = 2


@click.command("diff")
@click.argument(
    "words", nargs=-1, metavar="IMAGE [BUILD] [BUILD] | --since WHEN [IMAGE]...", shell_complete=options.complete_images
)
@click.option("--since", metavar="WHEN", help="What changed in stable builds since then: 30d, or a day: 2026-11-01.")
@options.as_json
@click.option("--markdown", is_flag=True, help="Print Markdown on stdout.")
@options.directory
def command(words: tuple[str, ...], *, since: str | None, as_json: bool, markdown: bool, directory: Path) -> int:
    """Show what differs inside two builds: packages, kernel, services, ports, users, SUID files.

    Without a build: the candidate against the build before it. With one: that against the one before it; a pull
    request's preview against the candidate. With two: the second against the first. A build is an id, the beginning of
    one or of its key, `candidate` or `stable`, or the id of an artifact, which needs no image before it.

    With --since: every image whose stable build is another one than then, from which to which, and what that changed.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    if since is not None:
        today = now()
        moment = options.moment(since, option="--since", now=today)
        changes = changes_since(Repository.open(directory), moment, now=today, images=words)
        if as_json:
            show_json(changes.model_dump_json(indent=2))
        elif markdown:
            click.echo(changes_markdown(changes))
        else:
            _print_changes(changes)
        return 0
    if not words:
        raise click.UsageError("name an image, and if you like its builds; or --since WHEN, for what changed in all")
    repository = Repository.open(directory)
    image, builds = resolve_names(repository, words, revision=repository.head)
    if len(builds) > _MOST_BUILDS:
        raise click.UsageError(f"{len(builds)} builds are named, and two can be compared")
    comparison = compare(repository, image, builds)
    if as_json:
        show_json(comparison.model_dump_json(indent=2, exclude_none=True))
    elif markdown:
        click.echo(_markdown(comparison))
    else:
        _print(comparison)
    return 0


def _print_changes(changes: Changes) -> None:
    show_text(changes_headline(changes), hang=2)
    if changes.changed:
        click.echo()
        show_rows(("image", "was", "is", "what changed inside"), [change_row(one) for one in changes.changed])
    if not changes.complete:
        show_text("This clone's history begins later, so all that is stable is shown: `git fetch --unshallow`.", hang=2)


def _markdown(comparison: Comparison) -> str:
    title = f"### {escape(comparison.image)}: `{comparison.old}` → `{comparison.new}`"
    parts = [title, f"{escape(one_line(comparison.difference))}.", markdown(comparison.difference)]
    return "\n\n".join(filter(None, parts))


def _print(comparison: Comparison) -> None:
    difference = comparison.difference
    show_text(f"{comparison.image}: {one_line(difference)} ({comparison.old} → {comparison.new})", hang=2)
    if not difference.nothing:
        show_table(render(difference))
    for line in unknown(difference):
        show_text(line, hang=2)


# A difference on a terminal, in 80 columns.

_COLOURS = {"added": "green", "removed": "red", "downgraded": "magenta"}

_Row = tuple[str, str, str, str]


def render(difference: Difference) -> RenderableType:
    """All that changed: what kind of thing, how, its name, and the versions. Empty where nothing did."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    shown = ""
    for noun, change, name, versions in _rows(difference):
        coloured = Text(change, style=_COLOURS.get(change, ""))
        table.add_row("" if noun == shown else noun, coloured, Text(visible(name)), Text(visible(versions)))
        shown = noun
    if not table.row_count:
        return Text("")
    return Group(Text(""), Padding(table, (0, 0, 0, 2)))


def _rows(difference: Difference) -> Iterator[_Row]:
    for noun, moved in (("system", difference.os), ("kernel", difference.kernel)):
        if moved:
            yield noun, "changed", moved.old, f"→ {moved.new}"
    for noun, listed in listings(difference):
        changed, others = apart(listed)
        yield from ((noun, "changed", name, f"{moved.old} → {moved.new}") for name, moved in changed)
        yield from ((noun, "added", one, "") for one in others.added)
        yield from ((noun, "removed", one, "") for one in others.removed)
    for name, change in named(difference):
        versions = change.new or change.old or ""
        if change.old is not None and change.new is not None:
            versions = f"{change.old} → {change.new}"
        yield "package", change.change, name, versions
