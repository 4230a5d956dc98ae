"""The comment on a pull request: what its merge would change, and what was built for it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reconciler.model.difference import Difference
from reconciler.model.lockfile import Build
from reconciler.model.plan import Plan, PlannedImage
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.text import and_more, counted, duration, visible
from reconciler.plan.reasons import with_id
from reconciler.plan.standing import lines as failed_tests
from reconciler.plan.standing import outcome, with_hints
from reconciler.words import plans
from reconciler.words.difference import markdown as render_difference
from reconciler.words.difference import one_line
from reconciler.words.markdown import code, escape, graph

_MOST_TESTS = 3
State = Literal["error", "failure", "pending", "success"]


@dataclass(frozen=True)
class Previewed:
    """What became of one image: its build, or why there is none.

    `tail` holds the last lines of a failed build or test. `difference` is what changed inside since the candidate, None
    where one of the two is not known.
    """

    build: Build | None = None
    why: str = ""
    tail: tuple[str, ...] = ()
    tested: SmokeTestResult | None = None
    difference: Difference | None = None


def render(plan: Plan, previewed: Mapping[str, Previewed], *, note: str = "") -> str:
    """The comment as Markdown: a summary line, a row an image that the branch changes, the rest folded away.

    `note` is said above the table: that nothing was built for a fork, say.
    """
    changed = [_as_done(image, previewed.get(image.image)) for image in plan.images if image.sync != "in-sync"]
    parts = [f"### reconciler: {_summary(changed)} · {plans.in_sync_count(plan)} unchanged"]
    if note:
        parts.append(note)
    if changed:
        rows = [_row(image, previewed.get(image.image)) for image in changed]
        parts.append("\n".join(["| image | why | built as | test | difference |", "|---|---|---|---|---|", *rows]))
    if drawn := graph([image for image in plan.images if image.sync != "in-sync"]):
        parts.append(drawn)
    if folded := _folded(changed, previewed):
        parts.append(folded)
    parts.append(_closing(plan, changed, previewed))
    return "\n\n".join(parts) + "\n"


def status(image: PlannedImage, previewed: Previewed | None) -> tuple[State, str]:
    """The commit status of an image: GitHub's state, and one line."""
    if image.errors:
        return "failure", "invalid: " + image.errors[0].splitlines()[0]
    if previewed is not None and previewed.why:
        return "failure", previewed.why.splitlines()[0]
    if previewed is not None and previewed.build is not None:
        tested = f", {outcome(previewed.tested)}" if previewed.tested is not None else ""
        return "success", f"built as {previewed.build.id} ({plans.why(image)}){tested}"
    if image.unknown:
        return "error", image.unknown[0].splitlines()[0]
    if image.sync == "in-sync":
        return "success", "in sync"
    return "success", f"{_intent(image)}: {plans.why(image)}"


def _intent(image: PlannedImage) -> str:
    """What the merge would set going, or why nothing."""
    if image.actions != ("none",):
        return f"not built, the merge would {', '.join(image.actions)}"
    return image.waits_for or "nothing is done"


def _as_done(image: PlannedImage, previewed: Previewed | None) -> PlannedImage:
    """A planned image that is built by now: its reasons name the parent's build, and it is neither new nor waiting."""
    if previewed is None or previewed.build is None:
        return image
    return image.model_copy(update={"reasons": previewed.build.reasons, "blocked_by": ()})


def _summary(changed: list[PlannedImage]) -> str:
    return f"{counted(len(changed), 'image')} will change"


def _row(image: PlannedImage, previewed: Previewed | None) -> str:
    files = [file for reason in image.reasons for file in reason.files or ()]
    more = and_more(len(files) - plans.MOST_FILES, "+{} more")
    shown = filter(None, (*files[: plans.MOST_FILES], more, *_source(image, previewed)))
    why = "<br>".join([plans.why(image), *map(code, shown)])
    cells = (f"**{escape(image.image)}**", why, _built(image, previewed), _test(previewed), _difference(previewed))
    return f"| {' | '.join(cells)} |"


def _built(image: PlannedImage, previewed: Previewed | None) -> str:
    if _did_not_pass(previewed):
        return "rejected"
    if previewed is not None and previewed.why:
        return f"failed: {escape(previewed.why.splitlines()[0])}"
    if previewed is not None and previewed.build is not None:
        places = len(previewed.build.artifacts)
        took = f", {duration(previewed.build.seconds)}" if previewed.build.seconds is not None else ""
        return f"`{previewed.build.id}` in {counted(places, 'location')}{took}"
    if image.errors or image.unknown:
        return escape((*image.errors, *image.unknown)[0].splitlines()[0])
    about = f", about {duration(image.estimate_seconds)}" if image.estimate_seconds else ""
    return escape(_intent(image)) + about


def _did_not_pass(previewed: Previewed | None) -> bool:
    return previewed is not None and previewed.tested is not None and previewed.tested.status == "failed"


def _test(previewed: Previewed | None) -> str:
    if previewed is None or previewed.tested is None:
        return ""
    if previewed.tested.status != "failed":
        return escape(outcome(previewed.tested))
    shown = failed_tests(previewed.tested)
    more = and_more(len(shown) - _MOST_TESTS, "+{} more")
    return "<br>".join(["failed", *map(code, filter(None, (*shown[:_MOST_TESTS], more)))])


def _difference(previewed: Previewed | None) -> str:
    if previewed is None or previewed.build is None or previewed.build.inventory is None:
        return ""
    return escape(one_line(previewed.difference)) if previewed.difference is not None else "nothing to compare with"


def _source(image: PlannedImage, previewed: Previewed | None) -> list[str]:
    """The source that was and the one that is now; of an image that keeps its own, or is new, what it was built on."""
    moves = [f"{one.was} → {one.now}" for one in image.reasons if one.files is None and one.was and one.now]
    on = previewed.build.source if previewed is not None and previewed.build is not None else None
    return moves or ([f"on {with_id(on)}"] if on is not None else [])


def _folded(changed: list[PlannedImage], previewed: Mapping[str, Previewed]) -> str:
    blocks: list[str] = []
    for image in changed:
        one = previewed.get(image.image)
        lines = [line for line in plans.details(image) if line != plans.NOT_BUILT]
        if one is not None and one.build is not None:
            lines += [f"{artifact.location} {artifact.id}" for artifact in one.build.artifacts]
        if one is not None and one.tested is not None:
            lines += with_hints(one.tested.findings, given=set())
        if one is not None and one.tail:
            lines += [f"last lines of the {'test' if one.tested is not None else 'build'}:"]
            lines += [f"  {visible(line)}" for line in one.tail]
        parts = [f"**{escape(image.image)}**"]
        if lines:
            # What a build printed may hold the fence that is to hold it.
            body = "\n".join(line.replace("```", "` ` `").replace("~~~", "~ ~ ~") for line in lines)
            parts.append(f"```\n{body}\n```")
        if one is not None and one.difference is not None and (inside := render_difference(one.difference)):
            parts.append(inside)
        if len(parts) > 1:
            blocks.append("\n\n".join(parts))
    body = "\n\n".join(blocks)
    return (
        f"<details><summary>Files, artifacts, package changes, log</summary>\n\n{body}\n\n</details>" if blocks else ""
    )


def _names(images: list[str]) -> str:
    return ", ".join(f"**{escape(name)}**" for name in images)


def _closing(plan: Plan, changed: list[PlannedImage], previewed: Mapping[str, Previewed]) -> str:
    built = [name for name, one in previewed.items() if one.build is not None]
    failed = [name for name, one in previewed.items() if one.build is None]
    these = "these very images" if not failed else f"the very {_names(built)}"
    promise = f"Merging promotes {these} to `candidate`. " if built else ""
    if built and any(image.blocked_by for image in changed):
        promise += "Where a parent waits for a verdict, its children follow once that is in. "
    if failed:
        promise += f"Nothing of {_names(failed)} is promoted: it failed, and the merge would try it once more. "
    elif changed and not built and not plan.options.offline:
        promise = "Merging builds what is not built yet. "
    return f"{promise}Plan `{plan.plan_id[:19]}…` for {plan.head[:12]}."
