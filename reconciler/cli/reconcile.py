"""`reconciler reconcile`: build, adopt, copy and record until nothing has drifted."""

from __future__ import annotations

import json
import os
import secrets
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from reconciler.cli import options
from reconciler.cli.progress import LogForm, watching
from reconciler.cli.signals import cancelled_by_signal
from reconciler.cli.workspace import Workspace, note, now, plan_options
from reconciler.controller import act, look, refuse_unsafe
from reconciler.git.target import Target
from reconciler.model.errors import UserError
from reconciler.model.events import Listener
from reconciler.model.lockfile import CiRun
from reconciler.model.plan import Plan, PlanOptions
from reconciler.plan import words
from reconciler.plan.planning import FleetPlan, Known
from reconciler.registry.protocol import Registry
from reconciler.steps.result import Report, Result
from reconciler.steps.run import Run


@click.command("reconcile")
@options.selection
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Do what this plan says (from `plan --out`), and refuse if anything changed since.",
)
@click.option("--max-actions", type=click.IntRange(min=1), help="Allow so many images to be acted on in this run.")
@click.option(
    "--log",
    "log_form",
    type=click.Choice(["auto", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How progress is told on stderr.",
)
@options.as_json
@options.directory
def command(
    images: tuple[str, ...],
    *,
    refresh: bool,
    forced: tuple[str, ...],
    prune: bool,
    plan_file: Path | None,
    max_actions: int | None,
    log_form: LogForm,
    as_json: bool,
    directory: Path,
) -> int:
    """Build, adopt, copy and record until nothing has drifted.

    Works from the pushed head of the branch that state is recorded to. Each image is committed and pushed as it ends.

    Exit codes: 0 done, 1 error, 3 some images failed (the rest is recorded), 4 lost the race for the branch (what was
    built is kept and will be adopted), 130 interrupted.
    """
    workspace = Workspace(directory)
    asked = plan_options(images, refresh=refresh, forced=forced, prune=prune)
    expected = _read_plan(plan_file, asked) if plan_file else None
    settings = workspace.settings(workspace.repository.tree())
    target = workspace.repository.target(settings.git)
    _refuse_elsewhere(target)
    known = workspace.read(workspace.repository.tree(target.head), expected.options if expected else asked)
    with cancelled_by_signal() as cancelled:
        registry = workspace.registry(known, cancelled=cancelled)
        known, planned = look(known, registry)
        refuse_unsafe(planned.plan, known, expected=expected, allowed=max_actions)
        with watching(log_form) as listener:
            run = _run(workspace, known, registry, listener=listener, cancelled=cancelled)
            report = act(replace(run, builder=workspace.builder()) if _builds(planned) else run, planned)
    if as_json:
        click.echo(json.dumps(_as_json(report, target), indent=2, ensure_ascii=False))
    else:
        _print(report, target, pushed=workspace.repository.remote(settings.git.remote) is not None)
    return report.exit_code


def _run(
    workspace: Workspace, known: Known, registry: Registry, *, listener: Listener, cancelled: threading.Event
) -> Run:
    return Run(
        known=known,
        repository=workspace.repository,
        recorder=workspace.recorder(known.fleet.settings),
        registry=registry,
        builder=None,
        folder=workspace.run_folder(),
        run_id=f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        now=now,
        listener=listener,
        ci=_ci_run(),
        cancelled=cancelled,
    )


def _builds(planned: FleetPlan) -> bool:
    """Whether Packer is needed: a copy needs none."""
    return any("build" in image.actions for image in planned.plan.images)


def _refuse_elsewhere(target: Target) -> None:
    if target.elsewhere is not None:
        raise UserError(
            f"state is recorded to {target.branch}, and the checkout is on {target.elsewhere}",
            mend=(f"`git switch {target.branch}`", "what this branch would change: `reconciler plan`"),
        )
    if target.unpushed:
        named = ", ".join(f"{commit.oid[:7]} {commit.subject}" for commit in target.unpushed[:3])
        more = f" and {len(target.unpushed) - 3} more" if len(target.unpushed) > 3 else ""
        note(f"not pushed to {target.branch}, so not considered: {named}{more}")


def _read_plan(path: Path, asked: PlanOptions) -> Plan:
    if asked != PlanOptions():
        raise UserError(
            "a plan file holds its own options", mend="leave the images and options out, or leave out --plan"
        )
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path} is no plan: {where}: {first['msg']}", mend="make one with `reconciler plan --out FILE`"
        ) from error
    if plan.options.offline:
        raise UserError(f"{path} was planned offline, without reading the registry", mend="plan it without --offline")
    return plan


def _ci_run() -> CiRun | None:
    url = os.environ.get("CIRCLE_BUILD_URL")
    return CiRun(provider="circleci", url=url) if url else None


def _print(report: Report, target: Target, *, pushed: bool) -> None:
    if not report.results:
        click.echo(f"{words.headline(report.plan)}: nothing to do.")
        return
    width = max(len(result.image) for result in report.results)
    for result in report.results:
        click.echo(_line(result, width))
    commits = [result.commit for result in report.results if result.commit]
    tags = sum(len(result.tags) for result in report.results)
    if commits:
        where = f"{_count(len(commits), 'commit')} {'pushed to' if pushed else 'on'} {target.branch}"
        click.echo(f"Recorded in state/: {where} ({commits[-1][:7]}), {_count(tags, 'tag')}.")
    unsettled = [image for image in report.plan.images if image.errors or image.unknown]
    for image in unsettled:
        for line in words.details(image):
            note(f"{image.image}: {line}")


def _line(result: Result, width: int) -> str:
    where = "  ".join(f"{one.location} {one.id}" for one in result.build.artifacts) if result.build else ""
    took = f"  {words.duration(result.seconds)}" if result.seconds else ""
    what = result.why.splitlines()[0] if result.why else f"{result.build.id if result.build else ''}  {where}{took}"
    return f"{result.image:<{width}}  {result.status:<10}  {what}".rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(report: Report, target: Target) -> dict[str, Any]:
    return {
        "format_version": "1.0",
        "branch": target.branch,
        "exit_code": report.exit_code,
        "plan": report.plan.model_dump(mode="json", exclude_none=True),
        "results": [
            {
                "image": result.image,
                "status": result.status,
                "why": result.why or None,
                "build": result.build.model_dump(mode="json", exclude_none=True) if result.build else None,
                "commit": result.commit,
                "tags": result.tags,
            }
            for result in report.results
        ],
    }
