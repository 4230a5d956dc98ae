"""A plan on a terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.printable import visible
from reconciler.plan import words

_MOST_VERBS = 3
_NOTHING_BEFORE = words.Steps()
_COLOURS = {"build": "yellow", "adopt": "green", "copy": "cyan", "retire": "red", "none": "dim"}


def render(plan: Plan) -> RenderableType:
    """The plan as it is printed, without its first line: one row an image that is not in sync."""
    changed = [image for image in plan.images if image.sync != "in-sync"]
    if not changed:
        return Text("")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", max_width=22)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=16)
    table.add_column(overflow="fold", ratio=1)
    for image in _told_once(changed):
        for row in _rows(image):
            table.add_row(*row)
    # Across the whole width: an error names a file and a line, which a narrow column would break.
    errors = [Padding(Text(line), (0, 0, 0, 2)) for image in changed for line in words.errors(image)]
    return Group(Text(""), Padding(table, (0, 0, 0, 2)), Text(""), *errors, *([Text("")] if errors else []))


def footer(plan: Plan, steps: words.Steps = _NOTHING_BEFORE) -> str:
    """What is in sync, how long it will take, and what to do next."""
    parts = []
    in_sync = words.in_sync_count(plan)
    if 0 < in_sync < len(plan.images):
        parts.append(f"{in_sync} in sync.")
    estimate = words.estimate(plan)
    if estimate:
        parts.append(estimate)
    lines = [" ".join(parts)] if parts else []
    lines += [due] if (due := words.due(plan)) else []
    lines += [found] if (found := words.findings(plan)) else []
    if plan.applyable:
        lines.append(_next(plan, steps))
    return "\n".join(lines)


def _next(plan: Plan, steps: words.Steps) -> str:
    run = f"`reconciler reconcile{_flags(plan)}` to {_verbs(plan)}."
    if steps.elsewhere is None:
        return f"{steps.before}, then run {run}" if steps.before else f"Run {run}"
    if plan.options.refresh or plan.options.force or plan.options.prune:
        # A preview takes none of these.
        return f"`git switch {steps.elsewhere}`, then run {run}"
    first = "Commit it, then run" if steps.before.startswith("Commit") else "Run"
    return f"{first} `reconciler reconcile --preview` to build what this branch would change."


def _told_once(images: Iterable[PlannedImage]) -> Iterator[PlannedImage]:
    """The images; where the same is unknown of several, and for the same reason, it is told of the first."""
    first: dict[tuple[str, ...], str] = {}
    for image in images:
        told = first.setdefault(image.unknown, image.image)
        again = image.unknown and told != image.image
        yield image.model_copy(update={"unknown": (f"as {told}",)}) if again else image


def _rows(image: PlannedImage) -> Iterator[tuple[RenderableType, ...]]:
    """A row for each reason, so that what was and is now stands beside its code; the first has the actions, too."""
    name = Text(visible(image.image), style="bold")
    actions = Text("\n".join(image.actions), style=_COLOURS.get(image.actions[0], ""))
    for code, lines in words.explained(image):
        yield name, actions, Text(code), Text("\n".join(lines))
        name, actions = Text(""), Text("")


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
    return flags + (" --prune" if options.prune else "")
