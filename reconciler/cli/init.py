"""`reconciler init`: propose declarations for the Packer templates that a repository has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import Field

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_text, write_file
from reconciler.cli.workspace import Workspace
from reconciler.desired.proposal.images import Proposal, Proposed, propose
from reconciler.model.errors import DONE, FAILED
from reconciler.model.text import counted, visible
from reconciler.model.values import Model
from reconciler.plan.reasons import request_text

_REGION = "us-east-1"
_MOST_SHOWN = 10
"""Commands that are not followed of which each has a line."""


@click.command("init")
@click.option("--write", is_flag=True, help="Write the declarations. Templates are never changed.")
@options.as_json
@options.directory
def command(*, write: bool, as_json: bool, directory: Path) -> int:
    """Propose a declaration for each Packer template of this repository, and show what stays open.

    Finds HCL2 folders and files, JSON templates, and how Makefiles, scripts and CI files run them. Reads the files as
    they lie in the checkout, committed or not. What is proposed is valid as it is. Nothing is changed without --write,
    and no template ever.

    Exit codes: 0 there is something to declare or declared, 1 no template makes an image.
    """
    workspace = Workspace(directory, unborn=True)
    root = workspace.repository.root
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _REGION
    proposal = propose(workspace.repository.worktree_tree(), repository=root.name, region=region)
    if write:
        for one in proposal.images:
            write_file(root / one.path, one.text())
    if as_json:
        show_json(_answer(proposal, written=write).model_dump_json(indent=2))
    else:
        _print(proposal, written=write)
    return DONE if proposal.images or proposal.declared else FAILED


def _print(proposal: Proposal, *, written: bool) -> None:
    show_text(_headline(proposal), hang=2)
    for one in proposal.images:
        click.echo()
        click.echo(f"{one.path}")
        for line in one.text().splitlines():
            click.echo(f"  {visible(line)}")
        for line in _facts(one):
            show_text(f"  # {line}", hang=4)
    if proposal.left_out:
        click.echo("\nLeft out")
        for left in proposal.left_out:
            show_text(f"  {visible(left.path)}: {visible(left.why)}", hang=4)
            if left.hint:
                show_text(f"    {visible(left.hint)}", hang=6)
    if proposal.not_followed:
        click.echo("\nNot followed: what is built there is known only when it runs")
        for place in proposal.not_followed[:_MOST_SHOWN]:
            show_text(f"  {visible(str(place))}", hang=4)
        if len(proposal.not_followed) > _MOST_SHOWN:
            click.echo(f"  and {len(proposal.not_followed) - _MOST_SHOWN} more: --json has them all")
    click.echo()
    show_text(_what_next(proposal, written=written))


def _headline(proposal: Proposal) -> str:
    images = counted(len(proposal.images), "image")
    templates = counted(len({one.image.template.files for one in proposal.images}), "template")
    opened = sum(len(one.open) for one in proposal.images)
    parts = [f"{images} in {templates}"]
    if opened:
        parts.append(f"{counted(opened, 'question')} open")
    if proposal.left_out:
        parts.append(f"{len(proposal.left_out)} left out")
    if proposal.declared:
        parts.append(f"{len(proposal.declared)} declared already")
    return "; ".join(parts)


def _facts(one: Proposed) -> Iterator[str]:
    """What the template says itself, so that it need not be declared; then what is open."""
    image = one.image
    source = request_text(image.source) if image.source is not None else "what the template chooses"
    builders = ", ".join(builder.name for builder in image.template.builders)
    yield f"{builders} on {source}, in {', '.join(image.locations)}"
    yield f"{counted(len(image.inputs), 'input')}" + (f"; built today by {one.found_in}" if one.found_in else "")
    for question in one.open:
        yield f"open: {question}"


def _what_next(proposal: Proposal, *, written: bool) -> str:
    if not proposal.images:
        if any(one.hint for one in proposal.left_out):
            return "No declaration can be proposed. What is left out is declared by hand, with what is said of it."
        return "Nothing is left to declare." if proposal.declared else "No template here makes an image."
    files = counted(len(proposal.images), "file")
    if not written:
        return f"Nothing was written. `reconciler init --write` writes {files}, and changes no template."
    return f"Wrote {files}. Next: `reconciler validate --worktree`, then commit and push them, and `reconciler plan`."


class ProposedImage(Model):
    """A declaration that would be valid as it is."""

    image: str
    path: str
    declaration: dict[str, Any] = Field(description="As image.yaml would have it.")
    builders: tuple[str, ...]
    source: dict[str, Any] | None = Field(description="What it is built on; null where the template chooses it.")
    regions: tuple[str, ...]
    inputs: int = Field(description="How many files decide what comes out.")
    found_in: str | None = Field(description="What builds it today.")
    open: tuple[str, ...] = Field(description="Questions that only a person can answer.")


class LeftOut(Model):
    """A template that makes no image, and why."""

    path: str
    why: str
    hint: str = Field("", description="What a person adds to declare it nevertheless.")


class InitAnswer(Model):
    """The answer of `reconciler init --json`."""

    format_version: Literal["1.0"] = "1.0"
    written: bool
    images: tuple[ProposedImage, ...]
    left_out: tuple[LeftOut, ...]
    declared: tuple[str, ...] = Field(description="Images that are declared already.")
    not_followed: tuple[str, ...] = Field((), description="Commands that build what is only known when they run.")


def _answer(proposal: Proposal, *, written: bool) -> InitAnswer:
    return InitAnswer(
        written=written,
        images=tuple(map(_proposed, proposal.images)),
        left_out=tuple(LeftOut(path=left.path, why=left.why, hint=left.hint) for left in proposal.left_out),
        declared=proposal.declared,
        not_followed=tuple(map(str, proposal.not_followed)),
    )


def _proposed(one: Proposed) -> ProposedImage:
    source = one.image.source
    return ProposedImage(
        image=one.image.name, path=one.path, declaration=dict(one.declaration),
        builders=tuple(builder.name for builder in one.image.template.builders),
        source=source.model_dump(mode="json", exclude_none=True) if source is not None else None,
        regions=tuple(one.image.locations), inputs=len(one.image.inputs),
        found_in=str(one.found_in) if one.found_in else None, open=tuple(one.open),
    )  # fmt: skip
