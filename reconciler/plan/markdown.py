"""A plan as Markdown, for a pull request's comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.printable import inert, visible
from reconciler.plan import words


def render(plan: Plan) -> str:
    """The plan: a summary line, a row an image that is not in sync, the parents as a graph, the plan's id."""
    changed = [image for image in plan.images if image.sync != "in-sync"]
    unchanged = words.in_sync_count(plan)
    acting = sum(image.actions != ("none",) for image in plan.images)
    counts = [_count(acting), f"{unchanged} unchanged"]
    if len(changed) > acting:
        counts.insert(1, f"{len(changed) - acting} left alone")
    parts = [f"### reconciler: {' · '.join(counts)}"]
    if changed:
        parts.append("\n".join(["| image | action | why | details |", "|---|---|---|---|", *map(_row, changed)]))
    if drawn := graph(changed):
        parts.append(drawn)
    estimate = words.estimate(plan)
    if estimate:
        parts.append(estimate)
    if known := words.notes(plan):
        parts.append("\n".join(f"- {escape(note)}" for note in known))
    if found := words.findings(plan):
        parts.append(escape(found))
    if plan.options.offline:
        parts.append("Planned from desired/ and state/ alone: the registry was not read.")
    parts.append(f"Plan `{plan.plan_id[:19]}…` for {plan.head[:12]}.")
    return "\n\n".join(parts) + "\n"


def graph(changed: Sequence[PlannedImage]) -> str:
    """The parents that images wait for, as a Mermaid block; empty where none waits."""
    edges = [(parent, image.image) for image in changed for parent in image.blocked_by]
    arrows = "\n".join(f"  {_node(parent)} --> {_node(child)}" for parent, child in edges)
    return f"```mermaid\ngraph LR\n{arrows}\n```" if edges else ""


def _count(changed: int) -> str:
    return f"{changed} image will change" if changed == 1 else f"{changed} images will change"


def _row(image: PlannedImage) -> str:
    details = "<br>".join(code(line) for line in words.details(image))
    return f"| **{escape(image.image)}** | {', '.join(image.actions)} | {words.why(image)} | {details} |"


def code(line: str) -> str:
    """A line as code that fits into a table's cell."""
    # A backtick inside code ends it; a bar ends the cell even inside code, a line's end the whole table.
    text = " ".join(line.split()).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else ""


def escape(text: str) -> str:
    """Text that Markdown takes for text, and a host for no reference: it looks for those when escapes are gone."""
    # The name of an invalid image may be anything that a folder can be called.
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", inert(" ".join(visible(text).split())))


def _node(name: str) -> str:
    # Mermaid takes few characters in ids; the label holds the name as it is.
    return f'n{"".join(f"{ord(c):x}" for c in name)}["{name}"]'
