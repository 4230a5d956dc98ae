"""A plan as Markdown, for a pull request's comment."""

from __future__ import annotations

from reconciler.model.plan import Plan, PlannedImage
from reconciler.plan import words


def render(plan: Plan) -> str:
    """The plan: a summary line, a row an image that is not in sync, the parents as a graph, the plan's id."""
    changed = [image for image in plan.images if image.sync != "in-sync"]
    unchanged = words.in_sync_count(plan)
    parts = [f"### reconciler: {_count(len(changed))} · {unchanged} unchanged"]
    if changed:
        parts.append("\n".join(["| image | action | why | details |", "|---|---|---|---|", *map(_row, changed)]))
    edges = [(parent, image.image) for image in changed for parent in image.blocked_by]
    if edges:
        arrows = "\n".join(f"  {_node(parent)} --> {_node(child)}" for parent, child in edges)
        parts.append(f"```mermaid\ngraph LR\n{arrows}\n```")
    estimate = words.estimate(plan)
    if estimate:
        parts.append(estimate)
    if plan.options.offline:
        parts.append("Planned from desired/ and state/ alone: the registry was not read.")
    parts.append(f"Plan `{plan.plan_id[:19]}…` for {plan.head[:12]}.")
    return "\n\n".join(parts) + "\n"


def _count(changed: int) -> str:
    return f"{changed} image will change" if changed == 1 else f"{changed} images will change"


def _row(image: PlannedImage) -> str:
    details = "<br>".join(_code(line) for line in words.details(image))
    return f"| **{_escape(image.image)}** | {', '.join(image.actions)} | {words.why(image)} | {details} |"


def _code(line: str) -> str:
    # A backtick inside code ends it; a bar ends the cell even inside code.
    text = line.strip().replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else ""


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_").replace("*", "\\*")


def _node(name: str) -> str:
    # Mermaid takes few characters in ids; the label holds the name as it is.
    return f'n{"".join(f"{ord(c):x}" for c in name)}["{name}"]'
