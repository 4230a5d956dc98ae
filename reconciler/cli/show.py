"""`reconciler show`: one build, whole. Needs a clone with its history and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.workspace import now
from reconciler.git.past import resolve_commit
from reconciler.git.repository import Repository
from reconciler.steps.questions.builds import show
from reconciler.words.lookup import account, headline

_WIDTH = 12
"""Columns of the word before each fact."""
_LONGEST = 64
"""Characters of a word that stands below the facts at 80 columns; a digest is longer."""
_MOST_WORDS = 2


@click.command("show")
@click.argument("words", nargs=-1, required=True, metavar="[IMAGE] BUILD", shell_complete=options.complete_builds)
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(words: tuple[str, ...], *, rev: str, as_json: bool, directory: Path) -> int:
    """Show one build: what it is made of, what is inside, who tested it, what is built on it, and where it is.

    A build is an id, the beginning of one or of its key, or any id of an artifact that it left; with an image also
    `candidate` or `stable`. An image alone is its stable build, else its candidate. Also a build that no lockfile holds
    any more, and a pull request's preview. Reads git alone.
    """
    if len(words) > _MOST_WORDS:
        raise click.UsageError(f"{len(words)} words are given, and one build can be shown: [IMAGE] BUILD")
    repository = Repository.open(directory)
    answer = show(repository, words, revision=resolve_commit(repository.git, rev))
    if as_json:
        show_json(answer.model_dump_json(by_alias=True, indent=2))
        return 0
    moment = now()
    show_text(headline(answer, now=moment), hang=2)
    for word, told in account(answer, now=moment):
        fits = max(map(len, told.split()), default=0) <= _LONGEST
        show_text(f"  {word:<{_WIDTH - 2}}  {told}", hang=_WIDTH + 2 if fits else 4)
    return 0
