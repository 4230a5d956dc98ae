"""How answers reach a terminal, a pipe or a file."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.model.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

_PIPED_WIDTH = 100
_DEEPEST = 24
"""Columns: a hanging indent beyond this would leave no room at 80."""

TIE = "\N{NO-BREAK SPACE}"
"""Keeps two words on one line in `show_text`; printed as a space."""


def show_text(text: str, *, hang: int = 0) -> None:
    """Print prose on stdout, wrapped to its width; lines after the first begin `hang` columns in.

    A word is never broken, so that ids and paths can be copied.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _width()
    indent = " " * min(hang, _DEEPEST)
    for line in textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        click.echo(line.rstrip().replace(TIE, " "))


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


def write_file(path: Path, text: str) -> None:
    """Write an answer to a file that a person named, and the folders above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from error


def _width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) >= 40 else _PIPED_WIDTH
