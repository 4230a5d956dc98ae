"""`reconciler artifact`: what a channel of an image points to. Needs a clone and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json
from reconciler.git.history import resolve_commit
from reconciler.git.repository import Repository
from reconciler.model.source import Channel
from reconciler.model.text import visible
from reconciler.steps.questions.builds import pointed


@click.command("artifact")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("location", required=False, shell_complete=options.complete_locations)
@click.option(
    "--channel", type=click.Choice(["candidate", "stable"]), default="stable", show_default=True,
    help="Whose build is named.",
)  # fmt: skip
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(image: str, location: str | None, *, channel: Channel, rev: str, as_json: bool, directory: Path) -> int:
    """Name the artifact that a channel of an image points to: its id alone in one location, else a line for each.

    For scripts: `ami=$(reconciler artifact web us-east-1)`. Reads state/ alone: no registry, no credentials. Exits with
    1, and says nothing on stdout, where there is none.
    """
    repository = Repository.open(directory)
    revision = resolve_commit(repository.git, rev)
    answer = pointed(repository, image, channel=channel, location=location, revision=revision)
    if as_json:
        show_json(answer.model_dump_json(by_alias=True, indent=2, exclude_none=True))
    elif location is not None:
        click.echo(visible(answer.artifacts[0].id))
    else:
        width = max(len(visible(one.location)) for one in answer.artifacts)
        for one in answer.artifacts:
            click.echo(f"{visible(one.location):<{width}}  {visible(one.id)}")
    return 0
