"""`reconciler diff`: what differs inside two builds of an image. Needs a clone and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_table, show_text
from reconciler.git.repository import Repository
from reconciler.model.difference import Comparison
from reconciler.plan.difference import words
from reconciler.plan.markdown import escape
from reconciler.steps.compare import compare

_MOST_BUILDS = 2


@click.command("diff")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("builds", nargs=-1, metavar="[BUILD] [BUILD]")
@options.as_json
@click.option("--markdown", is_flag=True, help="Print Markdown on stdout.")
@options.directory
def command(image: str, builds: tuple[str, ...], *, as_json: bool, markdown: bool, directory: Path) -> int:
    """Show what differs inside two builds: packages, kernel, services, ports, users, SUID files.

    Without a build: the candidate against the build before it. With one: that against the one before it; a pull
    request's preview against the candidate. With two: the second against the first. A build is an id, the beginning of
    one or of its key, or `candidate` or `stable`.
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    if len(builds) > _MOST_BUILDS:
        raise click.UsageError(f"{len(builds)} builds are named, and two can be compared")
    comparison = compare(Repository.open(directory), image, builds)
    if as_json:
        show_json(comparison.model_dump_json(indent=2, exclude_none=True))
    elif markdown:
        click.echo(_markdown(comparison))
    else:
        _print(comparison)
    return 0


def _markdown(comparison: Comparison) -> str:
    title = f"### {escape(comparison.image)}: `{comparison.old}` → `{comparison.new}`"
    parts = [title, f"{escape(words.one_line(comparison.difference))}.", words.markdown(comparison.difference)]
    return "\n\n".join(filter(None, parts))


def _print(comparison: Comparison) -> None:
    difference = comparison.difference
    show_text(f"{comparison.image}: {words.one_line(difference)} ({comparison.old} → {comparison.new})", hang=2)
    if not difference.nothing:
        from reconciler.plan.difference import table as difference_table  # noqa: PLC0415 - rich costs 80 ms, and JSON needs it not

        show_table(difference_table.render(difference))
    for line in words.unknown(difference):
        show_text(line, hang=2)
