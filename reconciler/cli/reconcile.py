"""`reconciler reconcile`: build, adopt, copy and record until nothing has drifted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import click
from pydantic import Field, ValidationError

from reconciler.ci.job import job_of
from reconciler.cli import options
from reconciler.cli.adapters import LocalAdapters, new_request, recorded_on
from reconciler.cli.gc import show_collected
from reconciler.cli.printing import TIE, show_json, show_text, write_file
from reconciler.cli.progress import LogForm, cancelled_by_signal, watching
from reconciler.cli.workspace import Workspace, note, origin_of
from reconciler.controller import preview as run_preview
from reconciler.controller import reconcile as run
from reconciler.git.command import Git
from reconciler.git.repository import Repository
from reconciler.model.collection import Collection
from reconciler.model.difference import Difference
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.plan import Plan, PlannedImage, PlanOptions
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.text import counted, duration, visible
from reconciler.model.values import BRIEF, Model, is_empty
from reconciler.plan.standing import outcome, texts, with_hints
from reconciler.steps.observe import settings_at
from reconciler.steps.run import Deed, Report, Result, Status
from reconciler.words import plans

_KEPT_SECONDS = 3600
_MOST_TIED = 50
"""Characters of a place that stays on one line."""
"""How long an instance stays that a person wants to look at."""


@click.command("reconcile")
@options.selection
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Do what this plan says (from `plan --out`), and refuse if anything changed since.",
)
@click.option("--max-actions", type=click.IntRange(min=1), help="Allow so many images to be acted on in this run.")
@options.log
@click.option("--preview", is_flag=True, help="Build what this branch would change, and record it in tags alone.")
@click.option("--branch", metavar="NAME", help="The branch that is previewed, where HEAD is detached.")
@click.option(
    "--pull-request", type=click.IntRange(min=1), metavar="N", help="Its pull request. Default: what the CI says."
)
@click.option(
    "--keep-failed",
    is_flag=True,
    help="Leave an instance that fails its smoke test running for an hour, and say how to log in.",
)
@options.junit
@options.as_json
@options.directory
def command(
    selection: options.Selection,
    *,
    plan_file: Path | None,
    max_actions: int | None,
    log_form: LogForm,
    preview: bool,
    branch: str | None,
    pull_request: int | None,
    keep_failed: bool,
    junit: Path | None,
    as_json: bool,
    directory: Path,
) -> int:
    """Build, adopt, copy and record until nothing has drifted.

    Works from the pushed head of the branch that state is recorded to. Each image is committed and pushed as it ends.
    With --preview it works from HEAD, promotes nothing and commits nothing: after the merge the same image is promoted.

    Exit codes: 0 done, 1 error, 3 some images failed (the rest is recorded), 4 lost the race for the branch (what was
    built is kept and will be adopted), 130 interrupted.
    """
    if preview and selection.asks:
        raise UserError(
            "--preview builds what the merge will find and promote, which honours the pins in state/",
            hint="leave out --refresh, --force, --prune and --lost",
        )
    workspace = Workspace(directory)
    asked = selection.options(preview=preview)
    expected = _read_plan(plan_file, asked) if plan_file else None
    workspace.run_folder()  # where it can't be written, nothing is begun
    workspace.say_dirty()
    request = new_request(asked, expected=expected, max_actions=max_actions)
    job = job_of(os.environ)
    origin = origin_of(workspace.repository, job, named=branch, number=pull_request) if preview else None
    if origin is not None and not origin.branch:
        raise UserError("HEAD is detached, and nothing says which branch it is", hint="name it: --branch NAME")
    with cancelled_by_signal() as cancelled, watching(log_form) as listener:
        adapters = LocalAdapters(workspace, listener, cancelled, keep_failed=_KEPT_SECONDS if keep_failed else 0)
        report = run_preview(adapters, request, origin) if origin else run(adapters, request)
    if junit is not None:
        write_file(junit, _as_junit(report))
    if as_json:
        show_json(_answer(report, workspace.repository.git).model_dump_json(indent=2))
    else:
        remote = settings_at(workspace.repository.tree()).git.remote
        _print(report, recorded_on(workspace, report), workspace.repository, remote=remote)
    return report.exit_code


def _read_plan(path: Path, asked: PlanOptions) -> Plan:
    if asked != PlanOptions():
        raise UserError(
            "a plan file holds its own options", hint="leave the images and options out, or leave out --plan"
        )
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path} is no plan: {where}: {first['msg']}", hint="make one with `reconciler plan --out FILE`"
        ) from error
    if plan.options.offline:
        raise UserError(f"{path} was planned offline, without reading the registry", hint="plan it without --offline")
    return plan


def _print(report: Report, branch: str, repository: Repository, *, remote: str) -> None:
    if not report.results:
        nothing = "nothing to do" if all(image.sync == "in-sync" for image in report.plan.images) else "nothing is done"
        show_text(f"{plans.headline(report.plan)}: {nothing}.", hang=2)
    width = max((len(result.image) for result in report.results), default=0)
    hints: set[str] = set()
    for result in report.results:
        for line in _lines(result, width):
            show_text(line, hang=width + 14)
        for line in with_hints(result.tested.findings if result.tested is not None else (), given=hints):
            show_text(f"  {line}", hang=4)
    tags = sum(len(result.tags) for result in report.results)
    if report.commits:
        pushed_to = "pushed to" if repository.remote(remote) is not None else "on"
        where = f"{counted(len(report.commits), 'commit')} {pushed_to} {branch}"
        show_text(f"Recorded in state/: {where} ({report.commits[-1][:7]}), {counted(tags, 'tag')}.", hang=2)
    show_collected(report.collected)
    acted_on = {result.image: result for result in report.results}
    for image in report.plan.images:
        done = acted_on.get(image.image)
        if done is None and image.sync != "in-sync":
            for line in plans.sentences(image):
                note(f"{image.image}: {line}")
        elif done is not None and done.stands and image.waits_for not in (None, _not_published(image)):
            note(f"{image.image}: {image.waits_for}")  # what was not done, beside what was


def _not_published(image: PlannedImage) -> str:
    """What the plan found that can't be published: the run looked again, and where it is still so, the image failed."""
    refused = (one for one in image.reasons if one.code == "publication-changed")
    return "; ".join(one.was or "" for one in refused if one.now in ("not refreshed", "not written"))


def _lines(result: Result, width: int) -> Iterator[str]:
    """What became of an image, and each thing that was done beside it. What was changed is said by these alone."""
    if result.status != "changed" or not result.did:
        yield _line(result, width)
    for deed in result.did:
        yield f"{result.image:<{width}}  {deed.verb:<10}  {visible(deed.what)}"


def _line(result: Result, width: int) -> str:
    parts: list[str] = []
    if result.why:
        parts = [visible(result.why.splitlines()[0])]
    elif result.build:
        took = [duration(result.seconds).replace(" ", TIE)] if result.seconds else []
        test = [outcome(result.tested).replace(" ", TIE)] if result.tested is not None else []
        places = [_place(one) for one in result.build.artifacts]
        parts = [result.build.id, *took, *test, *places]
    return f"{result.image:<{width}}  {result.status:<10}  {'  '.join(parts)}"


def _place(artifact: Artifact) -> str:
    """An artifact's location and its id; on one line where both are short."""
    short = len(artifact.location) + len(artifact.id) < _MOST_TIED
    return f"{artifact.location}{TIE if short else ' '}{artifact.id}"


def _as_junit(report: Report) -> str:
    from reconciler.words.junit import Outcome, of_run  # noqa: PLC0415 - needed only here

    def outcome_of(result: Result) -> Outcome:
        seconds, findings = (result.tested.seconds, texts(result.tested.findings)) if result.tested else (0, ())
        return Outcome(
            result.image, result.status, result.seconds, result.why, _told(result), test_seconds=seconds,
            findings=findings,
        )  # fmt: skip

    return of_run(report.plan, map(outcome_of, report.results))


def _told(result: Result) -> tuple[str, ...]:
    """What went wrong, with the last lines of the build or of its test."""
    if result.error is None:
        return (result.why,) if result.why else ()
    return (str(result.error), *getattr(result.error, "tail", ()))


class ImageResult(Model):
    """One image of a run, and what became of it."""

    image: str
    status: Status
    why: str | None = None
    did: tuple[Deed, ...] = Field((), description="Beside a build or an adoption; of a `changed` image, all of it.")
    build: Annotated[Build | None, BRIEF] = Field(None, description="As in the lockfile: the one that counts now.")
    smoke_test: Annotated[SmokeTestResult | None, BRIEF] = Field(None, description="Of what was built or adopted.")
    difference: Annotated[Difference | None, BRIEF] = Field(
        None, description="What changed inside since the candidate; null where one of the two is not known."
    )
    commit: str | None = Field(None, description="The commit that recorded it.")
    tags: tuple[str, ...] = ()


class RunAnswer(Model):
    """The answer of `reconciler reconcile --json`."""

    format_version: Literal["1.2"] = "1.2"
    branch: str = Field(description="The branch that state is recorded to.")
    exit_code: int
    plan: Annotated[Plan, BRIEF]
    results: tuple[ImageResult, ...] = Field(description="Every image that was acted on.")
    collected: Annotated[Collection | None, BRIEF] = Field(
        None, description="What may go, and the steps that were taken, with `gc.apply`.", exclude_if=is_empty
    )


def _answer(report: Report, git: Git) -> RunAnswer:
    return RunAnswer(
        branch=report.target.branch,
        exit_code=report.exit_code,
        plan=report.plan,
        results=tuple(
            ImageResult(
                image=result.image, status=result.status, why=result.why or None, did=result.did, build=result.build,
                smoke_test=result.tested, difference=result.difference, commit=result.commit,
                tags=tuple(git.tag(name) for name in result.tags),
            )
            for result in report.results
        ),
        collected=report.collected,
    )  # fmt: skip
