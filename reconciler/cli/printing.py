"""How answers reach a terminal, a pipe or a file."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.ci.github import Annotations, annotations_of, summarize
from reconciler.model.errors import ReconcilerError, UserError
from reconciler.model.text import visible_json
from reconciler.state.files import ignores_itself

if TYPE_CHECKING:
    from rich.console import RenderableType

    from reconciler.model.plan import Plan

_PIPED_WIDTH = 100
_GAP = 2
_LEAST_PROSE = 16
"""Columns: prose in less than this is a word a line."""
_DEEPEST = 24
"""Columns: a hanging indent beyond this would leave no room at 80."""

_MARKS: ContextVar[Annotations | None] = ContextVar("marks", default=None)

TIE = "\N{NO-BREAK SPACE}"
"""Keeps two words on one line in `show_text`; printed as a space."""


def show_text(text: str, *, hang: int = 0) -> None:
    """Print prose on stdout, wrapped to its width; lines after the first begin `hang` columns in.

    A word is never broken, so that ids and paths can be copied.
    """
    width = _width()
    indent = " " * min(hang, _DEEPEST)
    for line in textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        click.echo(line.rstrip().replace(TIE, " "))


def show_json(answer: object) -> None:
    """Print an answer on stdout as JSON: data, or a model's text. What others wrote in it steers no terminal."""
    text = answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False)
    click.echo(visible_json(text))


def show_table(table: RenderableType) -> None:
    """Print a table on stdout: as wide and as colourful as the terminal, or plain where it is none."""
    from rich.console import Console  # noqa: PLC0415 - rich costs 80 ms, and most answers are no tables

    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    text = StringIO()
    Console(file=text, highlight=False, no_color=True, width=_width()).print(table)
    # Tables fill their last column with blanks, which a diff of two answers would show.
    for line in text.getvalue().splitlines():
        click.echo(line.rstrip())


def fits(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether `show_rows` has the room for a table in which nothing but the last column is wrapped."""
    from rich.cells import cell_len  # noqa: PLC0415 - as above

    columns = zip(titles, *rows, strict=True)
    *whole, prose = (max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns)
    return sum(width + _GAP for width in whole) + min(prose, _LEAST_PROSE) <= _width()


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows on stdout, as a table whose last column is prose; where that is too wide, a paragraph for each row.

    So the words that people copy, names and ids, are whole in every width.
    """
    if not fits(titles, rows):
        for row in rows:
            _show_paragraph(titles, row)
        return
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title != titles[-1])
    for row in rows:
        table.add_row(*map(Text, row))
    show_table(table)


def _show_paragraph(titles: Sequence[str], row: Sequence[str]) -> None:
    show_text(row[0])
    for title, cell in zip(titles[1:], row[1:], strict=True):
        if cell:
            show_text(f"  {title}: {'; '.join(cell.splitlines())}", hang=4)


@contextmanager
def marking_errors() -> Iterator[None]:
    """Have GitHub Actions, where it runs this, show errors at their places, and take no other line as a command."""
    marks = annotations_of(os.environ, sys.stderr)
    if marks is None:
        yield
        return
    with marks.only_ours():
        before = _MARKS.set(marks)
        try:
            yield
        finally:
            _MARKS.reset(before)


def show_error(text: str, error: ReconcilerError, *, folder: Path | None = None) -> None:
    """Print an error on stderr, and mark its place where the CI can. Its path begins at `folder`, or where we are."""
    with suppress(OSError):  # nobody reads it any more: the exit code tells
        click.echo(text, err=True)
    if marks := _MARKS.get():
        marks.mark(error, folder=folder or Path.cwd())


def show_summary(plan: Plan) -> None:
    """Add a plan to the page of the CI's run, where it has one."""

    def written() -> str:
        from reconciler.words.markdown import render  # noqa: PLC0415 - few runs have a page

        return render(plan)

    summarize(os.environ, written)


RUN_FOLDER = ".reconciler"
"""The folder of logs, keys and work folders of runs, in the checkout. It ignores itself."""


def write_file(path: Path, text: str) -> None:
    """Write an answer to a file that a person named, and the folders above it; through no link, as `refuse_links`.

    In the folder of runs that ignores itself, as if a run had made it.
    """
    refuse_links(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.parents:
            if folder.name == RUN_FOLDER and not (folder / ".gitignore").exists():
                ignores_itself(folder)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from error


def refuse_links(path: Path, *, folder: Path | None = None) -> None:
    """Raise UserError where a path leads through a link below a folder; absent: the one where we are.

    That may be a stranger's checkout, and then it leads anywhere.
    """
    here = folder or Path.cwd()
    below = (here / path).relative_to(here) if (here / path).is_relative_to(here) else Path()
    for one in (*reversed(below.parents), below):
        if (here / one).is_symlink():
            raise UserError(
                f"{one} is a link, and a commit may have brought it: {path} is not written through it",
                hint="name another place, or one outside of the checkout",
            )


def _width() -> int:
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) >= 40 else _PIPED_WIDTH
