"""`reconciler artifact`: what a channel of an image points to. Needs a clone and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json
from reconciler.git.past import resolve_commit
from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.source import Channel
from reconciler.model.text import joined, visible
from reconciler.registries import dialect_of
from reconciler.steps.questions.builds import pointed

_CONVERTED = "disk"
"""The kind whose artifacts are kept in other formats as well (`formats`)."""


@click.command("artifact")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("location", required=False, shell_complete=options.complete_locations)
@click.option(
    "--channel", type=click.Choice(["candidate", "stable"]), default="stable", show_default=True,
    help="Whose build is named.",
)  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", help="Of the artifact in this format, where it is kept in it.")
@click.option(
    "--with-location",
    is_flag=True,
    help="With the location, in one word: what `docker pull` takes of a container image, and of a disk its path.",
)
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(
    image: str,
    location: str | None,
    *,
    channel: Channel,
    form: str | None,
    with_location: bool,
    rev: str,
    as_json: bool,
    directory: Path,
) -> int:
    """Name the artifact that a channel of an image points to: its id alone in one location, else a line for each.

    For scripts: `ami=$(reconciler artifact web us-east-1)`, `docker pull $(reconciler artifact site --with-location)`.
    Reads state/ alone: no registry, no credentials. Exits with 1, and says nothing on stdout, where there is none.
    """
    repository = Repository.open(directory)
    revision = resolve_commit(repository.git, rev)
    answer = pointed(repository, image, channel=channel, location=location, revision=revision)
    if as_json:
        show_json(answer.model_dump_json(by_alias=True, indent=2, exclude_none=True))
    elif with_location:
        for one in answer.artifacts:
            click.echo(visible(f"{one.location}{dialect_of(one.kind).kind.between}{_id(one, form)}"))
    elif location is not None:
        click.echo(visible(_id(answer.artifacts[0], form)))
    else:
        width = max(len(visible(one.location)) for one in answer.artifacts)
        for one in answer.artifacts:
            click.echo(f"{visible(one.location):<{width}}  {visible(_id(one, form))}")
    return 0


def _id(artifact: Artifact, form: str | None) -> str:
    """The id of an artifact, or of it in another format. Raises UserError where it is not kept in that."""
    conversion = artifact.conversion(form) if form is not None else None
    if form is not None and conversion is None:
        kept = joined([one.format for one in artifact.conversions])
        declares = f"declare it in its image.yaml: `formats: [{form}]`"
        none = f"only disks are kept in other formats, and this is of the kind {artifact.kind}"
        raise UserError(
            f"{artifact.id} in {artifact.location} is not recorded as {form}",
            hint=f"it is kept as {kept}" if kept else declares if artifact.kind == _CONVERTED else none,
        )
    return conversion.id if conversion is not None else artifact.id
