"""`reconciler adopt`: take an artifact that exists into state/, as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click
from pydantic import Field

from reconciler.cli import options
from reconciler.cli.adapters import LocalAdapters, new_request, recorded_on
from reconciler.cli.printing import TIE, show_json, show_text
from reconciler.cli.progress import LogForm, cancelled_by_signal, watching
from reconciler.cli.workspace import Workspace
from reconciler.controller import adopt
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.plan import PlanOptions
from reconciler.model.values import BRIEF, Model
from reconciler.plan.standing import outcome, with_hints
from reconciler.steps.run import Report, Result, Status

_SHORT = 72


@click.command("adopt")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("artifacts", nargs=-1, metavar="[ARTIFACT]...")
@click.option("--test", is_flag=True, help="Boot and smoke-test it first, and adopt it only if it passes.")
@options.log
@options.as_json
@options.directory
def command(
    image: str, artifacts: tuple[str, ...], *, test: bool, log_form: LogForm, as_json: bool, directory: Path
) -> int:
    """Take what exists into state/ as the image's build: as it is, marked as adopted, and not built anew.

    One artifact of the image's kind, or one in each of its locations: an AMI id, the digest of a container image or of
    a disk, the UUID of a template; with its location us-east-1:ami-…, registry/repository@sha256:…, /folder/sha256:….
    It has to be one's own, and no other image's or fleet's. It is recorded under the key that is wanted now; a later
    change of inputs builds anew. Marks are all that is written to where it is.

    What an earlier run built and could not record needs no adopting by hand: `reconciler reconcile` takes it up.

    Exit codes: 0 adopted, or recorded so already; 1 error, 3 it did not pass its test, 4 lost the race for the branch.
    """
    workspace = Workspace(directory)
    workspace.run_folder()
    request = new_request(PlanOptions(images=(image,)))
    with cancelled_by_signal() as cancelled, watching(log_form) as listener:
        report = adopt(LocalAdapters(workspace, listener, cancelled), request, image, artifacts, test=test)
    (result,) = report.results
    if as_json:
        show_json(_answer(report, result).model_dump_json(indent=2))
    else:
        _print(result, recorded_on(workspace, report))
    return report.exit_code


def _print(result: Result, branch: str) -> None:
    if result.build is None or result.why:
        show_text(f"{result.image}  {result.status}  {result.why.splitlines()[0]}", hang=2)
        return
    status = "adopted" if result.status == "adopted" else "adopted already"
    test = [outcome(result.tested).replace(" ", TIE)] if result.tested is not None else []
    places = [_place(one) for one in result.build.artifacts]
    show_text("  ".join([result.image, status, result.build.id, *test, *places]), hang=2)
    for line in with_hints(result.tested.findings if result.tested is not None else (), given=set()):
        show_text(f"  {line}", hang=4)
    if result.commit is not None:
        show_text(f"Recorded in state/ on {branch} ({result.commit[:7]}).", hang=2)


def _place(artifact: Artifact) -> str:
    """The place of an artifact, on one line if it can be: a digest in a folder may be longer than any."""
    whole = f"{artifact.location}{TIE}{artifact.id}"
    return whole if len(whole) <= _SHORT else whole.replace(TIE, " ")


class AdoptAnswer(Model):
    """The answer of `reconciler adopt --json`."""

    format_version: Literal["1.1"] = "1.1"
    exit_code: int
    image: str
    status: Status
    why: str | None = None
    build: Annotated[Build | None, BRIEF] = Field(None, description="As in the lockfile.")
    commit: str | None = Field(None, description="The commit that recorded it.")
    tags: tuple[str, ...] = ()


def _answer(report: Report, result: Result) -> AdoptAnswer:
    return AdoptAnswer(
        exit_code=report.exit_code, image=result.image, status=result.status, why=result.why or None,
        build=result.build, commit=result.commit, tags=result.tags,
    )  # fmt: skip
