"""`reconciler which`: the build that left an artifact. Needs a clone with its history and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.workspace import now
from reconciler.git.past import resolve_commit
from reconciler.git.repository import Repository
from reconciler.steps.questions.lookup import which
from reconciler.words.lookup import whereabouts


@click.command("which")
@click.argument("artifact", metavar="ID")
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(artifact: str, *, rev: str, as_json: bool, directory: Path) -> int:
    """Say which build left an artifact, and how that build stands: by the id of an AMI, a digest, a UUID, a snapshot.

    Or by what a channel is published as: REPOSITORY:TAG, the name of a parameter.

    Also of a copy, of a build that no lockfile holds any more, of a pull request's preview and of a failed attempt.
    Reads git alone. Exits with 1 where no lockfile has or had it.
    """
    repository = Repository.open(directory)
    answer = which(repository, artifact, revision=resolve_commit(repository.git, rev))
    if as_json:
        show_json(answer.model_dump_json(by_alias=True, indent=2))
    else:
        for line in whereabouts(answer, now=now()):
            show_text(line, hang=4)
    return 0
