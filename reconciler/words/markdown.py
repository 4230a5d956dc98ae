"""Plans as Markdown, and Markdown that is too long for where it goes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from reconciler.model.collection import Fate
from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.text import also_as, counted, inert, one_line, visible
from reconciler.words import plans

# A plan as Markdown, for a pull request's comment.


def departures(fates: Iterable[Fate]) -> str:
    """The steps of `gc` that are proposed: for each artifact what would be done, and why."""
    rows = [
        f"| {escape(one.image)} | {escape(one.build or '')} | {escape(_with_formats(one))} | {one.step} "
        f"| {escape(one.why)} |"
        for one in fates
        if one.goes and one.due is None
    ]
    table = ["| image | build | artifact | step | why |", "|---|---|---|---|---|", *rows]
    head = "`gc` takes these steps once their dates are merged; a hold brings a build back whole until it is removed."
    return "\n".join([head, "", *table])


def _with_formats(fate: Fate) -> str:
    return f"{fate.location} {fate.id}{also_as(one.format for one in fate.conversions)}"


def render(plan: Plan) -> str:
    """The plan: a summary line, a row an image that is not in sync, the parents as a graph, the plan's id."""
    changed = [image for image in plan.images if image.sync != "in-sync"]
    unchanged = plans.in_sync_count(plan)
    acting = sum(image.actions != ("none",) for image in plan.images)
    invalid = sum(bool(image.errors) and image.actions == ("none",) for image in plan.images)
    left = len(changed) - acting - invalid
    counts = [_count(acting)]
    counts += [f"{invalid} invalid"] if invalid else []
    counts += [f"{left} left alone"] if left > 0 else []
    counts.append(f"{unchanged} unchanged")
    parts = [f"### reconciler: {' · '.join(counts)}"]
    if changed:
        parts.append("\n".join(["| image | action | why | details |", "|---|---|---|---|", *map(_row, changed)]))
    if drawn := graph(changed):
        parts.append(drawn)
    estimate = plans.estimate(plan)
    if estimate:
        parts.append(estimate)
    if known := plans.notes(plan):
        parts.append("\n".join(f"- {escape(note)}" for note in known))
    if found := plans.findings(plan):
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
    return f"{counted(changed, 'image')} will change"


def _row(image: PlannedImage) -> str:
    details = "<br>".join(code(line) for line in plans.details(image))
    return f"| **{escape(image.image)}** | {', '.join(image.actions)} | {plans.why(image)} | {details} |"


def code(line: str) -> str:
    """A line as code that fits into a table's cell."""
    # A backtick inside code ends it; a bar ends the cell even inside code, a line's end the whole table.
    text = one_line(visible(line)).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else ""


# What hosts show as a picture, whatever is around it: `:white_check_mark:` says that something passed.
_PICTURE = re.compile(r":(?=(?:[0-9_+-]{0,60}[a-z][a-z0-9_+-]{0,60}|100|1234|[+-]1):)")


def escape(text: str) -> str:
    """Text that Markdown takes for text, and a host for no reference: it looks for those when escapes are gone."""
    # The name of an invalid image may be anything that a folder can be called.
    shown = _PICTURE.sub(": ", inert(one_line(visible(text))))
    return re.sub(r"([\\`*_\[\]<>|~&$])", r"\\\1", shown)


def _node(name: str) -> str:
    # Mermaid takes few characters in ids; the label holds the name as it is.
    label = visible(name).replace('"', "'")
    return f'n{"".join(f"{ord(c):x}" for c in name)}["{label}"]'


# Cuts Markdown that is too long out of its middle: what matters stands at both ends.

LONGEST = 65_535
"""Characters; GitHub answers 422 to a comment or description of more than 65,536."""

_FENCES = ("```", "~~~")
_MOST_DETAILS = 3
_CLOSING = 100
"""Characters that closing and opening again may take: a fence each, three `</details>`, and line ends."""


def excerpt(markdown: str, *, longest: int, whole: str | None) -> str:
    """The text in at most `longest` characters, cut at line ends, with a line that says what was left out.

    A code fence or `<details>` that the cut goes through is closed before that line, and a fence opened again after
    it, so that the line is read and the rest looks as it did.

    Args:
        markdown: The text.
        longest: In characters; some hundreds at least.
        whole: Where the whole text is, if anywhere: an address.
    """
    if len(markdown) <= longest:
        return markdown
    room = longest - len(_notice(len(markdown), whole)) - _CLOSING
    head = _whole_lines(markdown[: room * 2 // 3])
    tail = _whole_lines(markdown[len(markdown) - room // 3 :], from_end=True)
    before_tail = markdown[: len(markdown) - len(tail)]
    notice = _notice(len(markdown) - len(head) - len(tail), whole)
    return "".join([head.rstrip("\n"), _closing(head), notice, _opening(before_tail), tail])


def _notice(left_out: int, whole: str | None) -> str:
    where = f"the whole is at {whole}" if whole else "the log of the job has the whole"
    return f"\n\n*{left_out} characters are left out here; {where}.*\n\n"


def _whole_lines(text: str, *, from_end: bool = False) -> str:
    """The text without the line that was cut, unless that is all there is."""
    if from_end:
        return text.partition("\n")[2] or text
    return text[: text.rfind("\n") + 1] or text


def _open_fence(text: str) -> str:
    """The fence that a code block at the end of the text began with; empty outside of code."""
    fence = ""
    for line in text.splitlines():
        mark = next((mark for mark in _FENCES if line.lstrip().startswith(mark)), "")
        if fence and mark == fence:
            fence = ""
        elif not fence:
            fence = mark
    return fence


def _closing(head: str) -> str:
    fence = _open_fence(head)
    depth = max(0, head.count("<details") - head.count("</details>"))
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * min(depth, _MOST_DETAILS)


def _opening(before: str) -> str:
    fence = _open_fence(before)
    return f"{fence}\n" if fence else ""
