"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

directory = click.option(
    "-C",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Work in this repository, or on the fleet in this folder of one, instead of the current folder's.",
)
junit = click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one test case per image to a file, as JUnit XML.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def complete_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the folders under desired/ to a shell that completes an image's name."""
    del param
    start = Path(ctx.params.get("directory") or ".").resolve()
    for folder in (start, *start.parents):
        if (folder / "desired").is_dir():
            names = sorted(entry.name for entry in (folder / "desired").iterdir() if entry.is_dir())
            return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def refuse_two_revisions(rev: str, *, worktree: bool) -> None:
    """Raise UsageError where a commit is named, and the checkout's files are asked for in its place."""
    if worktree and rev != "HEAD":
        raise click.UsageError("--worktree and --rev exclude each other")


images = click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_images)


def selection(command: F) -> F:
    """Add the options that say what a plan is about."""
    for option in reversed(
        (
            images,
            click.option(
                "--refresh",
                is_flag=True,
                help="Look for newer sources and for images that are too old (the scheduled job).",
            ),
            click.option(
                "--force",
                "forced",
                multiple=True,
                metavar="IMAGE",
                help="Build this image although nothing changed. May be repeated.",
                shell_complete=complete_images,
            ),
            click.option("--prune", is_flag=True, help="Retire what is no longer declared."),
        )
    ):
        command = option(command)
    return command
