"""What GitHub Actions shows of a job: errors in the files of a pull request, and a summary on the page of the run.

Source: "Workflow commands for GitHub Actions" of docs.github.com/en/actions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from reconciler.model.errors import ReconcilerError

_MOST = 1 << 20
"""Bytes of a step's summary: GitHub shows none that is longer."""


def summarize(environment: Mapping[str, str], write: Callable[[], str]) -> None:
    """Add the Markdown that `write` gives to the page of the run. Nothing elsewhere; what can't be added is not shown.

    `write` is called only where there is such a page.
    """
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    with suppress(OSError):
        file = Path(path)
        there = file.stat().st_size if file.exists() else 0
        text = write().encode()
        if there + len(text) <= _MOST:
            with file.open("ab") as summary:
                summary.write(text)


def annotations_of(environment: Mapping[str, str], stream: IO[str]) -> Annotations | None:
    """The annotations of the job of GitHub's that runs this, written to `stream`; None where none does."""
    if "GITHUB_ACTIONS" not in environment:
        return None
    return Annotations(stream, workspace=Path(environment.get("GITHUB_WORKSPACE", ".")).absolute())


class Annotations:
    """Marks errors in the files of a pull request, and sees to it that nobody else's lines do more than be read.

    GitHub takes a line that begins with `::` (or holds `##[`) as a command, whoever printed it: a provisioner, or the
    name of a file. So commands are stopped but while one of ours is written.
    """

    def __init__(self, stream: IO[str], *, workspace: Path) -> None:
        """`stream` is one that the runner reads, `workspace` the folder that paths are shown from."""
        self._stream, self._workspace = stream, workspace
        self._token = os.urandom(16).hex()

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
        shown = f"::error {said}::{_escaped(_without_place(error))}"
        self._write(f"::{self._token}::", shown, f"::stop-commands::{self._token}")

    def _write(self, *lines: str) -> None:
        """Write lines at once: between two of them no other thread has its say."""
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()


def _without_place(error: ReconcilerError) -> str:
    return str(ReconcilerError(error.what, hint=error.hint))


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
