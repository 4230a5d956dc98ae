"""`reconciler graph`: what is built on what, and the same as a CircleCI pipeline with a job for each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import Field

from reconciler.ci.pipeline import continuation, without_job
from reconciler.cli import options
from reconciler.cli.printing import show_json
from reconciler.cli.workspace import Workspace, note
from reconciler.controller import look
from reconciler.model.errors import UserError
from reconciler.model.fleet import Fleet
from reconciler.model.plan import Plan, PlanOptions
from reconciler.model.text import visible
from reconciler.model.values import Model
from reconciler.plan.limits import refuse_unsafe

_CONFIG = Path(".circleci/config.yml")


@click.command("graph")
@options.selection
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@click.option("--circleci", is_flag=True, help="Print a CircleCI config with one job for each image that has drifted.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"With --circleci: the project's config. Default: {_CONFIG} of the repository.",
)
@click.option("--job", default="reconcile", show_default=True, help="With --circleci: the config's job to invoke.")
@click.option("--context", "contexts", multiple=True, metavar="NAME", help="With --circleci: a context for the jobs.")
@click.option("--offline", is_flag=True, help="With --circleci: plan without reading the registry.")
@click.option("--max-actions", type=click.IntRange(min=1), help="With --circleci: allow so many images to be acted on.")
@click.option("--mermaid", is_flag=True, help="Print a Mermaid diagram.")
@options.as_json
@options.directory
def command(
    selection: options.Selection,
    *,
    rev: str,
    circleci: bool,
    config: Path | None,
    job: str,
    contexts: tuple[str, ...],
    offline: bool,
    max_actions: int | None,
    mermaid: bool,
    as_json: bool,
    directory: Path,
) -> int:
    """Show which image is built on which. Reads desired/ alone, but with --circleci.

    With --circleci it plans as `plan` does and prints the config of a continuation pipeline: one job per image, each
    after those it is built on (docs/circleci.md).
    """
    if circleci + mermaid + as_json > 1:
        raise click.UsageError("--circleci, --mermaid and --json exclude each other")
    workspace = Workspace(directory)
    asked = selection.options(offline=offline)
    if circleci:
        base = _read_config(config or workspace.repository.git.directory / _CONFIG)
        plan = _plan(workspace, asked, rev=rev, allowed=max_actions)
        _print_circleci(continuation(base, plan, job=job, contexts=contexts, folder=workspace.repository.git.below))
        return 0
    if selection.asks or offline or contexts or config is not None or max_actions is not None:
        raise click.UsageError("the options of a plan and of CircleCI go with --circleci")
    fleet = workspace.read(workspace.repository.tree(rev), asked).fleet
    parents = _parents(fleet, only=selection.images)
    if as_json:
        nodes = tuple(GraphNode(image=name, parent=parent) for name, parent in parents.items())
        show_json(GraphAnswer(images=nodes, invalid=tuple(sorted(fleet.problems))).model_dump_json(indent=2))
    elif mermaid:
        click.echo("\n".join(_mermaid(parents)))
    else:
        click.echo("\n".join(_tree(parents, fleet)) or "desired/ declares no image.")
    return 0


class GraphNode(Model):
    """An image, and the one that it is built on."""

    image: str
    parent: str | None = Field(description="Null where that is upstream. It may be one that is invalid.")


class GraphAnswer(Model):
    """The answer of `reconciler graph --json`."""

    format_version: Literal["1.1"] = "1.1"
    images: tuple[GraphNode, ...]
    invalid: tuple[str, ...]


def _plan(workspace: Workspace, asked: PlanOptions, *, rev: str, allowed: int | None) -> Plan:
    asked = workspace.offline_if_strangers(asked, rev=rev)
    looked = look(workspace, workspace.read(workspace.repository.tree(rev), asked), asks=False)
    refuse_unsafe(looked.planned, looked.known, allowed=allowed)
    for name in without_job(looked.planned.plan):
        note(f"{visible(name)}: no job, since that is no name of an image; `reconciler validate` says more")
    return looked.planned.plan


def _print_circleci(config: Mapping[str, Any]) -> None:
    import yaml  # noqa: PLC0415 - the other forms need none

    click.echo(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=120), nl=False)


def _read_config(path: Path) -> Mapping[str, Any]:
    from reconciler.model.plain_yaml import MOST_BYTES, load_yaml  # noqa: PLC0415 - as above

    hint = "name the project's config with --config; docs/circleci.md shows one"
    try:
        config = load_yaml(options.read_bounded(path, most=4 * MOST_BYTES).decode())
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise UserError(f"{path} is no YAML: {error}", hint=hint) from error
    if not isinstance(config, Mapping):
        raise UserError(f"{path} is no CircleCI config", hint=hint)
    return config


def _parents(fleet: Fleet, *, only: Sequence[str]) -> dict[str, str | None]:
    """Each image to what it is built on in this fleet; with names, these and everything below and above them."""
    parents = {name: image.parent for name, image in sorted(fleet.images.items())}
    if not only:
        return parents
    below = {name for name in parents if not set(only).isdisjoint(_line(name, parents))}
    above = {ancestor for name in only for ancestor in _line(name, parents)}
    return {name: parent for name, parent in parents.items() if name in below | above}


def _line(name: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    """An image and everything it is built on. A parent that is not declared (or invalid) ends the line."""
    at: str | None = name
    while at is not None and at in parents:
        yield at
        at = parents[at]


def _tree(parents: Mapping[str, str | None], fleet: Fleet) -> Iterator[str]:
    """Children below their parents, each level two columns in."""
    children: defaultdict[str | None, list[str]] = defaultdict(list)
    for name, parent in parents.items():
        children[parent if parent in parents else None].append(name)
    waiting = [(name, 0) for name in reversed(children[None])]
    while waiting:
        name, depth = waiting.pop()
        parent = parents[name]
        outside = f"  (on {parent}, which is invalid or not declared)" if depth == 0 and parent is not None else ""
        yield f"{'  ' * depth}{name}{outside}"
        waiting.extend((child, depth + 1) for child in reversed(children[name]))
    yield from (f"{visible(name)}  (invalid)" for name in sorted(fleet.problems))


def _mermaid(parents: Mapping[str, str | None]) -> Iterator[str]:
    yield "graph LR"
    for number, name in enumerate(parents):
        yield f'  n{number}["{name}"]'
    numbers = {name: number for number, name in enumerate(parents)}
    for name, parent in parents.items():
        if parent in numbers:
            yield f"  n{numbers[parent]} --> n{numbers[name]}"
