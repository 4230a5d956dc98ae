"""A difference on a terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reconciler.model.difference import Difference
from reconciler.model.printable import visible
from reconciler.plan.difference import words

_COLOURS = {"added": "green", "removed": "red", "downgraded": "magenta"}

_Row = tuple[str, str, str, str]


def render(difference: Difference) -> RenderableType:
    """All that changed: what kind of thing, how, its name, and the versions. Empty where nothing did."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    shown = ""
    for noun, change, name, versions in _rows(difference):
        coloured = Text(change, style=_COLOURS.get(change, ""))
        table.add_row("" if noun == shown else noun, coloured, Text(visible(name)), Text(visible(versions)))
        shown = noun
    if not table.row_count:
        return Text("")
    return Group(Text(""), Padding(table, (0, 0, 0, 2)))


def _rows(difference: Difference) -> Iterator[_Row]:
    for noun, moved in (("system", difference.os), ("kernel", difference.kernel)):
        if moved:
            yield noun, "changed", moved.old, f"→ {moved.new}"
    for noun, listed in words.listings(difference):
        changed, others = words.apart(listed)
        yield from ((noun, "changed", name, f"{moved.old} → {moved.new}") for name, moved in changed)
        yield from ((noun, "added", one, "") for one in others.added)
        yield from ((noun, "removed", one, "") for one in others.removed)
    for name, change in words.named(difference):
        versions = change.new or change.old or ""
        if change.old is not None and change.new is not None:
            versions = f"{change.old} → {change.new}"
        yield "package", change.change, name, versions
