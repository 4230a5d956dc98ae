"""`reconciler rights`: what each kind of the fleet has to be allowed where its artifacts live."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.workspace import Workspace
from reconciler.desired.fleet import read_fleet
from reconciler.model.errors import DONE, UserError
from reconciler.model.fleet import Image
from reconciler.model.rights import Right, RightsOfKind
from reconciler.model.text import counted, visible
from reconciler.model.values import Model
from reconciler.registries import rights_of
from reconciler.words.plans import named


class RightsAnswer(Model):
    """The answer of `reconciler rights --json`, by kind in order of name."""

    kinds: tuple[RightsOfKind, ...]


@click.command("rights")
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@click.option("--credentials", is_flag=True, help="Print whose credentials a run needs, one a line, for scripts.")
@options.as_json
@options.directory
def command(*, rev: str, credentials: bool, as_json: bool, directory: Path) -> int:
    """Print what has to be allowed where the fleet's artifacts live: privileges, actions, and on what.

    Reads git alone. An image that is not valid is left out: `reconciler validate` names it.
    """
    if credentials and as_json:
        raise click.UsageError("--credentials and --json exclude each other: the JSON has both")
    fleet = read_fleet(Workspace(directory).repository.tree(rev))
    of_kind: dict[str, list[Image]] = {}
    for image in fleet.images.values():
        of_kind.setdefault(image.kind.name, []).append(image)
    found = [rights_of(kind, images) for kind, images in sorted(of_kind.items())]
    answer = RightsAnswer(kinds=tuple(one for one in found if one is not None))
    if as_json:
        show_json(answer.model_dump_json(indent=2))
        return DONE
    if not answer.kinds:
        raise UserError("no valid image says where its artifacts live", hint="see `reconciler validate`")
    if credentials:
        for word in sorted({word for kind in answer.kinds for word in kind.credentials}):
            click.echo(visible(word))
        return DONE
    for one in answer.kinds:
        _show(one)
    return DONE


def _show(kind: RightsOfKind) -> None:
    """A line of its images, then what is needed on each thing."""
    show_text(f"{kind.kind}, of {counted(len(kind.images), 'image')}: {named(list(kind.images))}")
    on: dict[str, list[Right]] = {}
    for right in kind.rights:
        on.setdefault(right.on, []).append(right)
    for place, rights in on.items():
        show_text(f"  on {place}", hang=6)
        for right in rights:
            show_text(f"    {', '.join(right.names)}: {right.purpose}", hang=6)
    show_text(f"  {kind.note}", hang=4)
