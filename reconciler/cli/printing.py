"""How answers reach a terminal, a pipe or a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console, RenderableType

from reconciler.model.errors import UserError

_PIPED_WIDTH = 100


def console() -> Console:
    """Stdout: as wide and as colourful as the terminal, and plain where it is none."""
    if sys.stdout.isatty():
        return Console(highlight=False, soft_wrap=False)
    width = int(os.environ.get("COLUMNS") or _PIPED_WIDTH) if (os.environ.get("COLUMNS") or "1").isdigit() else 100
    return Console(highlight=False, width=width, no_color=True, force_terminal=False)


def show(*answers: RenderableType) -> None:
    """Print to stdout; empty texts are left out."""
    out = console()
    for answer in answers:
        if answer == "":
            continue
        out.print(answer, markup=False)


def write_file(path: Path, text: str) -> None:
    """Write an answer to a file that a person named."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from error
