"""A plan on a terminal, in 80 columns."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.text import visible
from reconciler.words import plans

_MOST_VERBS = 3
_NOTHING_BEFORE = plans.Steps()
_COLOURS = {"build": "yellow", "adopt": "green", "copy": "cyan", "retire": "red", "none": "dim"}
_WIDEST_NAME = 22
"""Columns. A longer name has a line of its own: names are copied, so they are never broken."""
_GAP = "  "
_LEAST_FACTS = 20
"""Columns. In less, or where a word is longer, facts stand below their reason."""
_BELOW = 6


@dataclass(frozen=True)
class _Row:
    """One reason of an image. The first of an image has its name and its actions, too."""

    name: str
    actions: tuple[str, ...]
    code: str
    facts: tuple[str, ...]


def render(plan: Plan) -> RenderableType:
    """The plan as it is printed, without its first line: one row an image that is not in sync."""
    changed = [image for image in plan.images if image.sync != "in-sync"]
    if not changed:
        return Text("")
    rows = [row for image in _told_once(changed) for row in _rows(image)]
    # Across the whole width: an error names a file and a line, which a narrow column would break.
    errors = [Padding(Text(line), (0, 0, 0, 2)) for image in changed for line in plans.errors(image)]
    return Group(Text(""), _Table(rows), Text(""), *errors, *([Text("")] if errors else []))


@dataclass(frozen=True)
class _Table:
    """Rows in columns, in which no word is broken that fits on a line."""

    rows: Sequence[_Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        columns = (
            max((wide for row in self.rows if (wide := cell_len(row.name)) <= _WIDEST_NAME), default=0),
            max(cell_len(action) for row in self.rows for action in (*row.actions, "")),
            max(cell_len(row.code) for row in self.rows),
        )
        left = options.max_width - sum(width + len(_GAP) for width in (0, *columns))
        for row in self.rows:
            yield from _lines(row, columns, console, left=left, width=options.max_width)


def _lines(row: _Row, columns: tuple[int, int, int], console: Console, *, left: int, width: int) -> Iterator[Text]:
    fits = left >= _LEAST_FACTS and all(cell_len(word) <= left for fact in row.facts for word in fact.split())
    room = left if fits else width - _BELOW
    facts = [line for fact in row.facts for line in Text(fact).wrap(console, room)]
    name = row.name
    if cell_len(name) > _WIDEST_NAME:
        for part in Text(name, style="bold").wrap(console, width - len(_GAP)):
            yield _line([part], ())
        name = ""
    cells = zip_longest(
        [Text(name, style="bold")], [Text(one, style=_COLOURS.get(row.actions[0], "")) for one in row.actions],
        [Text(row.code)], facts if fits else [], fillvalue=Text(""),
    )  # fmt: skip
    for parts in cells:
        yield _line(parts, columns)
    for fact in facts if not fits else ():
        yield Text(" " * _BELOW, no_wrap=True).append_text(fact)


def _line(parts: Sequence[Text], columns: Sequence[int]) -> Text:
    line = Text(_GAP, no_wrap=True)
    for part, wide in zip_longest(parts, columns):
        line.append_text(part)
        if wide is not None:
            line.append(" " * (wide - part.cell_len) + _GAP)
    line.rstrip()
    return line


def footer(plan: Plan, steps: plans.Steps = _NOTHING_BEFORE) -> str:
    """What is in sync, how long it will take, and what to do next."""
    parts = []
    in_sync = plans.in_sync_count(plan)
    if 0 < in_sync < len(plan.images):
        parts.append(f"{in_sync} in sync.")
    estimate = plans.estimate(plan)
    if estimate:
        parts.append(estimate)
    lines = [" ".join(parts)] if parts else []
    lines += [due] if (due := plans.due(plan)) else []
    lines += [found] if (found := plans.findings(plan)) else []
    if plan.applyable:
        lines.append(_next(plan, steps))
    return "\n".join(lines)


def _next(plan: Plan, steps: plans.Steps) -> str:
    allow = f" --max-actions {steps.to_allow}" if steps.to_allow is not None else ""
    run = f"`reconciler reconcile{_flags(plan)}{allow}` to {_verbs(plan)}."
    if steps.elsewhere is None:
        return f"{steps.before}, then run {run}" if steps.before else f"Run {run}"
    if plan.options.refresh or plan.options.force or plan.options.prune or plan.options.lost:
        # A preview takes none of these.
        return f"`git switch {shlex.quote(steps.elsewhere)}`, then run {run}"
    first = "Commit it, then run" if steps.before.startswith("Commit") else "Run"
    return f"{first} `reconciler reconcile --preview` to build what this branch would change."


def _told_once(images: Iterable[PlannedImage]) -> Iterator[PlannedImage]:
    """The images; where the same is unknown of several, and for the same reason, it is told of the first."""
    first: dict[tuple[str, ...], str] = {}
    for image in images:
        told = first.setdefault(image.unknown, image.image)
        again = image.unknown and told != image.image
        yield image.model_copy(update={"unknown": (f"as {told}",)}) if again else image


def _rows(image: PlannedImage) -> Iterator[_Row]:
    """A row for each reason, so that what was and is now stands beside its code; the first has the actions, too."""
    name, actions = visible(image.image), tuple(image.actions)
    for code, lines in plans.explained(image):
        yield _Row(name, actions, code, tuple(lines))
        name, actions = "", ()


def _verbs(plan: Plan) -> str:
    actions = list(dict.fromkeys(action for image in plan.images for action in image.actions if action != "none"))
    objects = "it" if sum(image.actions != ("none",) for image in plan.images) == 1 else "them"
    if len(actions) == 1:
        return f"{actions[0]} {objects}"
    if len(actions) > _MOST_VERBS:
        return "carry it out"
    return f"{', '.join(actions[:-1])} and {actions[-1]} {objects}"


def _flags(plan: Plan) -> str:
    options = plan.options
    flags = "".join(f" {image}" for image in options.images)
    flags += " --refresh" if options.refresh else ""
    flags += "".join(f" --force {image}" for image in options.force)
    flags += "".join(f" --lost {shlex.quote(place)}" for place in options.lost)
    return flags + (" --prune" if options.prune else "")
