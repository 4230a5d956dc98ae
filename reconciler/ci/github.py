"""What GitHub Actions sets in a job, and what it shows of what a job prints.

Sources, all of docs.github.com/en/actions: "Variables reference", "Events that trigger workflows", "Workflow commands
for GitHub Actions".
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from reconciler.ci.job import Job
from reconciler.model.errors import ReconcilerError

TELLING = (
    "GITHUB_ACTIONS", "GITHUB_EVENT_NAME", "GITHUB_EVENT_PATH", "GITHUB_HEAD_REF", "GITHUB_JOB", "GITHUB_REF",
    "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT", "GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
)  # fmt: skip
"""What it sets, and nobody else. A person may have GITHUB_TOKEN and GITHUB_API_URL: they don't tell of a job."""

# Who starts these may push, or started them by pushing.
_OF_A_BRANCH = frozenset({"push", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group"})
_OF_A_PULL_REQUEST = frozenset({"pull_request", "pull_request_target"})
_BRANCH = "refs/heads/"
_MOST = 1 << 20
"""Bytes of a step's summary: GitHub shows none that is longer."""


def job(environment: Mapping[str, str]) -> Job | None:
    """The job that GitHub Actions says to run; None where nothing is of GitHub Actions."""
    if not any(environment.get(name) for name in TELLING):
        return None
    event = _event(environment)
    pull_request = event.get("pull_request")
    of_branch = environment.get("GITHUB_REF", "").removeprefix(_BRANCH)
    branch = of_branch if environment.get("GITHUB_REF", "").startswith(_BRANCH) else None
    number = None
    if isinstance(pull_request, dict):
        head, number = pull_request.get("head"), pull_request.get("number")
        branch = head.get("ref") if isinstance(head, dict) else None
    return Job(
        provider="github-actions",
        url=_url(environment),
        name=environment.get("GITHUB_JOB") or None,
        branch=branch if isinstance(branch, str) and branch else None,
        pull_request=number if isinstance(number, int) else None,
        repository=environment.get("GITHUB_REPOSITORY") or None,
        stranger=_stranger(environment, event),
    )


def _stranger(environment: Mapping[str, str], event: Mapping[str, Any]) -> str:
    name = environment.get("GITHUB_EVENT_NAME", "")
    if name in _OF_A_BRANCH and "pull_request" not in event:
        of_branch = environment.get("GITHUB_REF", "").startswith(_BRANCH)
        return "" if of_branch else "GitHub names no branch that this would be of"
    if name not in _OF_A_PULL_REQUEST:
        return f"The event {name or 'without a name'} does not tell whose commit is checked out"
    head, base = _side(event, "head"), _side(event, "base")
    theirs, ours = _repository(head), _repository(base)
    if ours is None or str(ours.get("full_name")).lower() != environment.get("GITHUB_REPOSITORY", "").lower():
        return "GitHub does not tell whose pull request this is"
    # The repository of a fork that was deleted is null.
    if theirs is None or theirs.get("id") is None or theirs.get("id") != ours.get("id"):
        return "This is a fork's pull request"
    told = environment.get("GITHUB_HEAD_REF", "")
    return "" if told == head.get("ref") else f"GitHub names two branches: {told or 'none'} and {head.get('ref')}"


def _event(environment: Mapping[str, str]) -> Mapping[str, Any]:
    """What the job's event was. Empty where it can't be read: then nothing tells whose the commit is."""
    with suppress(OSError, ValueError):
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_bytes())
        if isinstance(event, dict):
            return event
    return {}


def _side(event: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    pull_request = event.get("pull_request")
    found = pull_request.get(side) if isinstance(pull_request, dict) else None
    return found if isinstance(found, dict) else {}


def _repository(side: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = side.get("repo")
    return found if isinstance(found, dict) else None


def _url(environment: Mapping[str, str]) -> str | None:
    server, repository = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    run, attempt = environment.get("GITHUB_RUN_ID"), environment.get("GITHUB_RUN_ATTEMPT", "1")
    if not (server and repository and run):
        return None
    return f"{server}/{repository}/actions/runs/{run}" + (f"/attempts/{attempt}" if attempt != "1" else "")


def summarize(environment: Mapping[str, str], markdown: str) -> None:
    """Add to what GitHub shows on the page of the run. Nothing elsewhere; what can't be written is not shown."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    with suppress(OSError):
        file = Path(path)
        there = file.stat().st_size if file.exists() else 0
        text = markdown.encode()
        if there + len(text) <= _MOST:
            with file.open("ab") as summary:
                summary.write(text)


class Annotations:
    """Marks errors in the files of a pull request, and sees to it that nobody else's lines do more than be read.

    GitHub takes a line that begins with `::` (or holds `##[`) as a command, whoever printed it: a provisioner, or the
    name of a file. So commands are stopped but while one of ours is written.
    """

    def __init__(self, stream: IO[str], *, workspace: Path) -> None:
        """`stream` is one that the runner reads, `workspace` the folder that paths are shown from."""
        self._stream, self._workspace = stream, workspace
        self._token = secrets.token_hex(16)

    @contextmanager
    def only_ours(self) -> Iterator[None]:
        """Have no line taken as a command that is printed meanwhile, but those of `mark`."""
        self._write(f"::stop-commands::{self._token}")
        try:
            yield
        finally:
            self._write(f"::{self._token}::")

    def mark(self, error: ReconcilerError, *, folder: Path) -> None:
        """Show an error at its place. `folder` is where its path begins."""
        properties = {"title": "reconciler"}
        if error.where is not None:
            path = (folder / error.where.path).absolute()
            if path.is_relative_to(self._workspace):
                properties["file"] = str(path.relative_to(self._workspace))
                properties.update({"line": str(error.where.line)} if error.where.line else {})
                properties.update({"col": str(error.where.column)} if error.where.column else {})
        said = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
        self._write(f"::{self._token}::")
        self._write(f"::error {said}::{_escaped(_without_place(error))}")
        self._write(f"::stop-commands::{self._token}")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _without_place(error: ReconcilerError) -> str:
    return str(ReconcilerError(error.what, mend=error.mend))


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
