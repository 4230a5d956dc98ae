"""`reconciler test`: a recorded build, booted and tested by the suite as it is now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from reconciler.ci.job import job_of
from reconciler.cli import options
from reconciler.cli.adapters import LocalAdapters, new_request
from reconciler.cli.printing import show_json, show_text
from reconciler.cli.progress import LogForm, cancelled_by_signal, watching
from reconciler.cli.workspace import Workspace, origin_of, refuse_written_state
from reconciler.controller import test
from reconciler.model.errors import DONE, PARTIAL, Terminal, Transient
from reconciler.model.plan import PlanOptions
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.values import Digest, Model
from reconciler.plan.standing import lines, outcome, with_hints
from reconciler.steps.whose_branch import refuse_stranger


@click.command("test")
@click.argument("image", shell_complete=options.complete_images)
@click.argument("build", required=False)
@options.log
@options.as_json
@options.directory
def command(image: str, build: str | None, *, log_form: LogForm, as_json: bool, directory: Path) -> int:
    """Boot a recorded build, and test it by the suite of the commit that is checked out. Nothing is built or recorded.

    Without a build, it is what `stable` points to, or else the candidate. A suite is code: in CI, nothing is run of a
    commit that is not known to be on a branch of the repository itself.

    Exit codes: 0 passed, or can't be booted; 1 error, 3 it did not pass.
    """
    workspace = Workspace(directory)
    repository, job = workspace.repository, job_of(os.environ)
    refuse_written_state(workspace, repository.tree())
    refuse_stranger(repository, origin_of(repository, job))
    workspace.run_folder()
    request = new_request(PlanOptions(images=(image,)))
    with cancelled_by_signal() as cancelled, watching(log_form) as listener:
        try:
            result = test(LocalAdapters(workspace, listener, cancelled), request, image, build)
        except Transient as error:
            # Of other verbs 3 says that some of it failed; here it says that a test did not pass, and none was made.
            raise Terminal(error.what, where=error.where, hint=error.hint) from error
    if result.build is None or result.tested is None:
        raise AssertionError("a test has a build and an outcome")
    failed = result.tested.status == "failed"
    if as_json:
        answer = TestAnswer(
            exit_code=PARTIAL if failed else DONE, image=image, build=result.build.id, head=repository.head,
            smoke_test=result.tested,
        )  # fmt: skip
        show_json(answer.model_dump_json(indent=2))
        return answer.exit_code
    show_text(f"{image} {result.build.id}: {outcome(result.tested)}", hang=2)
    for line in lines(result.tested) if failed else with_hints(result.tested.findings, given=set()):
        show_text(f"  {line}", hang=4)
    return PARTIAL if failed else DONE


class TestAnswer(Model):
    """The answer of `reconciler test --json`."""

    __test__ = False  # not one of pytest's

    format_version: Literal["1.0"] = "1.0"
    exit_code: int
    image: str
    build: str
    head: Digest = Field(description="The commit whose suite it was tested by.")
    smoke_test: SmokeTestResult = Field(description="What came of it, as in the lockfile; it is not recorded.")
